"""The dashboard's pages, run by Streamlit's own test runner on a real tiny run."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from reading import parts_of, tables_of, words_of
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Selectbox
from tiny_run import EVIL, make_run

from guided_refine.files import read_json
from guided_refine.resources import resource_folder
from guided_refine.runfolder import RunFolder

PAGES = ("overview", "recommendations", "items", "attributes", "compare", "cases")
ALONE = tuple(name for name in PAGES if name != "compare")
"""Pages that need no second run."""


def page(run: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """The app on `run`, gone to one page."""
    monkeypatch.setattr("sys.argv", ["app.py", str(run)])
    app = AppTest.from_file(str(resource_folder("apps") / "app.py"), default_timeout=120).run()
    if name != "overview":
        app.switch_page(f"views/{name}.py").run()
    return app


def labelled(app: AppTest, label: str) -> Selectbox:
    """The one select box under this label."""
    return next(box for box in app.selectbox if box.label == label)


def text_of(app: AppTest) -> str:
    """All words on the page, Markdown escapes taken away."""
    words = [*app.title, *app.subheader, *app.caption, *app.markdown, *app.code]
    blocks = [*words, *app.info, *app.warning, *app.error]
    told = re.sub(r"\\([^\w\s])", r"\1", "\n".join(str(b.value) for b in blocks))
    return "\n".join([told, *words_of(app)])


@pytest.mark.parametrize("name", ALONE)
def test_every_page_of_a_finished_run_draws(
    finished: RunFolder, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = page(finished.root, name, monkeypatch)
    assert not app.exception
    assert not app.error
    assert not app.info, "nothing is missing in a finished run"
    assert parts_of(app) or app.dataframe or app.get("iframe")


@pytest.mark.parametrize("name", ALONE)
def test_every_page_of_a_pipeline_run_draws(
    small_run: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = page(small_run, name, monkeypatch)
    assert not app.exception
    assert not app.error
    assert not app.info


@pytest.mark.parametrize(
    ("until", "whole"),
    [
        ("data", set()),
        ("scores", {"attributes"}),
        ("base", {"attributes"}),
        ("refined", {"items", "attributes", "recommendations", "cases"}),
    ],
)
def test_a_run_in_progress_says_what_is_missing(
    tmp_path: Path, until: str, whole: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(tmp_path / "run", tmp_path / "source", until=until)
    for name in PAGES:
        app = page(folder.root, name, monkeypatch)
        assert not app.exception, name
        assert not app.error, name
        assert ("guided-refine run CONFIG --out" in text_of(app)) == (name not in whole), name
        assert any("last stage done" in str(c.value) for c in app.sidebar.caption), name


def test_overview_shows_the_rows_of_the_run(finished: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    app = page(finished.root, "overview", monkeypatch)
    table = tables_of(app)[0].set_index("model")
    for row in read_json(finished.metrics):
        label = f"SASRec, {row['variant']}"
        assert table.loc[label, "NDCG@10"] == f"{row['ndcg@10']:.4f}"
    assert app.metric[0].label == "SASRec refined, NDCG@10"
    refined = next(r for r in read_json(finished.metrics) if r["variant"] == "refined")
    app.selectbox[0].select("mrr").run()
    assert app.metric[0].value == f"{refined['mrr']:.4f}"


def test_recommendations_follow_the_user_and_the_number_of_items(
    finished: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from guided_refine.explain.text import explain_user

    app = page(finished.root, "recommendations", monkeypatch)
    app.selectbox(key="user").select("u7").run()
    app.slider[0].set_value(3).run()
    answer = explain_user(finished.root, "u7", k=3)
    history, *_, refined, base = tables_of(app)
    assert history.iloc[:, 0].tolist() == [h["title"] for h in reversed(answer["history"])]
    assert refined["item"].tolist() == [r["title"] for r in answer["recommendations"]]
    assert len(base) == 3
    assert not app.exception


def test_items_are_found_and_strange_titles_are_text(
    finished: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = page(finished.root, "items", monkeypatch)
    app.text_input[0].set_value("script bold").run()
    assert not app.exception
    assert app.selectbox[0].options == [f"{EVIL}  (i3)"]
    heading = app.subheader[0].value
    assert EVIL in text_of(app)
    assert not re.search(r"(?<!\\)[<*$`\[]", heading), "a title must not format, link or run"
    app.text_input[0].set_value("no such film").run()
    assert "No item holds all of these words" in text_of(app)


def test_attributes_hold_the_truth_where_the_run_has_it(
    finished: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = page(finished.root, "attributes", monkeypatch)
    assert "Agreement with the known truth" in text_of(app)
    rows = {r["source"]: r for r in read_json(finished.truth)["rows"] if r["attribute"] == "mean of all"}
    assert [m.value for m in app.metric] == [f"{rows[s]['spearman']:.3f}" for s in ("untuned", "tuned")]


def test_a_damaged_file_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_run(tmp_path / "run", tmp_path / "source", until="scores")
    folder.score_table.write_bytes(folder.score_table.read_bytes()[:100])
    app = page(folder.root, "attributes", monkeypatch)
    assert not app.exception
    assert len(app.error) == 1
    assert "scores.parquet is not a readable Parquet file" in text_of(app)


def test_a_folder_that_is_no_run_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = page(tmp_path, "overview", monkeypatch)
    assert not app.exception
    assert "is not a run folder" in text_of(app)


def test_the_app_never_reaches_for_a_language_model() -> None:
    """Pages import public modules only, none of which loads a language model."""
    files = sorted(resource_folder("apps").rglob("*.py"))
    assert len(files) >= 6
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = (
                [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else [a.name for a in node.names]
                if isinstance(node, ast.Import)
                else []
            )
            for name in names:
                assert not name.startswith(("transformers", "peft", "torch", "guided_refine.tuning")), file
                assert "language_model" not in name, file
                assert not any(part.startswith("_") for part in name.split(".") if part != "__future__"), file


def test_no_page_prints_what_is_meant_for_readers_of_its_source() -> None:
    """Streamlit writes a bare text at the top level of a page onto the page."""
    for file in sorted((resource_folder("apps") / "views").glob("*.py")):
        body = ast.parse(file.read_text(encoding="utf-8")).body[1:]
        bare = [node for node in body if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)]
        assert not bare, f"{file.name}, line {bare[0].lineno}"


def test_a_moved_slider_ranks_anew(finished: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    from guided_refine.explain.explainer import Explainer
    from guided_refine.explain.questions import Question, ask

    app = page(finished.root, "recommendations", monkeypatch)
    explainer = Explainer.open(finished.root)
    user, name = explainer.dataset.user_ids[0], explainer.scores.attributes[2]
    tables = len(tables_of(app))
    app.slider(key=f"taste {name}").set_value(0.95).run()
    assert not app.exception and len(tables_of(app)) == tables
    expected = ask(explainer, user, Question(scores={name: 0.95}), explainer.config.explain.k)["list"][
        "items"
    ]
    shown = next(rows for rows in tables_of(app) if "before" in rows)
    assert shown["item"].tolist() == [item["title"] or item["item_id"] for item in expected]
    assert shown["before"].tolist() == [item["rank_now"] for item in expected]


def test_somebody_else_gets_the_sliders_anew(finished: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    from guided_refine.explain.explainer import Explainer
    from guided_refine.explain.what_if import WhatIf

    explainer = Explainer.open(finished.root)
    name = explainer.scores.attributes[2]
    app = page(finished.root, "recommendations", monkeypatch)
    app.slider(key=f"taste {name}").set_value(0.95).run()
    assert "were not in the list before" in text_of(app)
    app.selectbox(key="user").select("u7").run()
    assert not app.exception and not app.error and not app.warning
    theirs = WhatIf(explainer, explainer.user_number("u7")).scores_now()
    for one, score in theirs.items():
        assert app.slider(key=f"taste {one}").value == pytest.approx(score, abs=0.006)
    assert "Move a slider" in text_of(app)
    app.slider(key=f"taste {name}").set_value(0.9).run()
    app.segmented_control(key="kind").set_value("wishes").run()
    assert all(slider.value == 0 for slider in app.slider if str(slider.key).startswith("wish "))
    app.segmented_control(key="kind").set_value("taste").run()
    assert "Move a slider" in text_of(app) and not app.exception


def test_an_item_with_another_score_moves(finished: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    from guided_refine.explain.explainer import Explainer
    from guided_refine.explain.questions import Question, ask

    app = page(finished.root, "recommendations", monkeypatch)
    explainer = Explainer.open(finished.root)
    user, name = explainer.dataset.user_ids[0], explainer.scores.attributes[2]
    item = explainer.dataset.item_ids[explainer.contributions(0).top(1, explainer.seen(0))[0] - 1]
    app.segmented_control(key="kind").set_value("an item").run()
    app.slider(key=f"item {name}").set_value(0.05).run()
    assert not app.exception and not app.error
    question = Question(item=str(item), item_scores={name: 0.05})
    expected = ask(explainer, user, question, explainer.config.explain.k)["list"]
    frame = next(rows for rows in tables_of(app) if "before" in rows)
    assert frame["item"].tolist() == [row["title"] for row in expected["items"]]
    assert f"would go from rank 1 to {expected['item']['rank']}" in text_of(app)
    app.button(key="reset").click().run()
    assert "Move a slider" in text_of(app) and not app.exception


def test_an_item_is_shown_through_the_encoder_when_asked(
    finished: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from guided_refine.explain.encoder_answer import encoder_answer
    from guided_refine.explain.explainer import Explainer

    app = page(finished.root, "recommendations", monkeypatch)
    assert "Direct view" in text_of(app)
    explainer = Explainer.open(finished.root)
    item = int(explainer.contributions(0).top(1, explainer.seen(0))[0])
    app.segmented_control(key="item view").set_value("through the encoder").run()
    assert not app.exception and not app.error
    for sentence in encoder_answer(explainer, 0, item)["sentences"]:
        assert sentence in text_of(app)


def test_choices_start_again_for_somebody_else(finished: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    app = page(finished.root, "recommendations", monkeypatch)
    boxes = ("One item in full", "This item", "Not that one")
    for place, name in enumerate(boxes, start=2):
        labelled(app, name).select_index(place).run()
    app.text_input(key="search Not that one").set_value("the").run()
    app.segmented_control(key="kind").set_value("wishes").run()
    before = [labelled(app, name).proto.id for name in boxes]
    app.selectbox(key="user").select("u7").run()
    assert not app.exception and not app.error
    for name, place in zip(boxes, (0, 0, 1), strict=True):
        box = labelled(app, name)
        assert box.index == place and box.options[place].startswith(f"{place + 1}. "), name
    assert app.text_input(key="search Not that one").value == ""
    assert app.segmented_control(key="kind").value == "taste"
    # The same widgets: a browser need not put up new ones.
    assert [labelled(app, name).proto.id for name in boxes] == before


def test_two_items_are_held_against_each_other(finished: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    app = page(finished.root, "recommendations", monkeypatch)
    box = labelled(app, "Not that one")
    box.select_index(3).run()
    assert not app.exception and "the bars sum to that" in text_of(app)
    labelled(app, "Not that one").select_index(0).run()
    assert "Choose two different items" in text_of(app)


def test_any_item_of_the_catalog_can_be_asked_about(
    finished: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from guided_refine.explain.explainer import Explainer
    from guided_refine.explain.questions import Question, ask

    explainer = Explainer.open(finished.root)
    ids, user = [str(i) for i in explainer.dataset.item_ids], explainer.dataset.user_ids[0]
    seen, now = explainer.seen(0), explainer.contributions(0)
    first, *_, last = (ids[i - 1] for i in now.top(len(ids), seen))
    app = page(finished.root, "recommendations", monkeypatch)
    for search, kind in (("search Not that one", None), ("search Item", "an item")):
        if kind:
            app.segmented_control(key="kind").set_value(kind).run()
        app.text_input(key=search).set_value(last).run()
        assert not app.exception and not app.error
    margin = ask(explainer, user, Question(item=first, instead_of=last), 10)["margin"]
    rank = margin["instead_of"]["rank"]
    assert f"is {margin['lead']:.3f} ahead of" in text_of(app) and f"which has rank {rank}," in text_of(app)
    name = explainer.scores.attributes[0]
    said = explainer.item_score(explainer.item_number(last), name)
    assert app.slider(key=f"item {name}").value == pytest.approx(said, abs=0.006)
    has = ids[int(seen[0]) - 1]
    app.text_input(key="search Not that one").set_value(has).run()
    labelled(app, "Not that one").select(has).run()
    assert "which this user has already" in text_of(app)
    app.text_input(key="search Not that one").set_value("no such film").run()
    assert not app.exception and not app.error and "Choose two different items" in text_of(app)


def test_the_trial_of_explanations_is_shown_where_there_is_one(
    finished: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    from guided_refine.explain.trial_report import explain_run, findings, verdict

    run = tmp_path / "run"
    shutil.copytree(finished.root, run)
    app = page(run, "attributes", monkeypatch)
    assert "Not tried yet" in text_of(app) and f"guided-refine explain {run}" in text_of(app)
    case = page(run, "cases", monkeypatch)
    assert "was tried on 0 of 30 users" in case.get("iframe")[0].proto.srcdoc
    found = explain_run(run, users=3)
    case.run()
    assert "(3 of 30 users)" in case.get("iframe")[0].proto.srcdoc, (
        "what was written meanwhile is in the case"
    )
    app = page(run, "attributes", monkeypatch)
    before = charts_of(app)
    assert verdict(found) in text_of(app) and not app.exception
    assert not app.get("imgs"), "a picture would stay white on a dark page"
    for detail in ("User by user", "Groups", "Pairs", "Asked for more", "On average"):
        app.segmented_control(key="trial detail").set_value(detail).run()
        assert not app.exception and not app.error, detail
        assert charts_of(app) == before, detail
    assert all(sentence in text_of(app) for sentence in findings(found))


def charts_of(app: AppTest) -> int:
    """How many charts are on the page."""
    return len([body for body in parts_of(app) if body.startswith('<div class="gr')])
