"""The whole of tuning: an ordinary adapter, no leak, resumable to the bit, and it learns."""

from __future__ import annotations

import csv
import errno
import functools
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError
from safetensors.torch import load_file
from toy_shop import OPTIONS, score_items, with_other_targets

from guided_refine.config import TuneConfig
from guided_refine.data.dataset import Dataset
from guided_refine.errors import InputError
from guided_refine.scoring.attributes import AttributeSet
from guided_refine.scoring.language_model import LanguageModel, load_language_model
from guided_refine.scoring.prompt import PromptPlan, build_prompt, tokenise_text
from guided_refine.scoring.scores import AttributeScores
from guided_refine.scoring.slots import SlotReader
from guided_refine.tuning.tasks import StepScores
from guided_refine.tuning.trainer import TuneTrainer
from guided_refine.tuning.tune import tune


def run(
    model: LanguageModel,
    dataset: Dataset,
    attributes: AttributeSet,
    config: TuneConfig,
    out: Path,
    *,
    seed: int = 0,
    scores: AttributeScores | None = None,
) -> Path:
    scores = scores or score_items(model, dataset, attributes)
    return tune(
        model, dataset, attributes, config, OPTIONS, out, item_scores=scores, seed=seed, free_answers=2
    )


def weights(adapter: Path) -> dict[str, torch.Tensor]:
    # Copies: the file is mapped into memory, and some tests overwrite it.
    return {k: v.clone() for k, v in load_file(adapter / "adapter_model.safetensors").items()}


def assert_equal(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> None:
    assert one.keys() == two.keys()
    assert all(torch.equal(one[k], two[k]) for k in one)


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "curves.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_the_adapter_is_an_ordinary_peft_folder(
    tiny: LanguageModel,
    tiny_folder: Path,
    dataset: Dataset,
    attributes: AttributeSet,
    tune_config: TuneConfig,
    tmp_path: Path,
) -> None:
    from transformers import AutoModelForCausalLM

    before = {k: v.clone() for k, v in tiny.model.state_dict().items()}
    adapter = run(tiny, dataset, attributes, tune_config, tmp_path)
    after = tiny.model.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[k], after[k]) for k in before)
    assert all(p.requires_grad for p in tiny.model.parameters())

    assert {p.name for p in adapter.iterdir()} == {
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "base_model.json",
    }
    settings = json.loads((adapter / "adapter_config.json").read_text())
    assert settings["target_modules"] == sorted(settings["target_modules"])
    assert str(tiny_folder.parent) not in (adapter / "adapter_config.json").read_text()

    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_folder), str(adapter)).eval()
    ours = load_language_model(str(tiny_folder), OPTIONS, adapter=adapter)
    plan = build_prompt(tiny.tokenizer, attributes, "item")
    texts = [tokenise_text(tiny.tokenizer, t, 24)[0] for t in dataset.texts[:4]]
    with torch.no_grad():
        base = SlotReader(tiny.model, plan).digit_logits(texts).logits
        one = SlotReader(plain, plan).digit_logits(texts).logits
        two = SlotReader(ours.model, plan).digit_logits(texts).logits
        merged = SlotReader(plain.merge_and_unload(), plan).digit_logits(texts).logits
    torch.testing.assert_close(one, two, rtol=0, atol=0)
    torch.testing.assert_close(one, merged, rtol=0, atol=1e-3)
    assert (one - base).abs().max() > 1e-3


def test_what_is_left_behind(
    tiny: LanguageModel, dataset: Dataset, attributes: AttributeSet, tune_config: TuneConfig, tmp_path: Path
) -> None:
    run(tiny, dataset, attributes, tune_config, tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"adapter", "curves.csv", "manifest.json", "report.json"}
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["cut_off"] == dataset.split.cut_off
    curves = rows(tmp_path)
    assert [int(r["step"]) for r in curves] == list(range(7))
    assert curves[0]["loss"] == "" and float(curves[0]["held_out"]) >= 0
    for row in curves[1:]:
        parts = {k: float(row[k]) for k in ("recommendation", "template", "digit_mass", "anchor", "format")}
        assert parts["format"] == pytest.approx(parts["template"] + parts["digit_mass"], rel=1e-5)
        total = parts["recommendation"] + 0.1 * parts["format"] + 0.5 * parts["anchor"]
        assert float(row["loss"]) == pytest.approx(total, rel=1e-5)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["steps"] == 6 and report["tokens_per_second"] > 0
    assert report["answers_written"] == 2
    assert {k for k in report if k.startswith("well_formed")} == {
        "well_formed",
        "well_formed_items",
        "well_formed_users",
        "well_formed_untuned",
    }
    assert all(0 <= report[k] <= 1 for k in report if k.startswith("well_formed"))
    assert report["first"]["loss"] == pytest.approx(float(curves[1]["loss"]))
    assert report["held_out"]["held_out"]["after"] == pytest.approx(float(curves[-1]["held_out"]))


