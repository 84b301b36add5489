"""Labels of a catalog: what counts as one, and that links are judged on items they were not chosen on."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from guided_refine.explain.labels import item_labels, linked_labels


def catalog(**columns: list[str]) -> pd.DataFrame:
    n = len(next(iter(columns.values())))
    return pd.DataFrame(
        {"item_id": [str(i) for i in range(n)], "title": "t", "text": "Comedy, Crime", **columns}
    )


def test_sentences_names_numbers_and_rare_labels_are_none() -> None:
    n = 200
    rng = np.random.default_rng(0)
    items = catalog(
        kind=[("A|B" if i % 4 == 0 else "A") if i % 2 else "" for i in range(n)],
        rare=["seldom" if i < 19 else "" for i in range(n)],
        everywhere=["all" if i < 101 else "" for i in range(n)],
        plot=[f"However, hero {i} leaves" if i < 30 else f"Hero {i} stays" for i in range(n)],
        year=[str(1990 + i % 4) for i in range(n)],
    )
    items.loc[rng.permutation(n)[:5], "kind"] = None
    found = item_labels(items)
    # "However" stands on thirty items, but its column holds sentences.
    assert list(found) == ["kind: A"]
    assert found["kind: A"].tolist() == [isinstance(k, str) and "A" in k.split("|") for k in items["kind"]]


def test_a_link_of_chance_is_not_praised() -> None:
    rng = np.random.default_rng(1)
    values = rng.random((400, 1))
    labels = {f"g: {n}": rng.random(400) < 0.3 for n in range(40)}
    link = linked_labels(["noise"], values, labels)[0]
    # The best of forty looks good on the half it was chosen on; on the other it is chance.
    assert roc_auc_score(link.members, values[:, 0]) > 0.52
    assert abs(link.auc - 0.5) < 0.08


def test_the_planted_label_is_found_and_unknown_scores_are_left_out() -> None:
    rng = np.random.default_rng(2)
    values = rng.random((300, 3))
    labels = {"g: right": values[:, 0] > 0.6, "g: wrong": rng.random(300) < 0.4}
    values[:50, 0] = np.nan
    values[:, 1] = 0.5
    links = linked_labels(["a", "flat", "noise"], values, labels)
    assert [link.attribute for link in links] == ["a", "noise"]
    assert links[0].label == "g: right" and links[0].auc == 1.0
    assert linked_labels(["a"], values[:, :1], {"g: few": np.arange(300) < 6}) == []
