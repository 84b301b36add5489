"""The loss of one step: every term reaches the adapter, nothing moves that must not, numbers equal a naive reading."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from objective_parts import Bench, weights
from peft import PeftModel
from toy_shop import CONTEXT

from guided_refine.config import TuneConfig
from guided_refine.data.dataset import Dataset
from guided_refine.scoring.attributes import AttributeSet
from guided_refine.scoring.language_model import LanguageModel
from guided_refine.scoring.prompt import generation_lines
from guided_refine.scoring.slots import SlotReader, soft_scores
from guided_refine.tuning.answers import digits_of
from guided_refine.tuning.batches import TuneBatch
from guided_refine.tuning.losses import catalog_scale
from guided_refine.tuning.reading import evaluating, only_adapter_dropout, read_texts
from guided_refine.tuning.tasks import StepScores, next_item


@pytest.fixture
def bench(tiny: LanguageModel, dataset: Dataset, attributes: AttributeSet) -> Bench:
    return Bench(tiny, dataset, attributes)


def gradient(model: PeftModel) -> float:
    return sum(
        float(p.grad.abs().sum()) for n, p in model.named_parameters() if "lora_" in n and p.grad is not None
    )


@pytest.mark.parametrize("side", ["both", "user", "item"])
@pytest.mark.parametrize("term", ["recommendation_weight", "format_weight", "anchor_weight"])
def test_each_term_alone_reaches_the_adapter(bench: Bench, term: str, side: str) -> None:
    bench.disturb()
    config = weights(**{term: 0.7}).model_copy(update={"side": side})
    terms = bench.objective(config)(bench.examples[0])
    terms.total.backward()
    assert gradient(bench.model) > 0
    assert all(p.grad is None for n, p in bench.model.named_parameters() if "lora_" not in n)
    values = terms.values()
    wanted = {
        "recommendation_weight": {"recommendation"},
        "format_weight": {"format", "template", "digit_mass"},
        "anchor_weight": {"anchor"},
    }[term]
    assert values.keys() == wanted
    main = values["format"] if term == "format_weight" else next(iter(values.values()))
    assert terms.total.item() == pytest.approx(0.7 * main, rel=1e-5)


def test_before_the_first_step_nothing_has_moved(bench: Bench) -> None:
    """LoRA's B is zero: tuned logits are the untuned ones and the anchor is zero."""
    reader = SlotReader(bench.model, bench.plans["item"])
    texts = [bench.texts.item(i) for i in range(1, len(bench.value) + 1)]
    with evaluating(bench.model):
        logits = reader.digit_logits(texts).logits
    torch.testing.assert_close(logits, bench.untuned, rtol=0, atol=1e-6)
    terms = bench.objective(weights(anchor_weight=1.0))(bench.examples[0])
    assert terms.values()["anchor"] == pytest.approx(0, abs=1e-6)


