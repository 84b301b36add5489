"""Recommendations for somebody new: picked items, the model's own list, estimated scores that are called so."""

from __future__ import annotations

import pytest
from reading import tables_of
from test_app import labelled, page, text_of

from guided_refine.explain.explainer import Explainer
from guided_refine.runfolder import RunFolder

PICKED = ["i3", "i11"]


def test_picked_items_give_the_models_list_and_say_that_scores_are_estimated(
    finished: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = page(finished.root, "recommendations", monkeypatch)
    app.segmented_control(key="for whom").set_value("Somebody new").run()
    assert not app.exception and not app.error
    assert "Pick items that somebody has watched" in text_of(app) and not tables_of(app)
    app.multiselect(key="picked").set_value(PICKED).run()
    assert not app.exception and not app.error
    explainer = Explainer.open(finished.root)
    k = explainer.config.explain.k
    names = dict(zip(explainer.dataset.item_ids, explainer.dataset.titles, strict=True))
    expected = explainer.model.recommend_for_history(PICKED, k=k)
    history, *_, refined, base = tables_of(app)
    assert history.iloc[:, 0].tolist() == [names[i] for i in reversed(PICKED)]
    assert refined["item"].tolist() == [names[i] for i in expected["item_id"]]
    assert len(base) == k
    assert "Estimated: the language model has not read this history" in text_of(app)
    assert "Estimated from the history" in text_of(app)

    name = explainer.scores.attributes[0]
    app.slider(key=f"taste {name}").set_value(0.97).run()
    labelled(app, "Not that one").select_index(2).run()
    assert not app.exception and not app.error
    assert "the bars sum to that" in text_of(app)


def test_taking_the_items_back_asks_again(finished: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    app = page(finished.root, "recommendations", monkeypatch)
    app.segmented_control(key="for whom").set_value("Somebody new").run()
    app.multiselect(key="picked").set_value(PICKED).run()
    app.multiselect(key="picked").set_value([]).run()
    assert not app.exception and not app.error and not tables_of(app)
    app.segmented_control(key="for whom").set_value("A user of the run").run()
    assert app.selectbox(key="user").value == "u0" and tables_of(app)


def test_in_a_large_catalog_and_among_many_users_one_searches(
    finished: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is small; what counts as large is made smaller still."""
    import sys

    app = page(finished.root, "recommendations", monkeypatch)
    monkeypatch.setattr(sys.modules["dashboard_people"], "LISTED", 10)
    app.run()
    app.text_input(key="user").set_value("u2x").run()
    assert not app.exception and not app.error
    assert "No user u2x in this run. Nearest ids: u2" in text_of(app)
    app.text_input(key="user").set_value("u11").run()
    assert not app.warning and tables_of(app)
    app.segmented_control(key="for whom").set_value("Somebody new").run()
    app.text_input(key="pick search").set_value("film 7").run()
    assert "i7" in str(app.multiselect(key="picked").options)
    app.multiselect(key="picked").set_value(["i7"]).run()
    app.text_input(key="pick search").set_value("film 9").run()
    assert app.multiselect(key="picked").value == ["i7"], (
        "what was picked stays while another item is searched for"
    )
    assert tables_of(app) and not app.exception


def test_ids_like_the_typed_one_are_found_among_many(
    finished: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    page(finished.root, "overview", monkeypatch)  # puts the app's folder on the path
    from dashboard_people import close_ids

    ordered = sorted(str(i) for i in range(100_000))
    assert close_ids("4711x", ordered)[0] == "4711"
    assert close_ids("", ordered) and close_ids("zzz", ordered)
    assert close_ids("a", []) == []
