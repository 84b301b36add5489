"""Early stopping, resuming, and what a training may read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic import make_dataset, random_dataset, ring

from guided_refine.backbones import training
from guided_refine.backbones.backbone import Backbone
from guided_refine.backbones.checkpoint import FILE
from guided_refine.backbones.losses.deck import Deck
from guided_refine.backbones.model import ENCODERS, LOSSES
from guided_refine.backbones.tables import IdTable
from guided_refine.config import TrainConfig
from guided_refine.errors import InputError
from guided_refine.evaluation.metrics import ranking_metrics
from guided_refine.evaluation.ranking import rank_targets
from guided_refine.progress import Progress

KINDS = sorted(ENCODERS)
OBJECTIVES: dict[str, dict[str, object]] = {loss: {"loss": loss} for loss in LOSSES} | {
    "sampled_softmax by popularity": {
        "loss": "sampled_softmax",
        "negatives": 7,
        "negative_sampling": "popularity",
    }
}
PAIRS = [(kind, name) for kind in KINDS for name in OBJECTIVES]
# Trained to the end: every backbone with its default loss; every loss where places share a batch, and where lanes do.
LEARNED = [(k, name) for k, name in PAIRS if name == "cross_entropy" or k in ("sasrec", "gru4rec_parallel")]


def make(kind: str, n_items: int, **options: object) -> Backbone:
    defaults = {"max_length": 6, "width": 8, "batch_size": 8, "max_epochs": 4, "patience": 9, "dropout": 0.2}
    config = TrainConfig(**{**defaults, **options})
    return Backbone(kind, IdTable(n_items, 8, seed=1), None, config, seed=5)


def weights(backbone: Backbone) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in backbone.model.state_dict().items()}


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


@pytest.mark.parametrize(("kind", "objective"), LEARNED)
def test_only_one_right_answer_is_learned(kind: str, objective: str) -> None:
    # gBCE wants levels, not only an order: the bounded state in lanes, without any bias, is slow to find them.
    slow = (kind, objective) == ("gru4rec_parallel", "gbce")
    dataset = ring()
    options = OBJECTIVES[objective]
    if objective not in ("cross_entropy", "bce"):
        options = {"negatives": 10, **options}
    config = TrainConfig(
        max_length=8,
        layers=1,
        batch_size=16,
        # Cloze trains a fifth of the places in an epoch; lanes take many more steps.
        max_epochs=24 if slow else {"gru4rec_parallel": 8, "bert4rec": 80}.get(kind, 40),
        learning_rate=0.01 if slow else 0.005,
        dropout=0,
        patience=80,
        **options,
    )
    backbone = Backbone(kind, IdTable(dataset.n_items, 32, seed=0), None, config, seed=0)
    backbone.fit(dataset)
    ranks = rank_targets(lambda users: backbone.score(users, "test", dataset), dataset, "test")
    found = ranking_metrics(ranks["greater"], ranks["equal"], [10])["ndcg@10"].mean()
    # Chance is 0.15.
    assert found > 0.75 if slow else found == 1


@pytest.mark.parametrize(("kind", "objective"), PAIRS)
def test_resume_equals_uninterrupted_to_the_last_bit(kind: str, objective: str, tmp_path: Path) -> None:
    dataset, options = random_dataset(), OBJECTIVES[objective]
    whole = make(kind, dataset.n_items, **options)
    expected = whole.fit(dataset)
    make(kind, dataset.n_items, max_epochs=2, **options).fit(dataset, checkpoint=tmp_path)
    torch.rand(7)  # what else draws random numbers must not matter
    later = make(kind, dataset.n_items, **options)
    result = later.fit(dataset, checkpoint=tmp_path)
    assert_same(weights(later), weights(whole))
    assert [c["loss"] for c in result.curve] == [c["loss"] for c in expected.curve]
    assert (result.steps, result.best_epoch) == (expected.steps, expected.best_epoch)
    again = make(kind, dataset.n_items, **options)
    assert again.fit(dataset, checkpoint=tmp_path).epochs == 4
    assert_same(weights(again), weights(whole))


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = [{tests!r}]
from backbones.test_training import make, random_dataset
from guided_refine.backbones.checkpoint import Checkpoint
save = Checkpoint.save
def save_then_die(self, counters, *rest):
    save(self, counters, *rest)
    if counters.epoch == 2:
        os.kill(os.getpid(), signal.SIGKILL)
Checkpoint.save = save_then_die
dataset = random_dataset()
make("sasrec", dataset.n_items).fit(dataset, checkpoint=Path({folder!r}))
"""


def test_a_killed_process_is_continued_with_equal_weights(tmp_path: Path) -> None:
    script = KILLED.format(tests=str(Path(__file__).parents[1]), folder=str(tmp_path / "checkpoint"))
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    died = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    dataset = random_dataset()
    log = tmp_path / "run.log"
    continued, whole = make("sasrec", dataset.n_items), make("sasrec", dataset.n_items)
    continued.fit(dataset, checkpoint=tmp_path / "checkpoint", progress=Progress(quiet=True, log=log))
    whole.fit(dataset)
    assert "continues after epoch 2" in log.read_text()
    assert_same(weights(continued), weights(whole))


