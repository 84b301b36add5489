"""`GuidedRefiner` keeps scikit-learn's contract, and gives the very columns that a run starts its models from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file
from sklearn.base import clone
from sklearn.compose import make_column_selector
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from guided_refine import GuidedRefiner
from guided_refine.errors import InputError

RNG = np.random.default_rng(0)
NAMES = [*(f"base_{i}" for i in range(1, 6)), "humour", "suspense"]
X = pd.DataFrame(
    np.concatenate([RNG.standard_normal((40, 5)) * [5, 4, 3, 2, 1], RNG.uniform(size=(40, 2))], axis=1),
    columns=NAMES,
    index=pd.Index([f"item{i}" for i in range(40)], name="item_id"),
)
ATTRIBUTES = ["humour", "suspense"]


@parametrize_with_checks(
    [GuidedRefiner(), GuidedRefiner(0, width=3, normalise="quantile"), GuidedRefiner(1, width=4)]
)
def test_scikit_learn_agrees(estimator: GuidedRefiner, check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # without it scikit-learn leaves one of the checks out
    check(estimator)


def test_columns_are_scikit_learns_own() -> None:
    refined = GuidedRefiner(ATTRIBUTES).set_output(transform="pandas").fit_transform(X)
    assert refined.columns.tolist() == ["pc_1", "pc_2", "pc_3", *ATTRIBUTES]
    assert refined.index.equals(X.index)
    theirs = PCA(3).fit_transform(X[NAMES[:5]])
    np.testing.assert_allclose(np.abs(refined.iloc[:, :3]), np.abs(theirs), atol=1e-9)
    standard = StandardScaler().fit_transform(X[ATTRIBUTES])
    factor = refined["humour"].std() / standard[:, 0].std(ddof=1)
    np.testing.assert_allclose(refined[ATTRIBUTES], standard * factor, atol=1e-9)
    assert refined[ATTRIBUTES].std(ddof=0).mean() == pytest.approx(refined.iloc[:, :3].std(ddof=0).mean())


def test_a_run_starts_from_the_same_columns() -> None:
    """The builder of the pipeline's variants takes the same steps in float32."""
    from guided_refine.refine.normalise import Normaliser
    from guided_refine.refine.pca import fit_pca
    from guided_refine.refine.table import RefinedTable, guided_scale

    torch = pytest.importorskip("torch")
    base, scores = X[NAMES[:5]].to_numpy(), X[ATTRIBUTES].to_numpy()
    reduced = torch.from_numpy(fit_pca(base, 3).apply(base))
    guided = torch.from_numpy(Normaliser.fit(scores, "zscore", 3.0).apply(scores))
    table = RefinedTable(reduced, guided, guided_scale(reduced, guided, 0.5))
    mine = GuidedRefiner(ATTRIBUTES, scale=0.5).fit_transform(X)
    np.testing.assert_allclose(mine, table.matrix().detach().numpy(), atol=1e-5)


def test_number_and_names_of_attributes_say_the_same() -> None:
    named = GuidedRefiner(ATTRIBUTES, width=4).fit_transform(X)
    counted = GuidedRefiner(2, width=4).fit_transform(X.to_numpy())
    np.testing.assert_array_equal(named, counted)
    other_order = X[["humour", *NAMES[:5], "suspense"]]
    np.testing.assert_allclose(GuidedRefiner(ATTRIBUTES, width=4).fit_transform(other_order), named)


def test_a_missing_score_is_the_catalogs_middle_and_a_missing_base_value_a_fault() -> None:
    refiner = GuidedRefiner(ATTRIBUTES).fit(X)
    one = X.iloc[[0]].assign(humour=np.nan)
    assert abs(refiner.transform(one)[0, 3]) < 1e-9
    with pytest.raises(InputError, match="NaN in a column of the base, first in row 1; only scores may be"):
        refiner.transform(X.assign(base_2=[1.0, np.nan, *[0.0] * 38]))
    with pytest.raises(ValueError, match="infinity"):
        refiner.transform(X.assign(humour=[0.0, 0.0, 0.0, np.inf, *[0.0] * 36]))


def test_new_items_are_mapped_as_the_catalog_was() -> None:
    refiner = GuidedRefiner(ATTRIBUTES).fit(X)
    np.testing.assert_allclose(refiner.transform(X.iloc[5:7]), refiner.transform(X)[5:7])
    beyond = refiner.transform(X.iloc[[0]].assign(humour=99.0))
    assert beyond[0, 3] == pytest.approx(3.0 * refiner.scale_), "cut at three standard deviations"


