"""Contributions: exact, in agreement with what the run published, refused where they would be wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_run import SILENT, USERS, make_run

from guided_refine.backbones.backbone import Backbone
from guided_refine.check import check_run
from guided_refine.errors import InputError
from guided_refine.explain.contributions import Contributions
from guided_refine.explain.explainer import Explainer, base_top, percentile
from guided_refine.explain.export import case_study
from guided_refine.files import read_json, sha256_file, write_json
from guided_refine.refine.table import RefinedTable
from guided_refine.runfolder import RunFolder


@pytest.fixture(scope="module")
def explainer(either: RunFolder) -> Explainer:
    return Explainer.open(either.root)


def test_parts_are_the_products_of_the_published_tables(either: RunFolder, explainer: Explainer) -> None:
    """The refined tables are made on another road; anybody can redo the split with them."""
    items = pd.read_parquet(either.refined_items).set_index("item_id")
    users = pd.read_parquet(either.refined_users).set_index("user_id")
    attributes = explainer.scores.attributes
    pcs = [c for c in items.columns if c.startswith(("pc_", "free_"))]
    for user in (0, 7, SILENT):
        state = users.loc[explainer.dataset.user_ids[user]]
        found = explainer.contributions(user)
        expected = items[attributes].to_numpy() * state[attributes].to_numpy()
        np.testing.assert_allclose(found.values[:, 1:], expected, rtol=1e-4, atol=1e-6)
        behaviour = items[pcs].to_numpy() @ state[pcs].to_numpy()
        np.testing.assert_allclose(found.values[:, 0], behaviour, rtol=1e-4, atol=1e-6)


def test_parts_sum_to_the_score_the_model_ranks_by(either: RunFolder, explainer: Explainer) -> None:
    model = Backbone.load(either.unit("sasrec", "refined", 0))
    scores = model.score(np.arange(USERS), "test", explainer.dataset)
    for user in range(USERS):
        found = explainer.contributions(user)
        np.testing.assert_allclose(found.values.sum(axis=1), scores[user], rtol=1e-4, atol=1e-5)


def test_top_is_what_the_model_recommends(either: RunFolder, explainer: Explainer) -> None:
    model = Backbone.load(either.unit("sasrec", "refined", 0))
    for user in (0, 11):
        name = explainer.dataset.user_ids[user]
        table = model.recommend([name], k=8, dataset=explainer.dataset, part="test")
        top = explainer.contributions(user).top(8, explainer.seen(user))
        assert explainer.dataset.item_ids[top - 1].tolist() == table["item_id"].tolist()


def test_ranks_agree_with_counting(explainer: Explainer) -> None:
    found, seen = explainer.contributions(2), explainer.seen(2)
    ranks = found.ranks(seen)
    unseen = [i for i in range(1, explainer.dataset.n_items + 1) if i not in seen]
    for item in (1, 4, int(seen[0])):
        above = sum(found.score[j - 1] > found.score[item - 1] for j in unseen)
        assert ranks[item - 1] == above + 1


def test_rank_of_the_held_out_item_is_the_evaluated_one(either: RunFolder, explainer: Explainer) -> None:
    rows = pd.read_parquet(either.per_user)
    rows = rows[rows["variant"] == "refined"].set_index("user_id")["rank"]
    for user in range(USERS):
        item = explainer.next_item(user)
        assert item is not None
        place = explainer.contributions(user).ranks(explainer.seen(user))[item - 1]
        assert place == pytest.approx(rows[explainer.dataset.user_ids[user]], abs=0.5)


def test_encoder_and_user_term_share_a_part(explainer: Explainer) -> None:
    found = explainer.contributions(3)
    parts = found.of(5)
    if isinstance(explainer.table, RefinedTable):
        assert parts[0]["from_user_term"] == 0.0, "the user term has no collaborative columns"
    for part in parts:
        assert part["from_encoder"] + part["from_user_term"] == pytest.approx(part["value"])
    encoder_only = [p["value"] - p["from_user_term"] for p in parts]
    model = explainer.model
    histories = torch.tensor(explainer.seen(3))[None, -model.model.encoder.context :]
    with torch.no_grad():
        vectors = model.table.matrix()
        state = model.model.encoder.last(histories, torch.tensor([histories.shape[1]]), vectors)[0]
    assert sum(encoder_only) == pytest.approx(float(state @ vectors[4]), rel=1e-4, abs=1e-5)


def test_lifts_sum_to_the_lead_over_the_average_item(explainer: Explainer) -> None:
    found = explainer.contributions(4)
    lead = found.score[9] - found.score.mean()
    assert sum(p["lift"] for p in found.of(10)) == pytest.approx(lead, rel=1e-4, abs=1e-6)


def test_a_margin_is_the_difference_of_two_scores(explainer: Explainer) -> None:
    found = explainer.contributions(4)
    for item, other in ((3, 9), (9, 3), (5, 5)):
        margin = found.margin(item, other)
        assert list(margin) == explainer.parts
        lead = found.score[item - 1] - found.score[other - 1]
        assert sum(margin.values()) == pytest.approx(lead, rel=1e-4, abs=1e-5)


def test_parts_that_do_not_sum_up_are_refused() -> None:
    with pytest.raises(ArithmeticError, match="item number 2"):
        Contributions(["a", "b"], np.array([3.0, 3.0]), np.array([[1.0, 2.0], [1.0, 2.1]]))


@pytest.mark.parametrize("score", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_sums_up_to_nothing(score: float) -> None:
    with pytest.raises(ArithmeticError, match="item number 2"):
        Contributions(["a", "b"], np.array([3.0, score]), np.array([[1.0, 2.0], [1.0, 2.0]]))
    with pytest.raises(ArithmeticError, match="item number 1"):
        Contributions(["a", "b"], np.array([3.0, 3.0]), np.array([[1.0, score], [1.0, 2.0]]))


@pytest.mark.parametrize("variant", ["refined", "base"])
def test_weights_that_are_no_numbers_are_named(either: RunFolder, tmp_path: Path, variant: str) -> None:
    copied = RunFolder(tmp_path / "run")
    shutil.copytree(either.root, copied.root)
    file = copied.unit("sasrec", variant, 0) / "model.safetensors"
    weights = load_file(file)
    name = next(name for name in weights if name.endswith(("free", "weight")))
    weights[name].view(-1)[0] = float("nan")
    save_file(weights, file)
    about = read_json(file.with_name("config.json"))
    write_json(file.with_name("config.json"), about | {"weights_sha256": sha256_file(file)})
    with pytest.raises(InputError, match=r"model\.safetensors holds weights that are not finite"):
        case_study(Explainer.open(copied.root), "u1", encoder=False)


def test_scores_that_are_gone_are_not_replaced_by_others(finished: RunFolder, tmp_path: Path) -> None:
    """The model was made of tuned scores, so untuned ones would explain another model."""
    copied = RunFolder(tmp_path / "run")
    shutil.copytree(finished.root, copied.root)
    for source in ("untuned", "tuned"):
        copied.record(f"score_{source}", "x", [copied.scores(source)], 0, None)
    assert Explainer.open(copied.root).about["source"] == "tuned"
    copied.scores("tuned").unlink()
    with pytest.raises(InputError, match=r"tuned\.safetensors is missing, but score_tuned wrote it"):
        Explainer.open(copied.root)


def of_two_backbones(tmp_path: Path) -> RunFolder:
    """A run with refined models of GRU4Rec, which is named first, and SASRec."""
    both = ["base", "refined"]
    return make_run(
        tmp_path / "run",
        tmp_path / "source",
        until="refined",
        backbones=["gru4rec", "sasrec"],
        variants={"gru4rec": both, "sasrec": both},
    )


def test_another_backbone_does_not_answer_for_the_one_that_is_gone(tmp_path: Path) -> None:
    folder = of_two_backbones(tmp_path)
    unit = folder.unit("sasrec", "refined", 0)
    folder.record("sasrec/refined/seed0", "x", [unit / "model.safetensors"], 0, None)
    shutil.rmtree(unit)
    with pytest.raises(InputError, match="is missing, but sasrec/refined/seed0 wrote it"):
        Explainer.open(folder.root)


def test_profile_reads_the_latest_scores_and_says_when_it_estimates(explainer: Explainer) -> None:
    scores = explainer.scores
    known = explainer.profile(0)
    rows = np.flatnonzero(scores.users.user == 0)
    assert [r["score"] for r in known.rows] == pytest.approx(scores.users.value[rows[-1]].tolist())
    assert not known.estimated
    silent = explainer.profile(SILENT)
    middle = scores.item_value[explainer.seen(SILENT) - 1].mean(axis=0)
    assert silent.estimated
    assert [r["score"] for r in silent.rows] == pytest.approx(middle.tolist())


def test_percentile_agrees_with_scipy() -> None:
    from scipy.stats import percentileofscore

    values = np.array([0.1, 0.3, 0.3, 0.5, 0.9])
    for value in (0.0, 0.3, 0.4, 1.0):
        assert percentile(values, value) == pytest.approx(percentileofscore(values, value, kind="mean"))


def test_base_top_is_the_base_models_own(either: RunFolder, explainer: Explainer) -> None:
    table = base_top(explainer, "u1", 4)
    assert table is not None
    own = Backbone.load(either.unit("sasrec", "base", 0)).recommend(
        ["u1"], k=4, dataset=explainer.dataset, part="test"
    )
    assert table["item_id"].tolist() == own["item_id"].tolist()


def test_sasrec_is_explained_where_the_run_has_it(tmp_path: Path) -> None:
    folder = of_two_backbones(tmp_path)
    assert Explainer.open(folder.root).backbone == "sasrec"
    shutil.rmtree(folder.unit("sasrec", "refined", 0))
    assert Explainer.open(folder.root).backbone == "gru4rec"


def test_unknown_ids_name_the_nearest(explainer: Explainer) -> None:
    with pytest.raises(InputError, match=r"no user 'u0x'.*nearest: .*u0"):
        explainer.user_number("u0x")
    with pytest.raises(InputError, match=r"no item '§§§§'.*ids look like: i0, i1"):
        explainer.item_number("§§§§")


@pytest.mark.parametrize(
    ("until", "variants", "message"),
    [
        ("base", ["base", "refined"], "finish it with: guided-refine run CONFIG --out"),
        ("base", ["base"], "add it to 'variants'"),
    ],
)
def test_a_run_without_refined_model_says_what_to_run(
    tmp_path: Path, until: str, variants: list[str], message: str
) -> None:
    folder = make_run(tmp_path / "run", tmp_path / "source", until=until, variants=variants)
    with pytest.raises(InputError, match=message):
        Explainer.open(folder.root)


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a run folder"):
        Explainer.open(tmp_path)


def test_the_command_that_finishes_a_run_can_be_copied(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "a b; c", tmp_path / "raw", until="base")
    command = f"guided-refine run CONFIG --out '{folder.root}'"
    with pytest.raises(InputError) as caught:
        Explainer.open(folder.root)
    assert command in str(caught.value)
    with pytest.raises(InputError) as caught:
        check_run(folder.root)
    assert command in str(caught.value)


def test_a_base_that_is_gone_was_not_never_trained(finished: RunFolder, tmp_path: Path) -> None:
    copied = RunFolder(tmp_path / "run")
    shutil.copytree(finished.root, copied.root)
    unit = copied.unit("sasrec", "base", 0)
    copied.record("sasrec/base/seed0", "x", [unit / "model.safetensors", unit / "config.json"], 0, None)
    shutil.rmtree(unit)
    for ask in (lambda e: case_study(e, "u1", encoder=False), lambda e: base_top(e, "u1", 5)):
        with pytest.raises(InputError, match="is missing, but sasrec/base/seed0 wrote it"):
            ask(Explainer.open(copied.root))