CONTINUED = [pair for pair in PAIRS if pair[1] in ("cross_entropy", "sampled_softmax by popularity")]
HALF = """
import sys
from pathlib import Path
sys.path[:0] = [{tests!r}]
from backbones.test_training import CONTINUED, OBJECTIVES, make, random_dataset
dataset = random_dataset()
for kind, objective in CONTINUED:
    half = make(kind, dataset.n_items, max_epochs=2, **OBJECTIVES[objective])
    half.fit(dataset, checkpoint=Path({folder!r}) / kind / objective)
"""


def test_half_the_steps_and_the_rest_in_a_new_process_are_all_steps(tmp_path: Path) -> None:
    script = HALF.format(tests=str(Path(__file__).parents[1]), folder=str(tmp_path))
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)
    dataset = random_dataset()
    for kind, objective in CONTINUED:
        whole, rest = (make(kind, dataset.n_items, **OBJECTIVES[objective]) for _ in range(2))
        steps = whole.fit(dataset).steps
        log = tmp_path / kind / objective / "run.log"
        result = rest.fit(dataset, checkpoint=log.parent, progress=Progress(quiet=True, log=log))
        assert "continues after epoch 2" in log.read_text(), (kind, objective)
        assert result.steps == steps
        assert_same(weights(rest), weights(whole))


def test_checkpoints_of_other_trainings_and_damaged_ones_are_not_used(tmp_path: Path) -> None:
    dataset = random_dataset()
    plain = make("sasrec", dataset.n_items, max_epochs=2)
    plain.fit(dataset)
    make("sasrec", dataset.n_items, max_epochs=2, learning_rate=0.1).fit(dataset, checkpoint=tmp_path)
    other = make("sasrec", dataset.n_items, max_epochs=2)
    other.fit(dataset, checkpoint=tmp_path)
    assert_same(weights(other), weights(plain))
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:1000])
    again = make("sasrec", dataset.n_items, max_epochs=2)
    again.fit(dataset, checkpoint=tmp_path)
    assert_same(weights(again), weights(plain))


def test_a_checkpoint_of_another_split_is_not_used(tmp_path: Path) -> None:
    """Same items, same start, same settings; only what is held out differs."""
    earlier, dataset = random_dataset(), random_dataset()
    n_train = np.maximum(earlier.split.n_train - 1, 1)
    split = replace(
        earlier.split, n_train=n_train, valid=np.where(earlier.split.valid >= 0, n_train, -1), sha256="0" * 64
    )
    make("sasrec", dataset.n_items, max_epochs=2).fit(replace(earlier, split=split), checkpoint=tmp_path)
    ours, plain = make("sasrec", dataset.n_items), make("sasrec", dataset.n_items)
    log = tmp_path / "run.log"
    ours.fit(dataset, checkpoint=tmp_path, progress=Progress(quiet=True, log=log))
    plain.fit(dataset)
    assert "holds a training of other data" in log.read_text()
    assert_same(weights(ours), weights(plain))


def test_decay_takes_its_share_of_every_weight() -> None:
    """Decoupled decay (Loshchilov and Hutter, ICLR 2019): one step takes learning rate times decay of each weight more."""
    dataset, rate, decay = random_dataset(), 1.0, 0.25
    options = {"batch_size": dataset.n_users, "max_epochs": 1, "learning_rate": rate}
    decayed, plain = (make("sasrec", dataset.n_items, weight_decay=d, **options) for d in (decay, 0.0))
    before = weights(plain)
    assert decayed.fit(dataset).steps == plain.fit(dataset).steps == 1
    after = weights(plain)
    for name, weight in weights(decayed).items():
        expected = after[name] - rate / training.WARM_UP * decay * before[name]
        torch.testing.assert_close(weight, expected, rtol=1e-4, atol=1e-6)


def test_patience_ends_training_and_best_weights_come_back() -> None:
    dataset = random_dataset()
    backbone = make("sasrec", dataset.n_items, max_epochs=60, patience=3, learning_rate=0.05)
    result = backbone.fit(dataset)
    assert result.converged and result.epochs == result.best_epoch + 3
    ndcg = [c["ndcg@10"] for c in result.curve]
    assert result.best_ndcg == max(ndcg) == ndcg[result.best_epoch - 1]
    short = make("sasrec", dataset.n_items, max_epochs=result.best_epoch, patience=3, learning_rate=0.05)
    assert not short.fit(dataset).converged
    assert_same(weights(backbone), weights(short))


