"""Items without training interactions: what they borrow, and that nothing else moves."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic import random_dataset, random_scores

from guided_refine.backbones.backbone import Backbone
from guided_refine.backbones.tables import IdTable
from guided_refine.config import Config, TrainConfig
from guided_refine.config_file import load_config
from guided_refine.data.dataset import Dataset, load_dataset
from guided_refine.pipeline import run
from guided_refine.refine.cold import lend_to_cold
from guided_refine.refine.extend import borrowed
from guided_refine.refine.summed_table import SummedTable
from guided_refine.refine.table import GuidedTable, RefinedTable
from guided_refine.refine.variants import build_base, build_variant
from guided_refine.runfolder import RunFolder

M = 3
TRAIN = {"width": 8, "max_length": 6, "batch_size": 16, "max_epochs": 2, "threads": 1}
COLD = [2, 5]


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return random_dataset()


def refined(dataset: Dataset, fuse: str) -> Backbone:
    config = Config(name="t", train=TRAIN, refine={"fuse": fuse})
    base = build_base("sasrec", dataset, config, 0)
    base.fit(dataset)
    scores = {"untuned": random_scores(dataset, M, source="untuned", seed=1)}
    model = build_variant("refined", dataset, base, scores, config, 0, attributes=[f"a{i}" for i in range(M)])
    model.fit(dataset)
    return model


@pytest.mark.parametrize("fuse", ["columns", "sum"])
def test_cold_items_borrow_and_all_else_keeps_every_bit(dataset: Dataset, fuse: str) -> None:
    model = refined(dataset, fuse)
    table = model.table
    assert isinstance(table, GuidedTable)
    before, vectors = table.columns().detach().numpy().copy(), model.item_vectors()
    counts = np.ones(dataset.n_items, dtype=np.int64)
    counts[COLD] = 0
    assert lend_to_cold(model, counts) == len(COLD)
    after = table.columns().detach().numpy()
    assert np.array_equal(after[:, -M:], before[:, -M:])
    warm = counts > 0
    assert np.array_equal(after[warm], before[warm])
    assert np.array_equal(model.item_vectors()[warm], vectors[warm])
    wanted = borrowed(before[warm, :-M], before[warm, -M:], before[COLD, -M:])
    assert np.array_equal(after[COLD, :-M], wanted) and not np.allclose(wanted, before[COLD, :-M])
    state = torch.randn(table.width)
    np.testing.assert_allclose(
        (table.columns() @ table.read(state)).detach(), (table.matrix() @ state).detach(), atol=1e-5
    )
    # Who borrowed is no neighbour of who borrows: twice is as once.
    lend_to_cold(model, counts)
    assert np.array_equal(table.columns().detach().numpy(), after)


def test_an_item_that_is_like_others_is_ranked_beside_them() -> None:
    """Ten items of one kind point one way, ten of another kind the other; the one never taken was pushed away from all."""
    kind = torch.tensor([1.0] * 11 + [-1.0] * 10)[:, None]
    free = torch.cat([kind, torch.zeros(21, 1)], dim=1) * 2
    free[0] = torch.tensor([-9.0, -9.0])
    table = SummedTable(kind, torch.zeros(1, 2), free)
    model = Backbone("gru4rec", table, None, TrainConfig(width=2), 0)
    state = torch.tensor([1.0, 0.5])
    assert (table.matrix() @ state).argsort(descending=True).tolist().index(0) == 20
    lend_to_cold(model, np.array([0] + [3] * 20))
    scores = table.matrix() @ state
    assert scores[0] > scores[11:].max() and scores[0] < scores[1:11].min() + 1e-6


@pytest.mark.parametrize(
    ("table", "counts"),
    [
        (IdTable(3, 4), [0, 1, 1]),
        (RefinedTable(torch.zeros(3, 0), torch.ones(3, 2), 1.0), [0, 1, 1]),
        (RefinedTable(torch.ones(3, 2), torch.ones(3, 2), 1.0), [1, 1, 1]),
        (RefinedTable(torch.ones(3, 2), torch.ones(3, 2), 1.0), [0, 0, 0]),
        (SummedTable(torch.ones(3, 2), torch.ones(2, 4), None), [0, 1, 1]),
    ],
)
def test_nothing_to_lend(table: IdTable | GuidedTable, counts: list[int]) -> None:
    before = table.matrix().detach().clone()
    assert lend_to_cold(Backbone("gru4rec", table, None, TrainConfig(), 0), np.array(counts)) == 0
    assert torch.equal(table.matrix(), before)


def test_a_run_lends_where_it_is_asked_to(small_run: Path, small_config: Path, tmp_path: Path) -> None:
    """A catalog with items that nobody took in training: their rows alone differ from the same run without it."""
    lines = small_config.read_text(encoding="utf-8").replace("n_users: 150", "n_users: 12").splitlines()
    kept = [line for line in lines if not line.startswith(("tune:", "backbones:", "variants:"))]
    text = "\n".join([*kept, "tune: {enabled: false}", "variants: [base, refined, shuffled]", ""])
    roots = {}
    for name, refine in {"own": "", "lent": "refine: {cold_items: borrowed}\n"}.items():
        config = tmp_path / f"{name}.yaml"
        config.write_text(text + refine, encoding="utf-8")
        roots[name] = tmp_path / name
        if name == "lent":
            shutil.copytree(roots["own"], roots["lent"])
        run(load_config(config), roots[name], config_folder=tmp_path, update=True)
    own, lent = (RunFolder(root) for root in roots.values())
    counts = load_dataset(own.data).train_counts()
    assert 0 < (counts == 0).sum() < 40
    for variant in ("base", "refined", "shuffled"):
        one, other = (Backbone.load(made.unit("sasrec", variant, 3)).item_vectors() for made in (own, lent))
        same = (one == other).all(axis=1)
        assert same[counts > 0].all() and same[counts == 0].any() == (variant == "base"), variant