@pytest.mark.parametrize("scores", [2, ATTRIBUTES, 0])
def test_saved_and_loaded_it_says_the_same(scores: Any, tmp_path: Path) -> None:
    rows = X.to_numpy() if scores == 2 else X
    refiner = GuidedRefiner(scores, width=4, normalise="quantile", scale=2.0).fit(rows)
    refiner.save(tmp_path / "refiner.safetensors")
    again = GuidedRefiner.load(tmp_path / "refiner.safetensors")
    np.testing.assert_array_equal(again.transform(rows), refiner.transform(rows))
    assert again.get_feature_names_out().tolist() == refiner.get_feature_names_out().tolist()
    assert again.get_params() == refiner.get_params()
    assert clone(again).get_params() == refiner.get_params()


def test_files_that_are_no_refiner(tmp_path: Path) -> None:
    save_file({"x": np.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="holds no refiner"):
        GuidedRefiner.load(tmp_path / "other.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"\x00" * 5)
    with pytest.raises(InputError, match="not a readable safetensors file"):
        GuidedRefiner.load(tmp_path / "cut.safetensors")


@pytest.mark.parametrize(
    ("refiner", "rows", "said"),
    [
        (GuidedRefiner(["humor"]), X, "no column 'humor': did you mean 'humour'"),
        (GuidedRefiner(["humour"]), X.to_numpy(), "X has no names that are text"),
        (GuidedRefiner(9), X, "attributes=9, but X has 7 columns"),
        (GuidedRefiner(7), X, r"X has 7 feature\(s\), all of them attributes"),
        (GuidedRefiner(5), X, "5 attributes leave no room for the base in vectors of width 2"),
        (GuidedRefiner(ATTRIBUTES, normalise="rank"), X, "normalise='rank' is none of"),  # type: ignore[arg-type]
        (GuidedRefiner(ATTRIBUTES, scale=0.0), X, "scale=0.0, expected a finite number above 0"),
        (GuidedRefiner(ATTRIBUTES, clip=float("inf")), X, "clip=inf, expected a finite number"),
        (GuidedRefiner(ATTRIBUTES, clip="4"), X, "clip='4', expected a finite number"),  # type: ignore[arg-type]
        (GuidedRefiner(ATTRIBUTES, width=4.0), X, "width=4.0, expected a whole number"),  # type: ignore[arg-type]
        (GuidedRefiner(ATTRIBUTES, width=-3), X, "width=-3, expected a whole number"),
        (GuidedRefiner("humour"), X, "attributes='humour', expected a list of column names"),
        (GuidedRefiner(None), X, "attributes=None, expected a list of column names"),  # type: ignore[arg-type]
        (GuidedRefiner(True), X, "attributes=True, expected a list of column names"),
        (GuidedRefiner([3, 4]), X.set_axis(range(7), axis=1), "no names that are text"),  # type: ignore[list-item]
    ],
)
def test_what_does_not_fit_is_said_in_a_sentence(refiner: GuidedRefiner, rows: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        refiner.fit(rows)


@pytest.mark.parametrize("header", ["", "{", "[]", '{"format": 1}', '{"format": 1, "params": {"depth": 2}}'])
def test_headers_of_others_are_no_refiner(header: str, tmp_path: Path) -> None:
    save_file({"x": np.zeros(1)}, tmp_path / "other.safetensors", metadata={"guided_refiner": header})
    with pytest.raises(InputError, match="holds no refiner of this version"):
        GuidedRefiner.load(tmp_path / "other.safetensors")


def test_names_may_come_as_an_index_or_an_array_or_be_none_at_all() -> None:
    wanted = GuidedRefiner(ATTRIBUTES).fit_transform(X)
    for names in (pd.Index(ATTRIBUTES), np.array(ATTRIBUTES), tuple(ATTRIBUTES)):
        np.testing.assert_array_equal(GuidedRefiner(names).fit_transform(X), wanted)
    np.testing.assert_array_equal(GuidedRefiner([]).fit_transform(X), GuidedRefiner(0).fit_transform(X))


def test_an_attribute_called_as_a_column_of_the_base_is_refused() -> None:
    refiner = GuidedRefiner(["pc_1"]).fit(X.rename(columns={"humour": "pc_1"}))
    with pytest.raises(InputError, match="an attribute is called 'pc_1'"):
        refiner.get_feature_names_out()


def test_it_works_in_a_pipeline() -> None:
    names = make_column_selector(pattern="^(?!base_)")(X)
    pipeline = make_pipeline(GuidedRefiner(names), NearestNeighbors(n_neighbors=1)).fit(X)
    refined = pipeline[0].transform(X)
    assert (pipeline[-1].kneighbors(refined, return_distance=False)[:, 0] == np.arange(40)).all()