def test_every_place_weighs_the_same_whatever_batch_it_falls_into(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = random_dataset()

    def direction(batch_size: int) -> torch.Tensor:
        gradients: list[torch.Tensor] = []

        def note_only(self: torch.optim.AdamW) -> None:
            gradients.append(
                torch.cat(
                    [p.grad.flatten() for g in self.param_groups for p in g["params"] if p.grad is not None]
                )
            )

        monkeypatch.setattr(torch.optim.AdamW, "step", note_only)
        make("sasrec", dataset.n_items, batch_size=batch_size, max_epochs=1, dropout=0.0).fit(dataset)
        total = torch.stack(gradients).sum(0)
        return total / total.norm()

    torch.testing.assert_close(direction(4), direction(dataset.n_users), rtol=1e-3, atol=1e-5)


def test_a_standstill_lowers_the_learning_rate_and_kills_do_not_matter(tmp_path: Path) -> None:
    dataset = random_dataset()
    options = {"patience": 2, "learning_rate": 0.05, "learning_rate_drops": 2}
    whole = make("sasrec", dataset.n_items, max_epochs=60, **options)
    result = whole.fit(dataset)
    rates = [c["learning_rate"] for c in result.curve]
    assert result.converged and list(dict.fromkeys(rates)) == [0.05, 0.0125, 0.003125]
    for epochs in range(1, result.epochs + 1):
        part = make("sasrec", dataset.n_items, max_epochs=epochs, **options)
        last = part.fit(dataset, checkpoint=tmp_path)
    assert [c["loss"] for c in last.curve] == [c["loss"] for c in result.curve]
    assert_same(weights(part), weights(whole))


def test_a_standstill_goes_back_to_the_best_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "DROP", 0.0)  # so that the weights stay where the drop put them
    dataset = random_dataset()
    backbone = make(
        "sasrec", dataset.n_items, max_epochs=60, patience=3, learning_rate=0.05, learning_rate_drops=1
    )
    result = backbone.fit(dataset)
    ndcg = [c["ndcg@10"] for c in result.curve]
    assert ndcg[-3:] == [result.best_ndcg] * 3
    assert result.best_epoch == result.epochs - 6 and ndcg[-4] < result.best_ndcg


@pytest.mark.parametrize(("kind", "objective"), PAIRS)
def test_held_out_events_change_no_training_step(kind: str, objective: str) -> None:
    dataset = random_dataset()
    other = [
        np.concatenate(
            [s[: dataset.split.n_train[u]], s[dataset.split.n_train[u] :][::-1] % dataset.n_items + 1]
        )
        for u, s in enumerate(dataset.sequences)
    ]
    # One epoch: from the second on, validation may pick other best weights.
    a, b = (make(kind, dataset.n_items, max_epochs=1, **OBJECTIVES[objective]) for _ in range(2))
    losses = [m.fit(d).curve[0]["loss"] for m, d in ((a, dataset), (b, replace(dataset, sequences=other)))]
    assert losses[0] == losses[1]
    assert_same(weights(a), weights(b))


def test_each_epoch_has_negatives_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    decks: list[Deck] = []

    def kept(*arguments: object) -> Deck:
        decks.append(Deck(*arguments))  # type: ignore[arg-type]
        return decks[-1]

    monkeypatch.setattr(training, "Deck", kept)
    dataset = random_dataset()
    for _ in range(2):
        make("sasrec", dataset.n_items, max_epochs=3, loss="sampled_softmax", negatives=3).fit(dataset)
    first, second = decks[:3], decks[3:]
    assert all(torch.equal(a.cards, b.cards) for a, b in zip(first, second, strict=True))
    assert len({tuple(deck.cards.tolist()) for deck in first}) == 3


@pytest.mark.parametrize(("kind", "objective"), PAIRS)
def test_second_fit_starts_anew(kind: str, objective: str) -> None:
    dataset = random_dataset()
    backbone = make(kind, dataset.n_items, max_epochs=2, **OBJECTIVES[objective])
    backbone.fit(dataset)
    first = weights(backbone)
    backbone.fit(dataset)
    assert_same(first, weights(backbone))


def test_fit_leaves_global_randomness_and_threads_alone() -> None:
    dataset = random_dataset()
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    threads = torch.get_num_threads()
    make("sasrec", dataset.n_items, max_epochs=1, threads=1).fit(dataset)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


def test_faults_are_said() -> None:
    dataset = random_dataset()
    with pytest.raises(InputError, match="came apart"):
        make("sasrec", dataset.n_items, learning_rate=1e30).fit(dataset)
    with pytest.raises(InputError, match="holds 7 items"):
        make("sasrec", 7).fit(dataset)
    with pytest.raises(InputError, match="two training events"):
        make("sasrec", 5).fit(make_dataset([[1, 2, 3], [2, 3, 4]], 5))
    with pytest.raises(InputError, match=r"train\.device"):
        make("sasrec", dataset.n_items, device="cuda:99").fit(dataset)
    with pytest.raises(InputError, match="did you mean 'sasrec'"):
        make("sasrek", 5)
