"""`guided-refine` with a remote model: dry run, run, kill, the rest of the method, and what it refuses early."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from protocol_server import Fault, ProtocolServer

from guided_refine.cli import main
from guided_refine.files import read_json
from guided_refine.scoring.remote import asking
from guided_refine.scoring.store import ScoreStore

SECRET = "sk-secret-0123456789"
USERS, ITEMS = 30, 24


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setattr(asking, "pause", lambda seed, key, attempt: 0.001)


def shop(folder: Path, address: str, **changes: Any) -> Path:
    """A config over tables of thirty users."""
    things = ["dog", "cat", "ghost", "king", "tree", "ship", "bird", "cake"]
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(
        {
            "item_id": [f"i{i}" for i in range(ITEMS)],
            "title": [f"The {things[i % 8]} {i}" for i in range(ITEMS)],
            "plot": [f"A {'sad' if i % 3 else 'funny'} story, part {i}." for i in range(ITEMS)],
        }
    ).to_csv(folder / "items.csv", index=False)
    rows = [
        {"user_id": f"u{u}", "item_id": f"i{(u * 5 + k * 7) % ITEMS}", "timestamp": k}
        for u in range(USERS)
        for k in range(5 + u % 4)
    ]
    pd.DataFrame(rows).to_csv(folder / "interactions.csv", index=False)
    config: dict[str, Any] = {
        "name": "shop",
        "data": {"path": str(folder), "reader": "tables"},
        "attributes": "movies",
        "llm": address,
        "llm_options": {"snapshots": 2, "history_events": 4, "remote": {"model": "tiny", "timeout": 20}},
        "tune": {"enabled": False},
        "backbones": ["sasrec"],
        "train": {"width": 16, "max_length": 8, "max_epochs": 2, "layers": 1, "threads": 1},
        "variants": ["base", "refined"],
        "evaluate": {"bootstrap": 100},
    }
    config["llm_options"]["remote"] |= changes.pop("remote", {})
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config | changes), encoding="utf-8")
    return path


def stored(run: Path) -> int:
    with ScoreStore(run / "store.sqlite") as store:
        return store.count()


def test_dry_run_then_run_then_nothing_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    with ProtocolServer(keys=[SECRET]) as server:
        config = shop(tmp_path / "shop", server.address, remote={"max_tokens_total": 2_000_000})
        command = ["score", str(config), "--out", str(run), "--quiet"]
        assert main([*command, "--dry-run", "--json"]) == 0
        before = json.loads(capsys.readouterr().out)
        assert server.bodies == [] and not run.exists()
        assert before["requests"] == before["texts"] and before["in_store"] == before["spent"] == 0

        assert main(command) == 0
        assert len(server.bodies) == before["requests"]
        assert server.tokens <= before["tokens"]
        assert read_json(run / "scores" / "untuned.json")["mode"] == "logprobs"

        capsys.readouterr()
        assert main([*command, "--dry-run"]) == 0
        said = capsys.readouterr().out
        assert re.search(r"\(100%\) in the store; 0 requests, at most 0 prompt and 0 answer tokens", said)
        assert f"{2_000_000 - server.tokens:,} of 2,000,000 tokens are left" in said

        assert main(command) == 0
        (run / "manifest.json").unlink()  # every stage again, and still nothing to ask
        assert main(command) == 0
        assert len(server.bodies) == before["requests"]
    with ProtocolServer() as moved:
        assert (
            main(
                [
                    *command,
                    "--set",
                    f"llm={moved.address}",
                    "--set",
                    "llm_options.remote.concurrency=2",
                    "--update",
                ]
            )
            == 0
        )
        assert moved.bodies == []


def test_the_whole_method_from_remote_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    with ProtocolServer(offers=("json",), keys=[SECRET]) as server:
        config = shop(tmp_path / "shop", server.address)
        assert main(["run", str(config), "--out", str(run), "--quiet"]) == 0
        asked = len(server.bodies)
        new = tmp_path / "new.csv"
        pd.DataFrame({"item_id": ["n1"], "title": ["The fox"], "plot": ["A funny story."]}).to_csv(
            new, index=False
        )
        out = tmp_path / "vectors.parquet"
        assert main(["add-items", str(run), str(new), "--out", str(out), "--quiet"]) == 0
        assert len(server.bodies) == asked + 1
    assert pd.read_parquet(out)["item_id"].tolist() == ["n1"]
    table = pd.read_parquet(run / "scores.parquet")
    assert table["value"].notna().all() and table["spread"].isna().all()
    assert "**tiny**" in (run / "report.md").read_text(encoding="utf-8")
    assert main(["explain", str(run), "--user", "u3"]) == 0
    assert main(["explain", str(run), "--user", "u3", "--json", "--quiet"]) == 0
    assert main(["evaluate", str(run), "--quiet"]) == 0
    for path in run.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path
    said = capsys.readouterr()
    assert SECRET not in said.out + said.err


def test_a_kill_loses_at_most_the_requests_in_flight(tmp_path: Path) -> None:
    run = tmp_path / "run"
    child: list[subprocess.Popen[bytes]] = []

    def kill(number: int, body: dict[str, Any]) -> Fault | None:
        if number == 20:
            os.kill(child[0].pid, signal.SIGKILL)
        return Fault("slow", seconds=100) if number >= 20 else None

    with ProtocolServer(fault=kill) as server:
        remote = {"concurrency": 3, "mode": "json", "max_tokens_total": 2_000_000}
        config = shop(tmp_path / "shop", server.address, remote=remote)
        command = ["score", str(config), "--out", str(run), "--quiet"]
        child.append(
            subprocess.Popen([sys.executable, "-m", "guided_refine", *command], stderr=subprocess.PIPE)
        )
        assert child[0].wait(300) == -signal.SIGKILL
        sent, spent = len(server.bodies), server.tokens
    assert sent <= 22
    kept = stored(run) // 10
    assert kept >= 20 - 3
    assert spent <= read_json(run / "remote_tokens.json")["tokens"] <= 2_000_000
    with ProtocolServer() as server:
        assert main([*command, "--set", f"llm={server.address}", "--update"]) == 0
        assert stored(run) // 10 == kept + len(server.bodies)


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_ends_it_without_waiting_for_the_server(tmp_path: Path) -> None:
    child: list[subprocess.Popen[str]] = []

    def interrupt(number: int, body: dict[str, Any]) -> Fault | None:
        if number == 5:
            child[0].send_signal(signal.SIGINT)
        return Fault("slow", seconds=100) if number >= 5 else None

    with ProtocolServer(fault=interrupt) as server:
        config = shop(tmp_path / "shop", server.address, remote={"concurrency": 2, "mode": "json"})
        command = [
            sys.executable,
            "-m",
            "guided_refine",
            "score",
            str(config),
            "--out",
            str(tmp_path / "run"),
        ]
        # Tests that run in the background ignore Ctrl-C, and a child would inherit that.
        child.append(
            subprocess.Popen(
                [*command, "--quiet"], stderr=subprocess.PIPE, text=True, preexec_fn=_heed_interrupts
            )
        )
        _, said = child[0].communicate(timeout=90)
    assert child[0].returncode == 1
    assert said.strip() == "guided-refine: interrupted; the same command continues where this stopped"
    assert stored(tmp_path / "run") // 10 >= 3


def test_the_budget_spans_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    with ProtocolServer(
        usage=lambda content, answer: (len(content.encode()), len(answer.encode()))
    ) as server:
        config = shop(tmp_path / "shop", server.address, remote={"max_tokens_total": 60_000, "mode": "json"})
        command = ["score", str(config), "--out", str(run), "--quiet"]
        for _ in range(2):
            assert main(command) == 2
            said = capsys.readouterr().err
            assert "the token budget is used up" in said and "--update" in said
            assert server.tokens <= 60_000
        kept = stored(run) // 10
        assert 0 < kept == len(server.bodies)
        assert main([*command, "--set", "llm_options.remote.max_tokens_total=9000000", "--update"]) == 0
        assert stored(run) // 10 == len(server.bodies)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"tune": {"enabled": True}},
            "tune.enabled: a remote model cannot be tuned, its weights are elsewhere; set tune.enabled=false",
        ),
        ({"llm_options": {}}, "llm_options.remote.model: is missing"),
        ({"llm": f"https://user:{SECRET}@host/v1"}, "llm: the address must hold no key"),
        ({"llm": f"https://host/v1?key={SECRET}"}, "llm: the address must hold no key"),
        ({"llm": f"https://ho st/{SECRET}"}, "llm: this is no address"),
        ({"llm": "http://"}, "llm: this is no address"),
        ({"remote": {"key_variable": SECRET}}, "never the key itself"),
        ({"remote": {"key_variable": "MY_UNSET_KEY"}}, "the environment variable MY_UNSET_KEY is not set"),
        ({"remote": {"api_key": SECRET}}, "unknown key 'llm_options.remote.api_key'"),
        ({"remote": {"extra_body": {"stream": True}}}, "stream is set by guided-refine"),
        ({"remote": {"tokenizer": "nowhere"}}, "llm_options.remote.tokenizer: nowhere is not a folder"),
        ({"remote": {"mode": "lgprobs"}}, "did you mean 'logprobs'?"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], sentence: str
) -> None:
    with ProtocolServer() as server:
        config = shop(tmp_path / "shop", server.address, **changes)
        assert main(["score", str(config), "--out", str(tmp_path / "run"), "--quiet"]) == 2
        assert server.bodies == []
    said = capsys.readouterr()
    assert sentence in said.err and len(said.err.splitlines()) == 1
    assert SECRET not in said.err + said.out
    for path in (tmp_path / "run").rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path
