"""Plots draw for few and many names, hold every name inside the picture, and leave nothing behind in matplotlib."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from guided_refine.reporting.curves import plot_distributions, plot_training, plot_tuning
from guided_refine.reporting.plots import plot_deciles, plot_gains, plot_recovery
from guided_refine.reporting.style import label


def scores(names: list[str]) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    head = {"kind": "item", "id": range(30), "position": -1, "source": "untuned"}
    return pd.concat([pd.DataFrame(head).assign(attribute=n, value=rng.random(30)) for n in names])


def size(path: Path) -> tuple[int, int]:
    data = path.read_bytes()
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


@pytest.mark.parametrize("count", [1, 8, 70])
def test_distributions_grow_with_the_attributes(tmp_path: Path, count: int) -> None:
    path = plot_distributions(
        scores([f"an_attribute_with_a_long_name_{i}" for i in range(count)]), tmp_path / "d.png"
    )
    assert path is not None
    width, height = size(path)
    assert 1000 < width < 2000 and height < 2200


def test_the_callers_settings_stay(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    plot_distributions(scores(["costs $5 or $6"]), tmp_path / "d.png")
    assert dict(mpl.rcParams) == before


def test_nothing_to_draw_is_none(tmp_path: Path) -> None:
    path = tmp_path / "p.png"
    per_user = pd.DataFrame(
        {"backbone": "sasrec", "variant": "base", "user_id": ["a"], "ndcg@10": [1.0], "seed": 0}
    )
    assert plot_gains([], path) is None
    assert plot_deciles(per_user, pd.Series([1], index=["a"]), "ndcg@10", path) is None
    assert plot_distributions(scores(["a"]).assign(value=np.nan), path) is None
    assert plot_training({("sasrec", "base", 0): pd.DataFrame()}, path) is None
    assert plot_tuning(pd.DataFrame({"step": [1, 2], "learning_rate": [1, 1]}), path) is None
    assert plot_recovery({"rows": []}, path) is None
    assert not path.exists()


def test_names_as_people_read_them() -> None:
    assert label("a_rather_long_attribute_name", 14) == "a rather long\nattribute name"
    assert label("bert4rec") == "BERT4Rec"