def test_done_is_skipped_and_other_inputs_are_not(
    tiny: LanguageModel, dataset: Dataset, attributes: AttributeSet, tune_config: TuneConfig, tmp_path: Path
) -> None:
    short = tune_config.model_copy(update={"steps": 2})
    adapter = run(tiny, dataset, attributes, short, tmp_path)
    first, stamp = weights(adapter), (adapter / "adapter_model.safetensors").stat().st_mtime_ns
    run(tiny, dataset, attributes, short, tmp_path)
    assert (adapter / "adapter_model.safetensors").stat().st_mtime_ns == stamp
    # A damaged result is made again, the same.
    (adapter / "adapter_model.safetensors").write_bytes(b"cut")
    run(tiny, dataset, attributes, short, tmp_path)
    assert_equal(weights(adapter), first)
    run(tiny, dataset, attributes, short, tmp_path, seed=1)
    assert any(not torch.equal(a, first[k]) for k, a in weights(adapter).items())


class Stop(Exception):
    """Stands for a kill at a place of our choosing."""


@pytest.mark.parametrize(
    "changes",
    [
        {"side": "both"},
        pytest.param({"side": "user"}, marks=pytest.mark.slow),
        {"side": "item", "micro_batch_size": 2},
    ],
)
def test_interrupted_and_resumed_equals_uninterrupted(
    tiny_folder: Path,
    dataset: Dataset,
    attributes: AttributeSet,
    tune_config: TuneConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict,
) -> None:
    config = tune_config.model_copy(update=changes)
    whole = run(load_language_model(str(tiny_folder), OPTIONS), dataset, attributes, config, tmp_path / "a")
    original = TuneTrainer.training_step

    def fail_at(step: int) -> None:
        def training_step(self: TuneTrainer, *args: object, **kwargs: object) -> object:
            if self.state.global_step == step:
                raise Stop
            return original(self, *args, **kwargs)  # type: ignore[arg-type]

        monkeypatch.setattr(TuneTrainer, "training_step", training_step)

    for step in (1, 3, 5):
        fail_at(step)
        model = load_language_model(str(tiny_folder), OPTIONS)
        torch.manual_seed(step)
        np.random.seed(step)  # noqa: NPY002 (what the caller did before must not matter)
        with pytest.raises(Stop):
            run(model, dataset, attributes, config, tmp_path / "b")
        assert not hasattr(model.model, "peft_config") and not (tmp_path / "b" / "manifest.json").exists()
    monkeypatch.setattr(TuneTrainer, "training_step", original)
    resumed = run(load_language_model(str(tiny_folder), OPTIONS), dataset, attributes, config, tmp_path / "b")
    assert_equal(weights(whole), weights(resumed))
    assert (tmp_path / "a" / "curves.csv").read_text() == (tmp_path / "b" / "curves.csv").read_text()


def test_a_killed_process_resumes_to_the_same_adapter(
    tiny_folder: Path, dataset: Dataset, attributes: AttributeSet, tune_config: TuneConfig, tmp_path: Path
) -> None:
    """Signal 9 while a checkpoint is being written, with whatever half-written files that leaves."""
    config = tune_config.model_copy(update={"steps": 12, "save_every": 1})
    script = textwrap.dedent(
        f"""
        import sys, torch
        torch.set_num_threads({torch.get_num_threads()})
        sys.path[:0] = {[str(Path(__file__).parent)]!r}
        from pathlib import Path
        from toy_shop import OPTIONS, make_attributes, make_shop, score_items
        from guided_refine.config import TuneConfig
        from guided_refine.scoring.language_model import load_language_model
        from guided_refine.tuning.tune import tune
        model = load_language_model({str(tiny_folder)!r}, OPTIONS)
        shop, attributes = make_shop(), make_attributes()
        tune(model, shop, attributes, TuneConfig(**{config.model_dump()!r}), OPTIONS, Path(sys.argv[1]),
             item_scores=score_items(model, shop, attributes), seed=0)
        """
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    out = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", script, str(out)], env=environment)
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if any(int(p.name.rpartition("-")[2]) >= 4 for p in out.glob("*/checkpoint-*")):
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.002)
    process.wait()
    assert process.returncode == -signal.SIGKILL
    model = load_language_model(str(tiny_folder), OPTIONS)
    whole = run(model, dataset, attributes, config, tmp_path / "whole")
    resumed = run(model, dataset, attributes, config, out)
    assert_equal(weights(whole), weights(resumed))
    assert (tmp_path / "whole" / "curves.csv").read_text() == (out / "curves.csv").read_text()


