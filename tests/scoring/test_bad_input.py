"""Bad input from the command line: exit code 2, one sentence that says what to do, and nothing of what was there is lost."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from tiny_models import make_attributes, make_dataset
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast

from guided_refine.cli import main
from guided_refine.scoring.store import ScoreStore


@pytest.fixture()
def shop(tmp_path: Path, shared: Path) -> Path:
    """A folder with a config, tables, two attributes and a real model."""
    shutil.copytree(shared / "tokenizers" / "stories260K", tmp_path / "model")
    (tmp_path / "tables").mkdir()
    dataset = make_dataset()
    dataset.items[["item_id", "title", "text"]].to_csv(tmp_path / "tables" / "items.csv", index=False)
    rows = [
        f"u{u},{dataset.item_ids[i - 1]},{k}"
        for u, s in enumerate(dataset.sequences)
        for k, i in enumerate(s)
    ]
    (tmp_path / "tables" / "interactions.csv").write_text(
        "\n".join(["user_id,item_id,timestamp", *rows]) + "\n", encoding="utf-8"
    )
    attributes = make_attributes("humour", "darkness").model_dump(mode="json")
    (tmp_path / "two.yaml").write_text(json.dumps(attributes), encoding="utf-8")
    config = {
        "name": "shop",
        "data": {"path": "tables", "reader": "tables", "k_core": 1},
        "attributes": "two.yaml",
        "llm": str(tmp_path / "model"),
        "llm_options": {"text_tokens": 20, "event_tokens": 6, "history_events": 4, "snapshots": 1},
        "backbones": ["sasrec"],
        "variants": ["base", "refined"],
    }
    (tmp_path / "shop.yaml").write_text(json.dumps(config), encoding="utf-8")
    return tmp_path


def score(shop: Path, *more: str) -> int:
    return main(["score", str(shop / "shop.yaml"), "--out", str(shop / "run"), "--quiet", *more])


def sentence(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on standard error."""
    (line,) = capsys.readouterr().err.splitlines()
    return line


def tokenizer_of(shared: Path, model: Path, family: str) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(shared / "tokenizers" / family / name, model / name)


def without_digits(model: Path, _: Path) -> None:
    words = Tokenizer(WordLevel({"<unk>": 0, "a": 1, ":": 2}, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>").save_pretrained(model)


def short_context(model: Path, _: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 100}))


def not_finite(model: Path, _: Path) -> None:
    weights = load_file(model / "model.safetensors")
    weights["model.norm.weight"][:] = float("nan")
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})


def without_a_weight(model: Path, _: Path) -> None:
    weights = load_file(model / "model.safetensors")
    del weights["model.layers.0.self_attn.q_proj.weight"]
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})


def half_of_the_weights(model: Path, _: Path) -> None:
    whole = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(whole[: len(whole) // 2])


FAULTS: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "no config": (lambda m, _: (m / "config.json").unlink(), "has no config.json; it needs one"),
    "no weights": (lambda m, _: (m / "model.safetensors").unlink(), "has no model.safetensors; copy the"),
    "no tokenizer": (lambda m, _: (m / "tokenizer.json").unlink(), "has no tokenizer.json; save the"),
    "half of the weights": (half_of_the_weights, "is damaged"),
    "a weight is missing": (without_a_weight, "lacks the weight model.layers.0.self_attn.q_proj.weight of a"),
    "another tokenizer": (lambda m, s: tokenizer_of(s, m, "gpt2"), "they do not belong together, copy the"),
    "no digits": (without_digits, "no single-token digits"),
    "short context": (short_context, "context of 100 tokens is too short: instructions take"),
    "not finite": (not_finite, "logits that are not finite in float32; its weights are damaged"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_model_that_cannot_score(
    fault: str, shop: Path, shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, said = FAULTS[fault]
    spoil(shop / "model", shared)
    assert score(shop) == 2
    assert said in sentence(capsys)
    assert not (shop / "run" / "scores").exists()


def test_an_endpoint_where_nobody_answers(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    remote = "llm_options.remote={model: m, max_tokens_total: 100000, retries: 0}"
    assert (
        score(shop, "--set", "llm=http://127.0.0.1:9/v1", "--set", remote, "--set", "tune.enabled=false") == 2
    )
    assert "cannot be reached" in sentence(capsys)


def test_a_store_of_another_version_stays_as_it_is(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = shop / "s.sqlite"
    ScoreStore(store).close()
    with sqlite3.connect(store) as connection:
        connection.execute("UPDATE schema_version SET version = 99")
    connection.close()
    assert score(shop, "--set", f"store={store}") == 2
    assert "version 99, this program reads version 2; give another address" in sentence(capsys)
    connection = sqlite3.connect(store)
    assert connection.execute("SELECT version FROM schema_version").fetchall() == [(99,)]
    connection.close()


def test_a_locked_store_is_said_and_the_same_command_goes_on_later(
    shop: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = shop / "s.sqlite"
    monkeypatch.setitem(ScoreStore.__init__.__kwdefaults__, "lock_seconds", 0.1)
    ScoreStore(store).close()
    holder = sqlite3.connect(store)
    holder.execute("BEGIN EXCLUSIVE")
    assert score(shop, "--set", f"store={store}") == 2
    assert "s.sqlite is in use by another run; wait for it to end" in sentence(capsys)
    holder.rollback()
    holder.close()
    assert score(shop, "--set", f"store={store}") == 0
    with ScoreStore(store, create=False) as there:
        assert there.count() > 0
