"""Verbs, exit codes, and one clear sentence for every wrong input."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from guided_refine.cli import main
from guided_refine.data.dataset import load_dataset


def sentence(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """Run a command that must exit 2 and return the one line it says."""
    assert main(list(argv)) == 2
    err = capsys.readouterr().err
    assert err.startswith("guided-refine: ") and err.count("\n") == 1
    return err


def table(folder: Path, name: str, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    rows = "".join(f"u{u},i{(u + e) % 6},{e}\n" for u in range(8) for e in range(5))
    table(folder, "interactions.csv", "user_id,item_id,timestamp\n" + rows)
    table(folder, "items.csv", "item_id,title\n" + "".join(f"i{i},Thing {i}\n" for i in range(6)))
    return folder


def test_help_needs_no_heavy_import() -> None:
    code = (
        "import sys; from guided_refine.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'transformers', 'streamlit', 'sklearn'} & set(sys.modules), 'heavy'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for verb in (
        "run",
        "data",
        "score",
        "tune",
        "train",
        "refine",
        "evaluate",
        "explain",
        "export",
        "app",
        "bench",
    ):
        assert verb in done.stdout


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["fly"], "invalid choice"),
        (["run"], "required"),
        (["run", "none.yaml"], "none.yaml cannot be read"),
        (["bench", "scorin"], "did you mean 'scoring'?"),
        (["data", "prepare", "movielans", "x", "--out", "y"], "did you mean 'movielens'?"),
        (["data", "prepare", "sample", "--out", ""], "--out: the path is empty"),
        (["data", "info", "nowhere"], "nowhere"),
        (["explain", "nowhere", "--user", "1"], "nowhere"),
        (["evaluate", "nowhere"], "nowhere"),
        (["evaluate", "nowhere", "--map", "m.yaml"], "--map needs --truth"),
        (["app", "nowhere"], "nowhere"),
    ],
)
def test_wrong_use(
    argv: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in sentence(capsys, *argv)


@pytest.mark.parametrize(
    "argv", [["run", "x.yaml", "--jobs", "0"], ["explain", "x", "--user", "1", "--k", "x"]]
)
def test_counts_are_whole_and_positive(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert "not a whole number of 1 or more" in sentence(capsys, *argv)


def test_ids_stay_what_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No id becomes a number, and a line break in one does not break the sentence."""
    ids = ["007", "7", "1.0", "1", "1e5", "日本", "a b", "<b>"]
    rows = "".join(f"{user},{ids[(n + e) % 8]},{e}\n" for n, user in enumerate(ids) for e in range(4))
    table(tmp_path / "shop", "interactions.csv", "user_id,item_id,timestamp\n" + rows)
    table(tmp_path / "shop", "items.csv", "item_id,title\n" + "".join(f"{i},Thing\n" for i in ids))
    out = tmp_path / "d"
    assert main(["data", "prepare", "tables", str(tmp_path / "shop"), "--out", str(out), "--quiet"]) == 0
    dataset = load_dataset(out)
    assert dataset.user_ids == ids and sorted(dataset.item_ids) == sorted(ids)
    sentence(capsys, "data", "info", str(tmp_path / "no\nwhere"))