def naive_terms(bench: Bench, batch: TuneBatch) -> dict[str, float]:
    """One text and one user at a time, digits by plain softmax, everything else in Python numbers."""
    bench.model.eval()
    m = bench.value.shape[1]
    mean, std = bench.value.mean(axis=0), np.maximum(bench.value.std(axis=0), 0.02)

    def read(kind: str, text: list[int]) -> tuple[np.ndarray, np.ndarray]:
        reader = SlotReader(bench.model, bench.plans[kind])
        with torch.no_grad():
            found = reader.digit_logits([text], inside=True)
        assert found.inside is not None
        return found.logits[0].double().numpy(), found.inside[0].double().numpy()

    def z(logits: np.ndarray) -> np.ndarray:
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        return ((p * np.arange(9)).sum(axis=1) / 8 - mean) / std

    texts_u = [bench.texts.user(u, p) for u, p in zip(batch.users, batch.positions, strict=True)]
    texts_i = [bench.texts.item(i) for i in batch.items]
    users, items = [read("user", t) for t in texts_u], [read("item", t) for t in texts_i]
    recommendation = 0.0
    for u, (logits, _) in enumerate(users):
        s = [float(z(logits) @ z(other)) / math.sqrt(m) for other, _ in items]
        below = sum(math.exp(x - s[batch.target[u]]) for j, x in enumerate(s) if not batch.blocked[u][j])
        recommendation += math.log(below) / len(users)
    mass = -float(np.mean([inside for _, inside in users + items]))
    anchor = []
    with bench.model.disable_adapter():
        before = [read("user", t)[0] for t in texts_u] + [read("item", t)[0] for t in texts_i]
    for (now, _), old in zip(users + items, before, strict=True):
        for a in range(m):
            log_p = now[a] - np.log(np.exp(now[a]).sum())
            log_q = old[a] - np.log(np.exp(old[a]).sum())
            anchor.append(float((np.exp(log_p) * (log_p - log_q)).sum()))
    template = []
    rows = [("item", texts_i, items, list(batch.items).index(i)) for i in batch.template_items]
    rows += [("user", texts_u, users, row) for row in batch.template_examples]
    for kind, texts, reads, row in rows:
        text, value = texts[row], soft_scores(torch.from_numpy(reads[row][0]))[0].numpy()
        lines = generation_lines(bench.plans[kind], text, digits_of(value), limit=CONTEXT)
        with torch.no_grad():
            logits = bench.model(input_ids=torch.tensor([lines.ids])).logits[0].double()
        for place in range(lines.prompt_length, len(lines.ids)):
            log_p = logits[place - 1].log_softmax(-1)
            digit = place in lines.digit_places
            right = log_p[bench.plans[kind].digits] if digit else log_p[[lines.ids[place]]]
            template.append(-math.log(float(right.exp().sum())))
    return {
        "recommendation": recommendation,
        "digit_mass": mass,
        "anchor": float(np.mean(anchor)),
        "template": float(np.mean(template)),
    }


def test_terms_match_a_naive_reading(bench: Bench) -> None:
    bench.disturb()
    config = TuneConfig(recommendation_weight=1, format_weight=0.5, anchor_weight=0.25, dropout=0)
    for module in bench.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    batch = bench.examples[1]
    got = bench.objective(config)(batch)
    expected = naive_terms(bench, batch)
    values = got.values()
    for name, number in expected.items():
        assert values[name] == pytest.approx(number, rel=2e-4), name
    total = (
        expected["recommendation"]
        + 0.5 * (expected["template"] + expected["digit_mass"])
        + 0.25 * expected["anchor"]
    )
    assert got.total.item() == pytest.approx(total, rel=2e-4)


def test_the_gradient_is_that_of_the_loss(bench: Bench) -> None:
    """Against a difference quotient along a random direction, in double precision."""
    bench.disturb()
    bench.model.double()
    for module in bench.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    objective = bench.objective(weights(recommendation_weight=1.0, anchor_weight=1.0, format_weight=1.0))
    batch = bench.examples[0]
    objective(batch).total.backward()
    trainable = [p for p in bench.model.parameters() if p.requires_grad]
    direction = [torch.randn_like(p) for p in trainable]
    slope = sum(float((p.grad * d).sum()) for p, d in zip(trainable, direction, strict=True))  # type: ignore[operator]

    def moved(by: float) -> float:
        with torch.no_grad():
            for p, d in zip(trainable, direction, strict=True):
                p += by * d
            value = objective(batch).total.item()
            for p, d in zip(trainable, direction, strict=True):
                p -= by * d
        return value

    # Scores and losses are computed in single precision, so the step must not be too small.
    quotient = (moved(1e-3) - moved(-1e-3)) / 2e-3
    assert slope == pytest.approx(quotient, rel=0.02)


def test_items_are_constants_on_the_user_side(bench: Bench) -> None:
    """With side="user" the model is never asked about an item, and other constants give another loss."""
    bench.disturb()
    config = weights(recommendation_weight=1.0).model_copy(update={"side": "user"})
    objective = bench.objective(config)
    asked: list[int] = []
    whole = bench.texts.item
    bench.texts.item = lambda number: asked.append(number) or whole(number)  # type: ignore[method-assign]
    first = objective(bench.examples[0]).total.item()
    assert asked == []
    bench.value = bench.value[::-1].copy()
    assert bench.objective(config)(bench.examples[0]).total.item() != first