def test_held_out_items_leave_the_adapter_bit_identical(
    tiny: LanguageModel, dataset: Dataset, attributes: AttributeSet, tune_config: TuneConfig, tmp_path: Path
) -> None:
    short = tune_config.model_copy(update={"steps": 3})
    one = run(tiny, dataset, attributes, short, tmp_path / "a")
    two = run(tiny, with_other_targets(dataset), attributes, short, tmp_path / "b")
    assert_equal(weights(one), weights(two))
    assert (tmp_path / "a" / "curves.csv").read_text() == (tmp_path / "b" / "curves.csv").read_text()


def test_free_answers_are_counted_by_kind_and_beside_the_untuned_models(
    tiny: LanguageModel,
    dataset: Dataset,
    attributes: AttributeSet,
    tune_config: TuneConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def share(
        model: PeftModel, tokenizer: object, plan: PromptPlan, texts: list[list[int]], **_: object
    ) -> float:
        asked.append((plan.kind, [tiny.tokenizer.decode(t) for t in texts]))
        assert not any(module.training for module in model.modules())
        untuned = any(m.disable_adapters for m in model.modules() if isinstance(m, LoraLayer))
        return {"item": 0.2, "user": 0.6}[plan.kind] / (2 if untuned else 1)

    monkeypatch.setattr("guided_refine.tuning.generation.well_formed_share", share)
    scores = score_items(tiny, dataset, attributes)
    short = tune_config.model_copy(update={"steps": 1})
    tune(tiny, dataset, attributes, short, OPTIONS, tmp_path, item_scores=scores, seed=0, free_answers=40)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["answers_written"] == 40
    got = {k.removeprefix("well_formed"): v for k, v in report.items() if k.startswith("well_formed")}
    assert got == pytest.approx({"": 0.4, "_items": 0.2, "_users": 0.6, "_untuned": 0.2})
    assert [(kind, len(texts)) for kind, texts in asked] == [
        ("item", 20),
        ("user", 20),
        ("item", 10),
        ("user", 10),
    ]
    assert all("\n" in text for text in asked[1][1]) and not any("\n" in text for text in asked[0][1])
    for before, after in ((2, 0), (3, 1)):
        assert set(asked[before][1]) <= set(asked[after][1])


@pytest.mark.parametrize("side", ["both", pytest.param("user", marks=pytest.mark.slow)])
def test_tuning_learns_taste_that_the_text_shows(
    tiny: LanguageModel, dataset: Dataset, attributes: AttributeSet, side: str, tmp_path: Path
) -> None:
    config = TuneConfig(
        side=side,  # type: ignore[arg-type]
        steps=25,
        batch_size=16,
        negatives=16,
        save_every=40,
        learning_rate=1e-2,
        anchor_weight=0.01,
    )
    scores = score_items(tiny, dataset, attributes)
    if side == "user":
        # The random model does not tell the kinds apart, so the constants have to.
        value = np.where(np.arange(48)[:, None] % 2 == 0, [0.8, 0.5, 0.4], [0.2, 0.5, 0.6])
        scores = replace(scores, item_value=value + np.random.default_rng(0).normal(size=(48, 3)) * 0.05)
    run(tiny, dataset, attributes, config, tmp_path, scores=scores)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["last"]["recommendation"] < report["first"]["recommendation"] - 0.3
    held = report["held_out"]["held_out"]
    # Ideal: the target beats all of the other kind and, by chance, half of its own.
    assert held["after"] > 0.65 and held["after"] > held["before"]


def test_anchor_and_format_hold_what_they_are_for(
    tiny: LanguageModel, dataset: Dataset, attributes: AttributeSet, tmp_path: Path
) -> None:
    """The same run with and without: weights lower their own term."""
    base = {"steps": 10, "batch_size": 6, "negatives": 8, "save_every": 15, "learning_rate": 1e-2}
    last = {}
    for name, changed in {
        "weak": {"anchor_weight": 1e-4, "format_weight": 1e-4},
        "anchor": {"anchor_weight": 30.0, "format_weight": 1e-4},
        "format": {"anchor_weight": 1e-4, "format_weight": 2.0},
    }.items():
        run(tiny, dataset, attributes, TuneConfig(**base, **changed), tmp_path / name)
        last[name] = json.loads((tmp_path / name / "report.json").read_text())["last"]
    assert last["anchor"]["anchor"] < 0.5 * last["weak"]["anchor"]
    assert last["format"]["format"] < 0.8 * last["weak"]["format"]


def test_a_real_pretrained_model_can_be_tuned(
    stories: LanguageModel,
    dataset: Dataset,
    attributes: AttributeSet,
    tune_config: TuneConfig,
    tmp_path: Path,
) -> None:
    adapter = run(stories, dataset, attributes, tune_config, tmp_path)
    assert all(torch.isfinite(w).all() for w in weights(adapter).values())
    assert any(w.abs().max() > 0 for k, w in weights(adapter).items() if "lora_B" in k)


def test_wrong_inputs_are_said(
    tiny: LanguageModel, dataset: Dataset, attributes: AttributeSet, tune_config: TuneConfig, tmp_path: Path
) -> None:

    scores = score_items(tiny, dataset, attributes)

    def attempt(**changed: object) -> None:
        given = replace(scores, **changed)
        tune(tiny, dataset, attributes, tune_config, OPTIONS, tmp_path, item_scores=given, seed=0)

    with pytest.raises(InputError, match="score again so that no held-out"):
        attempt(cut_off="leave_one_out:other")
    with pytest.raises(InputError, match="other attributes or another catalog"):
        attempt(attributes=["a", "b", "c"])
    with pytest.raises(InputError, match=r"lower tune\.learning_rate"):
        run(tiny, dataset, attributes, tune_config.model_copy(update={"learning_rate": 1e38}), tmp_path)
    assert not hasattr(tiny.model, "peft_config")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"),
    ],
)
def test_a_full_disk_is_said_and_what_was_done_is_kept(
    tiny: LanguageModel,
    dataset: Dataset,
    attributes: AttributeSet,
    tune_config: TuneConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    """The three sentences with which the libraries below report it, at the second checkpoint."""
    save = TuneTrainer._save

    def full(self: TuneTrainer, output_dir: str | None = None, state_dict: None = None) -> None:
        if self.state.global_step > 2:
            raise error
        save(self, output_dir, state_dict)

    monkeypatch.setattr(TuneTrainer, "_save", full)
    short = tune_config.model_copy(update={"steps": 4})
    with pytest.raises(InputError, match="the disk is full"):
        run(tiny, dataset, attributes, short, tmp_path / "full")
    assert [p.name for p in (tmp_path / "full").glob("*/checkpoint-*/sealed.json")] == ["sealed.json"]
    monkeypatch.setattr(TuneTrainer, "_save", save)
    resumed = run(tiny, dataset, attributes, short, tmp_path / "full")
    assert_equal(weights(resumed), weights(run(tiny, dataset, attributes, short, tmp_path / "whole")))


def margin(scores: StepScores) -> torch.Tensor:
    """A task of one's own: the target one ahead of the mean candidate."""
    own = scores.logits.gather(1, scores.target[:, None])[:, 0]
    return (1 - own + scores.logits.mean(dim=1)).clamp(min=0).mean()


def scaled(scores: StepScores, by: float = 1.0) -> torch.Tensor:
    return by * margin(scores)


def test_a_task_of_other_values_is_tuned_anew(
    tiny: LanguageModel, dataset: Dataset, attributes: AttributeSet, tune_config: TuneConfig, tmp_path: Path
) -> None:
    short = tune_config.model_copy(update={"steps": 1, "micro_batch_size": 3})
    given = {"item_scores": score_items(tiny, dataset, attributes), "seed": 0, "free_answers": 0}
    told = []
    for by in (0.5, 0.5, 2.0):
        task = functools.partial(scaled, by=by)
        adapter = tune(tiny, dataset, attributes, short, OPTIONS, tmp_path, task=task, **given)
        stamp = (adapter / "adapter_model.safetensors").stat().st_mtime_ns
        told.append((stamp, float(rows(tmp_path)[1]["recommendation"])))
    assert told[0] == told[1] and told[2][1] == pytest.approx(4 * told[0][1])


def test_a_task_of_ones_own_is_tuned_and_named(
    tiny: LanguageModel, dataset: Dataset, attributes: AttributeSet, tune_config: TuneConfig, tmp_path: Path
) -> None:
    short = tune_config.model_copy(update={"steps": 1, "micro_batch_size": 3})
    given = {"item_scores": score_items(tiny, dataset, attributes), "seed": 0, "free_answers": 0}
    tune(tiny, dataset, attributes, short, OPTIONS, tmp_path / "a", task=margin, **given)
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert manifest["made_from"]["task"].startswith(f"{margin.__module__}.margin:")
    tune(tiny, dataset, attributes, short, OPTIONS, tmp_path / "b", **given)
    first, other = (float(rows(tmp_path / name)[1]["recommendation"]) for name in "ab")
    assert first != other

    with pytest.raises(InputError, match="needs a trained base"):
        base = short.model_copy(update={"task": "base_recommender"})
        tune(tiny, dataset, attributes, base, OPTIONS, tmp_path / "c", **given)
