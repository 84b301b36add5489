"""The main job end to end on a small sample: its files, resuming after kills, skipping, refusing."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors import safe_open

from guided_refine.cli import main
from guided_refine.config_file import load_config, parse_config
from guided_refine.errors import InputError
from guided_refine.files import read_json
from guided_refine.pipeline import run
from guided_refine.pipeline.plan import Plan
from guided_refine.runfolder import RunFolder
from guided_refine.scoring.attributes import load_attributes

NAMES = load_attributes("movies").names


def command(config: Path, out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "guided_refine", "run", str(config), "--out", str(out), "--quiet", *more]


def numbers(run_folder: Path) -> list[dict[str, object]]:
    """All rows without what the clock made."""
    rows = read_json(run_folder / "metrics.json")
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def test_the_run_folder_keeps_its_contract(small_run: Path) -> None:
    rows = read_json(small_run / "metrics.json")
    assert {(r["backbone"], r["variant"]) for r in rows} == {
        ("sasrec", "base"),
        ("sasrec", "refined"),
        ("sasrec", "shuffled"),
        ("gru4rec", "base"),
        ("gru4rec", "refined"),
    }
    for row in rows:
        assert {
            "dataset",
            "seed",
            "n_users",
            "split_sha256",
            "converged",
            "steps",
            "seconds",
            "mrr",
        } <= row.keys()
        assert {f"{m}@{k}" for m in ("recall", "ndcg", "mrr") for k in (5, 10, 20)} <= row.keys()
        assert 0 <= row["ndcg@10"] <= row["recall@10"] <= 1
    differences = read_json(small_run / "differences.json")
    refined = [
        d
        for d in differences
        if (d["backbone"], d["variant"], d["metric"]) == ("sasrec", "refined", "ndcg@10")
    ]
    assert refined[0]["lower"] <= refined[0]["mean"] <= refined[0]["upper"]
    per_user = pd.read_parquet(small_run / "per_user.parquet")
    assert len(per_user) == sum(r["n_users"] for r in rows)
    means = per_user.groupby(["backbone", "variant"])["ndcg@10"].mean()
    for row in rows:
        assert means[row["backbone"], row["variant"]] == pytest.approx(row["ndcg@10"])
    scores = pd.read_parquet(small_run / "scores.parquet")
    assert list(scores.columns) == ["kind", "id", "position", "attribute", "source", "value", "spread"]
    assert set(scores["source"]) == {"untuned", "tuned"} and set(scores["attribute"]) == set(NAMES)
    assert scores["value"].dropna().between(0, 1).all()
    everyone = scores[(scores["kind"] == "user") & (scores["source"] == "tuned") & (scores["position"] == -1)]
    assert everyone.groupby("id").size().eq(len(NAMES)).all()
    assert (small_run / "report.md").read_text(encoding="utf-8").startswith("# ")
    assert list((small_run / "plots").glob("*.png"))


def test_refined_tables_are_readable_without_this_package(small_run: Path) -> None:
    items = pd.read_parquet(small_run / "refined_items.parquet")
    users = pd.read_parquet(small_run / "refined_users.parquet")
    columns = [f"pc_{i}" for i in range(1, 16 - len(NAMES) + 1)] + NAMES
    assert list(items.columns) == ["item_id", *columns]
    assert list(users.columns) == ["user_id", *columns]
    assert np.isfinite(items[columns].to_numpy()).all() and np.isfinite(users[columns].to_numpy()).all()


def test_item_columns_stay_what_the_model_said(small_run: Path) -> None:
    """Up to one normalisation and one scale: a straight line per attribute, where nothing was clipped."""
    items = pd.read_parquet(small_run / "refined_items.parquet").set_index("item_id")
    scores = pd.read_parquet(small_run / "scores.parquet")
    said = scores[(scores["kind"] == "item") & (scores["source"] == "tuned")].pivot(
        index="id", columns="attribute", values="value"
    )
    for name in NAMES:
        both = pd.concat([said[name], items[name]], axis=1, keys=["said", "kept"]).dropna()
        inside = both[both["kept"].abs() < both["kept"].abs().max() - 1e-6]
        if inside["said"].std() > 1e-4:
            assert np.corrcoef(inside["said"], inside["kept"])[0, 1] > 0.999


def test_recommendations_are_the_dot_product_of_the_tables(small_run: Path) -> None:
    from guided_refine.backbones.backbone import Backbone
    from guided_refine.data.dataset import load_dataset

    dataset = load_dataset(small_run / "data")
    items = pd.read_parquet(small_run / "refined_items.parquet").set_index("item_id")
    users = pd.read_parquet(small_run / "refined_users.parquet").set_index("user_id")
    model = Backbone.load(small_run / "backbones" / "sasrec" / "refined" / "seed3")
    some = np.arange(10)
    scores = model.score(some, "test", dataset)
    product = (
        users.loc[[dataset.user_ids[u] for u in some]].to_numpy() @ items.loc[dataset.item_ids].to_numpy().T
    )
    np.testing.assert_allclose(product, scores, rtol=1e-4, atol=1e-4)


def test_nothing_is_done_twice(small_config: Path, small_run: Path) -> None:
    before = {
        p: p.stat().st_mtime_ns
        for p in small_run.rglob("*")
        if p.is_file() and p.name not in ("run.log", "config.yaml")
    }
    run(load_config(small_config), small_run, config_folder=small_config.parent)
    after = {
        p: p.stat().st_mtime_ns
        for p in small_run.rglob("*")
        if p.is_file() and p.name not in ("run.log", "config.yaml")
    }
    assert before == after


def test_another_config_is_refused_and_nothing_is_lost(small_config: Path, small_run: Path) -> None:
    done = subprocess.run(
        command(small_config, small_run, "--set", "seed=4"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "another config (differs in seed)" in done.stderr and done.stderr.count("\n") == 1
    assert load_config(small_run / "config.yaml").seed == 3


def test_a_truncated_artefact_stops_with_its_name(
    small_config: Path, small_run: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(small_run, copy)
    hurt = copy / "scores" / "tuned.safetensors"
    hurt.write_bytes(hurt.read_bytes()[:100])
    with pytest.raises(InputError, match=r"tuned\.safetensors is damaged"):
        run(load_config(small_config), copy, config_folder=small_config.parent)
    hurt.unlink()
    run(load_config(small_config), copy, config_folder=small_config.parent)
    assert numbers(copy) == numbers(small_run)


def test_evaluate_confirms_the_rows_from_the_weights(small_run: Path) -> None:
    from guided_refine.check import check_run

    assert all(row["agrees"] for row in check_run(small_run))


def test_too_many_attributes_for_the_width(small_config: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="do not fit into refined embeddings of width 4"):
        run(load_config(small_config, ["train.width=4"]), tmp_path / "run", config_folder=small_config.parent)


@pytest.fixture
def refused(small_config: Path, tmp_path: Path) -> Callable[..., str]:
    """Run with settings that must be refused before anything is trained; returns the sentence."""

    def start(*settings: str) -> str:
        out = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
        with pytest.raises(InputError) as caught:
            run(load_config(small_config, settings), out, config_folder=tmp_path)
        assert not (out / "backbones").exists() and not (out / "llm").exists()
        return str(caught.value)

    return start


def test_base_embeddings_are_checked_before_anything_is_trained(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    np.save(tmp_path / "narrow.npy", np.ones((60, len(NAMES))))
    assert "do not fit into refined embeddings of width 10" in refused("base.embeddings=narrow.npy")
    np.save(tmp_path / "short.npy", np.ones((59, 32)))
    assert "shape (59, 32)" in refused("base.embeddings=short.npy")
    assert "none.npy is not a file" in refused("base.embeddings=none.npy")


def test_a_truth_is_checked_before_anything_is_trained(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "truth.csv").write_text("item_id,attribute,value\nf001,humor,1\n", encoding="utf-8")
    assert "did you mean 'humour'?" in refused("evaluate.truth=truth.csv")
    assert "none.csv is not a file" in refused("evaluate.truth=none.csv")


def test_a_language_model_is_checked_before_anything_is_trained(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"<unk>": 0, "item": 1}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tmp_path / "no_digits"
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>").save_pretrained(folder)
    LlamaConfig(hidden_size=16, num_attention_heads=2, num_hidden_layers=1, vocab_size=2).save_pretrained(
        folder
    )
    (folder / "model.safetensors").touch()
    assert "no single-token digits" in refused("llm=no_digits")
    assert "did you mean 'builtin'?" in refused("llm=bultin")
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(settings | {"hidden_size": 15}), encoding="utf-8")
    assert "hidden size (15)" in refused("llm=no_digits")
    (folder / "tokenizer.json").unlink()
    assert "has no tokenizer.json" in refused("llm=no_digits")


def test_a_catalog_without_any_text_is_refused_before_anything_is_trained(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "items.csv").write_text("item_id,title\n" + "".join(f"i{i},\n" for i in range(6)))
    rows = "".join(f"u{u},i{(u + e) % 6}\n" for u in range(8) for e in range(5))
    (tmp_path / "interactions.csv").write_text("user_id,item_id\n" + rows)
    assert "no item has a text" in refused("data={reader: tables, path: .}")


def test_other_cut_offs_test_again_and_train_nothing(
    small_config: Path, small_run: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(small_run, copy)
    weights = {p: p.stat().st_mtime_ns for p in copy.rglob("*.safetensors")}
    run(
        load_config(small_config, ["evaluate.ks=[3, 10]"]),
        copy,
        config_folder=small_config.parent,
        update=True,
    )
    assert {p: p.stat().st_mtime_ns for p in copy.rglob("*.safetensors")} == weights
    for new, old in zip(numbers(copy), numbers(small_run), strict=True):
        assert {"recall@3", "ndcg@3", "mrr@3"} <= new.keys() and "ndcg@5" not in new
        assert {k: new[k] for k in new.keys() & old.keys()} == {k: old[k] for k in new.keys() & old.keys()}


def test_what_the_config_no_longer_asks_for_goes(small_config: Path, small_run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(small_run, copy)
    derived = ["scores.parquet", "truth.json", "refined_items.parquet", "plots/recovery.png"]
    assert all((copy / name).exists() for name in derived)
    only_base = load_config(small_config, ["variants=[base]"])
    run(only_base, copy, config_folder=small_config.parent, update=True)
    assert not any((copy / name).exists() for name in derived)
    assert "truth" not in (copy / "report.md").read_text(encoding="utf-8").lower()
    assert "score_table" not in RunFolder(copy).manifest()["stages"]


def test_what_score_wrote_can_be_held_against_the_truth(
    small_config: Path, small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(small_run, copy)
    score = ["score", str(small_config), "--out", str(copy), "--quiet"]
    before = pd.read_parquet(copy / "scores.parquet")
    assert main(score) == 0
    pd.testing.assert_frame_equal(pd.read_parquet(copy / "scores.parquet"), before)  # tuned ones are not lost
    (copy / "scores.parquet").unlink()
    assert main(score) == 0
    pd.testing.assert_frame_equal(pd.read_parquet(copy / "scores.parquet"), before)
    # As after other settings of the tuning, or one that was killed: what is tuned is of something else.
    for stage in ("tune", "score_tuned"):
        RunFolder(copy).forget(stage)
    assert main(score) == 0
    assert not (copy / "scores" / "alone.json").exists()
    untuned = before[before["source"] == "untuned"].reset_index(drop=True)
    pd.testing.assert_frame_equal(pd.read_parquet(copy / "scores.parquet"), untuned)
    assert read_json(copy / "scores" / "summary.json").keys() == {"counts", "model", "untuned"}
    capsys.readouterr()
    assert main(["evaluate", str(copy), "--truth", str(copy / "data" / "truth.parquet")]) == 0
    said = capsys.readouterr().out
    assert "untuned" in said and "tuned minus" not in said


def test_text_variants_read_the_untuned_model_once(
    small_config: Path, small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(small_run, copy)
    command = ["run", str(small_config), "--out", str(copy), "--update", "--set"]
    assert main([*command, "variants={sasrec: [base, refined, id_plus_text], gru4rec: [base]}"]) == 0
    rows = {(r["backbone"], r["variant"]): r for r in read_json(copy / "metrics.json")}
    before = {(r["backbone"], r["variant"]): r for r in read_json(small_run / "metrics.json")}
    assert ("sasrec", "id_plus_text") in rows
    assert rows["sasrec", "refined"]["ndcg@10"] == before["sasrec", "refined"]["ndcg@10"]
    said = capsys.readouterr().err
    assert "text_vectors: started" in said and "score_untuned: started" not in said
    assert (
        main([*command, "variants={sasrec: [base, refined, id_plus_text, text_pca], gru4rec: [base]}"]) == 0
    )
    said = capsys.readouterr().err
    assert "text_pca" in said and "text_vectors: started" not in said
    assert main([*command, "variants=[base, text_linear]"]) == 0
    assert "not complete" not in (copy / "report.md").read_text(encoding="utf-8"), "scores are not missed"
    capsys.readouterr()
    (copy / "scores" / "text_vectors.safetensors").write_bytes(b"cut")
    assert main([*command, "variants=[base, text_pca]"]) == 2
    assert "text_vectors.safetensors is damaged" in capsys.readouterr().err


def test_no_server_gives_vectors_of_texts(small_config: Path, tmp_path: Path) -> None:
    asked = load_config(
        small_config,
        [
            "variants=[base, text_pca]",
            "llm=http://127.0.0.1:9/v1",
            "llm_options.remote.model=x",
            "tune.enabled=false",
        ],
    )
    with pytest.raises(InputError, match="text_pca read a model's inner states, which no server gives"):
        run(asked, tmp_path / "run", config_folder=small_config.parent)


def test_an_unknown_stage_is_refused_before_the_folder_is_made(small_config: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'report'"):
        run(load_config(small_config), tmp_path / "run", until="reprot")  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "name",
    [
        "config.yaml",
        "manifest.json",
        "data/items.parquet",
        "scores/tuned.safetensors",
        "UNIT/model.safetensors",
    ],
)
def test_every_reader_of_a_run_names_a_cut_off_file(
    name: str, small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(small_run, copy)
    hurt = copy / name.replace("UNIT", "backbones/sasrec/refined/seed3")
    hurt.write_bytes(hurt.read_bytes()[: hurt.stat().st_size // 2])
    for argv in (
        ["evaluate", str(copy)],
        ["explain", str(copy), "--user", "u0001"],
        ["export", str(copy), "--user", "u0001", "--format", "md", "--out", str(tmp_path / "x.md")],
    ):
        assert main([*argv, "--quiet"]) == 2
        said = capsys.readouterr().err
        assert str(hurt) in said and said.count("\n") == 1 and "delete" in said
    assert not (tmp_path / "x.md").exists()


def kill_at(config: Path, out: Path, seconds: float) -> bool:
    """Start the run, kill it and all its workers with signal 9 after `seconds`; True when it was still running."""
    process = subprocess.Popen(
        command(config, out), start_new_session=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    try:
        process.wait(timeout=seconds)
        return False
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        return True


@pytest.mark.slow
def test_killed_again_and_again_it_ends_with_the_same_numbers(
    small_config: Path, small_run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    moments = random.Random(0)
    kills = 0
    while kills < 10 and kill_at(small_config, out, 3 + 6 * moments.random()):
        kills += 1
        time.sleep(0.5)
    subprocess.run(command(small_config, out), check=True)
    assert kills >= 3
    assert numbers(out) == numbers(small_run)
    with (
        safe_open(out / "scores" / "tuned.safetensors", "np") as mine,
        safe_open(small_run / "scores" / "tuned.safetensors", "np") as theirs,
    ):
        np.testing.assert_array_equal(mine.get_tensor("item_value"), theirs.get_tensor("item_value"))


def test_json_answer(small_config: Path, small_run: Path) -> None:
    done = subprocess.run(
        command(small_config, small_run, "--json"), capture_output=True, text=True, check=True
    )
    assert len(json.loads(done.stdout)["rows"]) == 5


def test_heads_that_ones_own_embeddings_do_not_allow_are_told(
    small_config: Path, small_run: Path, tmp_path: Path
) -> None:
    items = len(pd.read_parquet(small_run / "data" / "items.parquet"))
    np.save(tmp_path / "own.npy", np.random.default_rng(0).normal(size=(items, 8)).astype(np.float32))
    settings = [
        "variants=[base]",
        "train.max_epochs=1",
        "train.heads=3",
        f"base.embeddings={tmp_path}/own.npy",
    ]
    config = load_config(small_config, ["backbones=[sasrec, gru4rec]", *settings])
    folder = run(config, tmp_path / "own", config_folder=small_config.parent, until="train")
    told = [line for line in folder.log.read_text().splitlines() if "attention heads" in line]
    assert len(told) == 1
    assert "sasrec/base/" in told[0]
    assert "width 8 comes from base.embeddings; 2 attention heads instead of 3" in told[0]


def test_only_a_run_to_the_end_reads_the_test_part(small_config: Path, tmp_path: Path) -> None:
    """Settings are tried with `train`; a test value that is not there cannot be chosen by."""
    settings = ["variants=[base]", "backbones=[sasrec]", "train.max_epochs=1", "evaluate.baselines=[]"]
    config = load_config(small_config, settings)
    folder = run(config, tmp_path / "run", until="train")
    unit = folder.unit("sasrec", "base", 3)
    weights = (unit / "model.safetensors").read_bytes()
    tested = ["per_user.parquet", "recommendations.parquet", "metrics.json"]
    assert (unit / "fit.json").exists()
    assert not [name for name in tested if list(folder.root.rglob(name))]
    assert [name for name in folder.manifest()["stages"] if name.startswith("sasrec")] == [
        "sasrec/base/seed3"
    ]

    trained = folder.manifest()["stages"]["sasrec/base/seed3"]
    run(config, tmp_path / "run")
    assert all(list(folder.root.rglob(name)) for name in tested)
    assert folder.manifest()["stages"]["sasrec/base/seed3"] == trained
    assert (unit / "model.safetensors").read_bytes() == weights


def test_a_model_measured_again_is_reported_again(small_config: Path, tmp_path: Path) -> None:
    settings = ["variants=[base]", "backbones=[sasrec]", "train.max_epochs=1", "evaluate.baselines=[]"]
    config = load_config(small_config, [*settings, "evaluate.warm_restart=true"])
    folder = run(config, tmp_path / "run")
    unit = folder.unit("sasrec", "base", 3) / "convergence.json"
    unit.unlink()
    run(config, tmp_path / "run")
    (reported,) = read_json(folder.root / "convergence.json")
    again = read_json(unit)  # with the seconds of this time
    assert reported.items() >= again.items()


def test_a_choice_that_there_was_not_before_changes_no_key_of_before(tmp_path: Path) -> None:
    def refined(**refine: object) -> dict[str, object]:
        config = parse_config({"name": "t", "data": {"reader": "sample"}, "refine": refine})
        plan = Plan(config, RunFolder(tmp_path), tmp_path, strict=False)
        return plan.unit_inputs(("sasrec", "refined", 0))

    assert refined()["refine"] == {
        "width": None,
        "scale": 1.0,
        "normalise": "zscore",
        "clip": 3.0,
        "user_weight": 1.0,
        "residual": True,
    }
    assert refined(fuse="columns", start="warm", users=True) == refined()
    keys = [str(refined(**other)) for other in ({}, {"fuse": "sum"}, {"start": "fresh"}, {"users": False})]
    assert len(set(keys)) == 4

    def trained(**train: object) -> dict[str, object]:
        config = parse_config({"name": "t", "data": {"reader": "sample"}, "train": train})
        return Plan(config, RunFolder(tmp_path), tmp_path, strict=False).unit_inputs(("sasrec", "base", 0))

    assert "item_std" not in str(trained()) and trained(item_std=0.02) == trained() != trained(item_std=0.1)