def test_users_are_constants_on_the_item_side(bench: Bench) -> None:
    """With side="item" the loss is a naive one over tuned items and untuned users; users' scores get no gradient."""
    bench.disturb()
    for module in bench.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    batch = bench.examples[0]
    config = weights(recommendation_weight=1.0).model_copy(update={"side": "item"})
    read: list[list[int]] = []

    def task(scores: StepScores) -> torch.Tensor:
        assert scores.items.requires_grad and not scores.users.requires_grad
        read.append(list(scores.users.shape))
        return next_item(scores)

    got = bench.objective(config, task=task)(batch).total.item()
    assert read == [[len(batch.users), bench.value.shape[1]]]
    scale = catalog_scale(bench.value)
    users = SlotReader(bench.model, bench.plans["user"])
    items = SlotReader(bench.model, bench.plans["item"])
    with evaluating(bench.model):
        tuned = items.digit_logits([bench.texts.item(i) for i in batch.items]).logits
        with bench.model.disable_adapter():
            texts = [bench.texts.user(u, p) for u, p in zip(batch.users, batch.positions, strict=True)]
            untuned = users.digit_logits(texts).logits
    z_u, z_i = (scale.apply(soft_scores(x)[0]).double().numpy() for x in (untuned, tuned))
    naive = 0.0
    for u in range(len(z_u)):
        s = z_i @ z_u[u] / math.sqrt(z_u.shape[1])
        naive += math.log(
            sum(math.exp(x - s[batch.target[u]]) for x, b in zip(s, batch.blocked[u], strict=True) if not b)
        )
    assert got == pytest.approx(naive / len(z_u), rel=1e-4)


def test_a_step_is_repeatable_and_steps_differ(bench: Bench) -> None:
    bench.disturb()
    objective = bench.objective(weights(recommendation_weight=1.0, anchor_weight=1.0))
    batch = bench.examples[0]
    one = objective(batch).total.item()
    torch.manual_seed(99)
    objective.rank_held_out(batch)
    assert objective(batch).total.item() == one
    assert objective(replace(batch, step=1)).total.item() != one  # other dropout


def test_only_the_adapter_drops_out(bench: Bench) -> None:
    only_adapter_dropout(bench.model)
    training = {n for n, m in bench.model.named_modules() if m.training}
    assert training and all("lora_dropout" in n for n in training)


def test_held_out_ranking_matches_the_loop(bench: Bench) -> None:
    bench.disturb()
    objective = bench.objective(weights(recommendation_weight=1.0))
    batch = bench.examples.held_out()
    assert batch is not None
    got = objective.rank_held_out(batch)
    scale = catalog_scale(bench.value)
    with evaluating(bench.model):
        users = SlotReader(bench.model, bench.plans["user"]).digit_logits(
            [bench.texts.user(u, p) for u, p in zip(batch.users, batch.positions, strict=True)]
        )
        items = SlotReader(bench.model, bench.plans["item"]).digit_logits(
            [bench.texts.item(i) for i in batch.items]
        )
    z_u, z_i = (scale.apply(soft_scores(x.logits)[0]).numpy() for x in (users, items))
    shares = []
    for u in range(len(batch.users)):
        s = z_i @ z_u[u]
        others = [j for j in range(len(s)) if j != batch.target[u] and not batch.blocked[u][j]]
        own = s[batch.target[u]]
        shares.append(np.mean([1.0 if own > s[j] else 0.5 if own == s[j] else 0.0 for j in others]))
    assert got["held_out"] == pytest.approx(float(np.mean(shares)), abs=0.02)


def test_reading_in_passes_keeps_the_order(bench: Bench) -> None:
    reader = SlotReader(bench.model, bench.plans["user"])
    texts = [bench.texts.user(0, p) for p in (3, 1, 4, 2)]
    with evaluating(bench.model):
        whole = reader.digit_logits(texts, inside=True)
        parts = read_texts(reader, texts, 1, inside=True)
        assert parts.inside is not None and whole.inside is not None
        torch.testing.assert_close(parts.logits, whole.logits, rtol=0, atol=1e-5)
        torch.testing.assert_close(parts.inside, whole.inside, rtol=0, atol=1e-5)


def test_a_training_text_never_reads_its_target_or_later(bench: Bench, dataset: Dataset) -> None:
    user = int(bench.examples[0].users[0])
    n_train = int(dataset.split.n_train[user])
    with pytest.raises(ValueError, match="no training event"):
        bench.texts.user(user, n_train)
    longer = bench.texts.user(user, 3)
    assert longer[: len(bench.texts.user(user, 2))] == bench.texts.user(user, 2)