def test_one_item_is_no_catalog(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table(tmp_path / "shop", "interactions.csv", "user_id,item_id\n" + "u,i\nu,i\nu,i\n")
    table(tmp_path / "shop", "items.csv", "item_id,title\ni,A\n")
    said = sentence(capsys, "data", "prepare", "tables", str(tmp_path / "shop"), "--out", str(tmp_path / "d"))
    assert "a ranking needs two or more" in said


def test_prepare_and_info_agree(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["data", "prepare", "tables", str(shop), "--out", str(tmp_path / "d"), "--quiet", "--json"]) == 0
    )
    prepared = json.loads(capsys.readouterr().out)
    assert main(["data", "info", str(tmp_path / "d"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == prepared
    assert prepared["users"] == 8 and prepared["items"] == 6 and prepared["interactions"] == 40


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("interactions.csv", "user_id,timestamp\n1,2\n", "item_id"),
        ("interactions.csv", "user_id,item_id,timestamp\n", "empty"),
        ("interactions.csv", "user_id,item_id,timestamp\nu,zz,1\n", "dropped"),
        ("interactions.csv", "user_id,item_id,timestamp\nu1,i1,soon\n", "row 2: 'soon'"),
        ("items.csv", "item_id,title\ni1,A\ni1,B\n", "i1"),
        ("items.csv", "item_id\ni1\n", "title"),
    ],
)
def test_wrong_tables(
    shop: Path, tmp_path: Path, name: str, text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table(shop, name, text)
    message = sentence(
        capsys, "data", "prepare", "tables", str(shop), "--out", str(tmp_path / "d"), "--quiet"
    )
    assert said in message and ("interactions" in message or "items" in message)
    assert not (tmp_path / "d" / "info.json").exists()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("backbones=[sasrek]", "did you mean 'sasrec'?"),
        ("attributes=moveis", "did you mean 'movies'?"),
        ("data.reader=tabels", "did you mean 'tables'?"),
        ("lmm=builtin", "did you mean 'llm'?"),
        ("train.width=5", "do not fit"),
        ("llm=some/unknown-model", "some/unknown-model"),
        ("data.path=nothing", "does not exist"),
        ("data.k_core=100", "nothing is left"),
        ("llm_options.device=cuda:99", "not available here"),
        ("name=a b", "letters, digits"),
    ],
)
def test_wrong_config_values(
    shop: Path, tmp_path: Path, setting: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "shop.yaml"
    config.write_text(
        f"name: shop\ndata: {{path: {shop}}}\nattributes: general\nbackbones: [sasrec]\n"
        "train: {width: 16, max_epochs: 1}\n",
        encoding="utf-8",
    )
    message = sentence(
        capsys, "score", str(config), "--out", str(tmp_path / "run"), "--quiet", "--set", setting
    )
    assert said in message


@pytest.mark.parametrize("key", ["train.device", "llm_options.device"])
def test_a_missing_device_is_refused_before_any_work(
    shop: Path, tmp_path: Path, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "shop.yaml"
    config.write_text(f"name: shop\ndata: {{path: {shop}}}\nattributes: general\n", encoding="utf-8")
    run = tmp_path / "run"
    message = sentence(capsys, "run", str(config), "--out", str(run), "--quiet", "--set", f"{key}=cuda:99")
    assert key in message and not (run / "data").exists()


def test_whoever_reads_the_output_may_stop() -> None:
    command = [sys.executable, "-m", "guided_refine", "data", "list"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait(timeout=60) == 1


SLEEPER = """
import sys, time
from guided_refine import cli
def sleep(args):
    try:
        print("begun", flush=True)
        time.sleep(60)
    finally:
        print("tidied", flush=True)
cli._data_list = sleep
sys.exit(cli.main(["data", "list"]))
"""


def test_sigterm_tidies_and_says_that_the_same_command_continues() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SLEEPER], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    assert out == "tidied\n"
    assert err == "guided-refine: terminated; the same command continues where this stopped\n"


def test_the_callers_own_answer_to_sigterm_is_left_alone() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        assert main(["data", "list", "--json"]) == 0
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        assert main(["data", "list", "--json"]) == 0
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


def test_out_below_a_file_is_refused(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for out in (shop / "items.csv", shop / "items.csv" / "x", shop / "items.csv" / "x" / "y"):
        said = sentence(capsys, "data", "prepare", "tables", str(shop), "--out", str(out))
        assert f"{shop / 'items.csv'}" in said and "is a file; name a folder" in said
    assert "File name too long" in sentence(
        capsys, "data", "prepare", "tables", str(shop), "--out", str(shop.parent / ("x" * 300))
    )
