from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from toy_catalog import OPTIONS, attributes, catalog, dataset

from guided_refine.errors import InputError
from guided_refine.files import read_json
from guided_refine.scoring.builtin import pretrain
from guided_refine.scoring.builtin.folder import Checkpoint
from guided_refine.scoring.prompt import build_prompt, tokenise_texts
from guided_refine.scoring.slots import SlotReader, soft_scores
from guided_refine.tuning.generation import well_formed_share


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrain.train_builtin(dataset(), attributes(), OPTIONS, tmp_path_factory.mktemp("llm"), seed=3)


def weights(folder: Path) -> dict[str, np.ndarray]:
    return dict(load_file(folder / "model.safetensors"))


def assert_same(a: Path, b: Path) -> None:
    left, right = weights(a), weights(b)
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)
    assert read_json(a / "tokenizer.json") == read_json(b / "tokenizer.json")


def test_transformers_loads_the_folder_by_itself(folder: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, report = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("a tram", return_tensors="pt")
    assert ids["input_ids"][0, 0] == tokenizer.bos_token_id
    out = model.generate(**ids, max_new_tokens=3, do_sample=False)
    assert out.shape[1] > ids["input_ids"].shape[1]
    card = (folder / "README.md").read_text()
    assert "no knowledge of the world" in card and "toy" in card
    assert not (folder / "checkpoint.safetensors").exists()


def test_interactions_are_not_read(folder: Path, tmp_path: Path) -> None:
    again = pretrain.train_builtin(dataset(shuffle=9), attributes(), OPTIONS, tmp_path / "m", seed=3)
    assert_same(folder, again)


def test_a_killed_training_ends_with_the_same_weights(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """Stands for the signal."""

    save = Checkpoint.save
    seen = []

    def kill_after_two(self: Checkpoint, epoch: int, *rest: object) -> None:
        save(self, epoch, *rest)  # type: ignore[arg-type]
        seen.append(epoch)
        if epoch == 2:
            raise Killed

    out = tmp_path / "m"
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", kill_after_two)
        with pytest.raises(Killed):
            pretrain.train_builtin(dataset(), attributes(), OPTIONS, out, seed=3)
    assert seen == [1, 2] and not (out / "model.safetensors").exists()
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", lambda self, epoch, *rest: seen.append(epoch))
        pretrain.train_builtin(dataset(), attributes(), OPTIONS, out, seed=3)
    assert seen == [1, 2, 3], "whole epochs are not done again"
    assert_same(folder, out)
    assert len(read_json(out / "pretraining.json")["curve"]) == 3


def test_a_finished_folder_is_left_alone_and_other_settings_train_anew(folder: Path, tmp_path: Path) -> None:
    stamp = (folder / "model.safetensors").stat().st_mtime_ns
    pretrain.train_builtin(dataset(), attributes(), OPTIONS, folder, seed=3)
    assert (folder / "model.safetensors").stat().st_mtime_ns == stamp
    other = pretrain.train_builtin(dataset(), attributes(), OPTIONS, tmp_path / "m", seed=4)
    name = "model.embed_tokens.weight"
    assert not np.array_equal(weights(other)[name], weights(folder)[name])


def test_a_catalog_without_text_and_a_damaged_checkpoint_are_named(tmp_path: Path) -> None:
    silent = dataset()
    silent.items["text"] = ""
    with pytest.raises(InputError, match="no item has a text"):
        pretrain.train_builtin(silent, attributes(), OPTIONS, tmp_path / "a", seed=0)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "checkpoint.safetensors").write_bytes(b"cut off")
    with pytest.raises(InputError, match="is damaged"):
        pretrain.train_builtin(dataset(), attributes(), OPTIONS, tmp_path / "b", seed=0)


def test_the_callers_random_state_is_untouched(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    short = OPTIONS.model_copy(update={"pretrain_epochs": 1})
    pretrain.train_builtin(dataset(), attributes(), short, tmp_path, seed=0)
    assert torch.equal(torch.rand(3), expected)


def test_it_learns_to_read_and_to_answer_about_items_and_histories(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    texts, funny = catalog(n=120)
    options = OPTIONS.model_copy(update={"hidden": 64, "pretrain_epochs": 12, "history_events": 4})
    out = pretrain.train_builtin(dataset(120), attributes(), options, tmp_path, seed=0)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(out).eval(), AutoTokenizer.from_pretrained(out)
    with torch.no_grad():
        reader = SlotReader(model, build_prompt(tokenizer, attributes(), "item"))
        read_texts = [ids for ids, _ in tokenise_texts(tokenizer, texts, 32)]
        read = reader.digit_logits(read_texts, inside=True)
        value = soft_scores(read.logits)[0][:, 0].numpy()
        assert auc(value, funny) > 0.8
        assert read.inside is not None and read.inside.exp().mean() > 0.5
        events = [ids for ids, _ in tokenise_texts(tokenizer, texts, 16)]
        plan = build_prompt(tokenizer, attributes(), "user")
        rng = np.random.default_rng(0)
        kind = np.arange(40) % 2 == 0
        histories = [rng.choice(np.flatnonzero(funny == k), size=4, replace=False) for k in kind]
        rows = [[t for i in h for t in [*events[i], *plan.newline]][:-1] for h in histories]
        wanted = soft_scores(SlotReader(model, plan).digit_logits(rows).logits)[0][:, 0].numpy()
        assert well_formed_share(model, tokenizer, reader.plan, read_texts[:20], context=512) > 0.95
        assert well_formed_share(model, tokenizer, plan, rows[:20], context=512) > 0.95
    assert auc(wanted, kind) > 0.8


def auc(value: np.ndarray, positive: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(positive, value))
