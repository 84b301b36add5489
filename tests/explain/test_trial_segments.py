"""Groups of users: nobody is lost, and numbers are means over the members."""

from __future__ import annotations

import numpy as np
import pytest

from guided_refine.explain.explainer import Explainer
from guided_refine.explain.trial_segments import by_segment, segments
from guided_refine.runfolder import RunFolder


def test_every_user_is_in_one_third_and_one_popularity(finished: RunFolder) -> None:
    explainer = Explainer.open(finished.root)
    users = np.arange(explainer.dataset.n_users)
    items = 1 + np.random.default_rng(0).integers(explainer.dataset.n_items, size=len(users))
    labels = {f"g: {n}": np.arange(explainer.dataset.n_items) % (n + 2) == 0 for n in range(9)}
    found = segments(explainer, users, items, labels)
    for kind in ("history", "popularity"):
        assert (sum(members.astype(int) for k, _, members in found if k == kind) == 1).all()
    length = np.array([len(explainer.seen(user)) for user in users])
    groups = {name: members for kind, name, members in found if kind == "history"}
    assert length[groups["short"]].max() < length[groups["long"]].min()
    named = [(name, int(members.sum())) for kind, name, members in found if kind == "label"]
    assert len(named) == 6 and [n for _, n in named] == sorted((n for _, n in named), reverse=True)


def test_means_are_over_members_and_small_groups_are_not_described() -> None:
    rng = np.random.default_rng(0)
    values = {"direct": rng.normal(size=(12, 3)), "encoder": rng.normal(size=(12, 3))}
    half = np.arange(12) < 6
    rows = by_segment(
        [("history", "short", half), ("label", "g: x", np.arange(12) < 4)], values, ["a", "b", "c"]
    )
    assert rows[0]["encoder"]["b"]["mean"] == pytest.approx(np.abs(values["encoder"][:6, 1]).mean())
    assert sum(entry["share"] for entry in rows[0]["direct"].values()) == pytest.approx(1)
    assert rows[1]["users"] == 4 and rows[1]["direct"] is None
