"""The stages before tuning: what they learn from, adapters that stand on their own, and no held-out event among them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from toy_shop import CONTEXT, OPTIONS, score_items, with_other_targets

from guided_refine.config import TuneConfig
from guided_refine.data.dataset import Dataset
from guided_refine.errors import InputError
from guided_refine.scoring.attributes import AttributeSet
from guided_refine.scoring.language_model import LanguageModel, load_language_model
from guided_refine.scoring.prompt import build_prompt
from guided_refine.tuning.batches import Examples
from guided_refine.tuning.text_stages import Row, catalog_rows, next_title_rows, rows_at_a_time
from guided_refine.tuning.texts import DatasetTexts
from guided_refine.tuning.tune import tune

CONFIG = TuneConfig(
    steps=1,
    batch_size=4,
    negatives=4,
    save_every=2,
    learning_rate=1e-2,
    rank=4,
    pretrain_steps=6,
    sft_steps=5,
)


def rows_of(model: LanguageModel, dataset: Dataset, attributes: AttributeSet, steps: int = 30) -> list[Row]:
    plans = {k: build_prompt(model.tokenizer, attributes, k) for k in ("item", "user")}
    texts = DatasetTexts(model.tokenizer, dataset, plans, OPTIONS, CONTEXT)
    return next_title_rows(model.tokenizer, texts, dataset.titles, examples(dataset, steps), CONTEXT)


def examples(dataset: Dataset, steps: int) -> Examples:
    every = np.ones(dataset.n_items, bool)
    return Examples(dataset, every, steps=steps, batch_size=4, negatives=0, template_texts=2, seed=0)


def run(
    model: LanguageModel, dataset: Dataset, attributes: AttributeSet, config: TuneConfig, out: Path
) -> dict[str, torch.Tensor]:
    scores = score_items(model, dataset, attributes)
    adapter = tune(
        model, dataset, attributes, config, OPTIONS, out, item_scores=scores, seed=0, free_answers=0
    )
    return {k: v.clone() for k, v in load_file(adapter / "adapter_model.safetensors").items()}


def test_rows_are_a_training_prefix_and_the_title_that_follows(
    tiny: LanguageModel, dataset: Dataset, attributes: AttributeSet
) -> None:
    rows, drawn = rows_of(tiny, dataset, attributes), examples(dataset, 30)
    number = 0
    for step in range(30):
        batch = drawn[step]
        for user, position in zip(batch.users, batch.positions, strict=True):
            row = rows[number]
            cut = row["completion_mask"].index(1)
            assert set(row["completion_mask"][cut:]) == {1}
            titles = [dataset.titles[i - 1] for i in dataset.visible(user, "train")]
            written = tiny.tokenizer.decode(row["input_ids"][cut:], skip_special_tokens=True)
            assert written.split() == titles[position].split()
            read = tiny.tokenizer.decode(row["input_ids"][:cut]).strip().split("\n")
            assert [line.split() for line in read] == [t.split() for t in titles[:position][-len(read) :]]
            number += 1
    assert number == len(rows)


def test_held_out_items_change_no_row(
    tiny: LanguageModel, dataset: Dataset, attributes: AttributeSet
) -> None:
    assert rows_of(tiny, dataset, attributes) == rows_of(tiny, with_other_targets(dataset), attributes)


def test_a_catalog_row_is_the_text_and_an_end(tiny: LanguageModel) -> None:
    rows = catalog_rows(tiny.tokenizer, ["happy cat", "  ", "sad"], 8)
    assert [tiny.tokenizer.decode(r["input_ids"], skip_special_tokens=True).strip() for r in rows] == [
        "happy cat",
        "sad",
    ]
    assert all(r["input_ids"][-1] == tiny.tokenizer.eos_token_id and all(r["completion_mask"]) for r in rows)
    with pytest.raises(InputError, match="no item has a text"):
        catalog_rows(tiny.tokenizer, ["", " "], 8)


def test_no_title_ends_the_answer_or_leaves_nothing_to_learn(
    tiny: LanguageModel, dataset: Dataset, attributes: AttributeSet
) -> None:
    end = tiny.tokenizer.eos_token
    spelled = [f"{title} {end} then" for title in dataset.titles]
    rows = rows_of(tiny, replace(dataset, items=dataset.items.assign(title=spelled)), attributes)
    answers = [[i for i, learnt in zip(*row.values(), strict=True) if learnt] for row in rows]
    assert all(
        a.count(tiny.tokenizer.eos_token_id) == 1 and a[-1] == tiny.tokenizer.eos_token_id for a in answers
    )
    assert all(tiny.tokenizer.decode(a).split()[-2 if end in a else -1].startswith("then") for a in answers)

    untitled = ["" if i % 2 else title for i, title in enumerate(dataset.titles)]
    some = replace(dataset, items=dataset.items.assign(title=untitled))
    whole = rows_of(tiny, some, attributes)
    tiny.tokenizer.eos_token = None
    few = rows_of(tiny, some, attributes)
    assert 0 < len(few) < len(whole)
    assert all(1 in row["completion_mask"] for row in few)
    with pytest.raises(InputError, match=r"tune\.sft_steps: no item has a title"):
        rows_of(tiny, replace(dataset, items=dataset.items.assign(title="")), attributes)


@pytest.mark.parametrize("micro", [None, 3, 4, 6, 9])
def test_a_step_is_cut_without_a_rest(micro: int | None) -> None:
    size = rows_at_a_time(6, micro)
    assert 6 % size == 0 and size <= (micro or 6)


def test_pieces_and_recomputed_layers_change_no_loss(
    tiny_folder: Path,
    dataset: Dataset,
    attributes: AttributeSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from torch.utils import checkpoint
    from trl import SFTTrainer

    read: list[int] = []
    original, again = SFTTrainer.training_step, checkpoint.checkpoint
    recomputed: list[bool] = []

    def counted(self: SFTTrainer, model: object, inputs: dict[str, torch.Tensor], *others: object) -> object:
        read.append(len(inputs["input_ids"]))
        return original(self, model, inputs, *others)

    def noted(*given: object, **named: object) -> object:
        recomputed.append(True)
        return again(*given, **named)

    monkeypatch.setattr(SFTTrainer, "training_step", counted)
    monkeypatch.setattr("transformers.modeling_utils.checkpoint", noted)
    short = CONFIG.model_copy(
        update={"batch_size": 6, "pretrain_steps": 2, "sft_steps": 2, "dropout": 0.0, "learning_rate": 1e-3}
    )
    found = {}
    for name, changes in {
        "whole": {},
        "pieces": {"micro_batch_size": 4},
        "recomputed": {"gradient_checkpointing": True},
    }.items():
        read.clear(), recomputed.clear()
        model = load_language_model(str(tiny_folder), OPTIONS)
        found[name] = run(model, dataset, attributes, short.model_copy(update=changes), tmp_path / name)
        assert sum(read) == 4 * 6, "rows that were learnt from"
        assert bool(recomputed) == (name == "recomputed")
        made_from = json.loads((tmp_path / name / "manifest.json").read_text())["made_from"]
        assert ("text_rows" in made_from) == (name == "pieces"), "what once read other rows is made anew"
        # Nothing of it stays on the model.
        assert not any(getattr(m, "gradient_checkpointing", False) for m in model.model.modules())
        assert not any(m._forward_hooks for m in model.model.modules())
    losses = {
        (name, stage): json.loads((tmp_path / name / stage / "manifest.json").read_text())["loss"]
        for name in found
        for stage in ("pretrain", "sft")
    }
    for (name, stage), loss in losses.items():
        assert loss == pytest.approx(losses["whole", stage], rel=1e-4), name
    assert all(torch.equal(found["whole"][k], w) for k, w in found["recomputed"].items())


def test_stages_leave_adapters_that_can_be_merged_and_continue_after_a_stop(
    tiny_folder: Path,
    dataset: Dataset,
    attributes: AttributeSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM
    from trl import SFTTrainer

    whole = run(load_language_model(str(tiny_folder), OPTIONS), dataset, attributes, CONFIG, tmp_path / "a")
    assert "|" not in capfd.readouterr().err, "a foreign progress bar"
    for name in ("pretrain", "sft"):
        manifest = json.loads((tmp_path / "a" / name / "manifest.json").read_text())
        assert manifest["cut_off"] == dataset.split.cut_off
        assert manifest["loss"]["last"] < manifest["loss"]["first"]
        card = (tmp_path / "a" / name / "README.md").read_text()
        assert "[More Information Needed]" not in card
        for said in (f"LoRA adapter for tiny after stage {name}", "steps: ", f"`{dataset.split.cut_off}`"):
            assert said in card
        for file in (tmp_path / "a" / name).glob("*[dn]"):  # the card, the settings and the manifest
            assert str(tiny_folder.parent) not in file.read_text(), file
        plain = PeftModel.from_pretrained(
            AutoModelForCausalLM.from_pretrained(tiny_folder), str(tmp_path / "a" / name)
        ).eval()
        ids = torch.tensor([[5, 6, 7, 8]])
        with torch.no_grad():
            apart, before = plain(ids).logits, None
            with plain.disable_adapter():
                before = plain(ids).logits
            merged = plain.merge_and_unload()(ids).logits
        torch.testing.assert_close(apart, merged, rtol=0, atol=1e-3)
        assert (apart - before).abs().max() > 1e-2

    original = SFTTrainer.training_step
    done = []

    def stopped(self: SFTTrainer, *args: object, **kwargs: object) -> object:
        done.append(self.state.global_step)
        if len(done) == 10:  # in the middle of the second stage
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    monkeypatch.setattr(SFTTrainer, "training_step", stopped)
    model = load_language_model(str(tiny_folder), OPTIONS)
    with pytest.raises(KeyboardInterrupt):
        run(model, dataset, attributes, CONFIG, tmp_path / "b")
    again = run(load_language_model(str(tiny_folder), OPTIONS), dataset, attributes, CONFIG, tmp_path / "b")
    assert done[-3:] == [2, 3, 4]
    assert all(torch.equal(whole[k], again[k]) for k in whole)


def test_another_catalog_is_learnt_anew(
    tiny: LanguageModel, dataset: Dataset, attributes: AttributeSet, tmp_path: Path
) -> None:
    short = CONFIG.model_copy(update={"pretrain_steps": 1, "sft_steps": 0})
    run(tiny, dataset, attributes, short, tmp_path)
    first = json.loads((tmp_path / "pretrain" / "manifest.json").read_text())
    items = dataset.items.assign(text=[f"other {t}" for t in dataset.texts])
    run(tiny, replace(dataset, items=items), attributes, short, tmp_path)
    assert json.loads((tmp_path / "pretrain" / "manifest.json").read_text())["key"] != first["key"]
