"""Why these items for this person: history, taste, recommendations taken apart, the base beside."""

from typing import Any

import dashboard_bars as bars
import dashboard_data as data
import dashboard_people as people
import dashboard_questions as questions
import dashboard_tables as tables
import dashboard_ui as ui
import numpy as np
import pandas as pd
import streamlit as st

from guided_refine.explain.encoder_answer import AT_MEAN, encoder_answer, how_made, strongest
from guided_refine.explain.explainer import Explainer
from guided_refine.explain.newcomer import Newcomer
from guided_refine.explain.text import explanation
from guided_refine.explain.words import COLLABORATIVE

DIRECT, ENCODER = "direct", "through the encoder"


@st.cache_data(show_spinner=False, max_entries=64)
def _answer(_person: people.Person, root: str, opened: str, who: str, k: int) -> dict[str, Any]:
    return explanation(_person.explainer, _person.user, k=k)


@st.cache_data(show_spinner="Running the model without its attributes…", max_entries=64)
def _encoded(_person: people.Person, root: str, opened: str, who: str, item: str) -> dict[str, Any]:
    explainer = _person.explainer
    return encoder_answer(explainer, explainer.user_number(_person.user), explainer.item_number(item))


@st.cache_data(show_spinner=False, max_entries=64)
def _base(
    _person: people.Person, _folder: ui.RunFolder, root: str, opened: str, who: str, k: int
) -> list[str] | None:
    """Item ids that the base of the same backbone recommends, None where it is not trained."""
    base, explainer = data.base_of(_folder), _person.explainer
    if base is None:
        return None
    if isinstance(explainer, Newcomer):
        found = base.recommend_for_history(explainer.item_ids, k=k)
    else:
        found = base.recommend([_person.user], k=k, dataset=explainer.dataset, part="test")
    return [str(item) for item in found["item_id"]]


@st.cache_data(show_spinner=False, max_entries=4)
def _bands(_explainer: Explainer, root: str, opened: str) -> np.ndarray:
    """10th, 50th and 90th percentile of every attribute over the catalog, shape (3, attributes)."""
    bands: np.ndarray = np.nanquantile(_explainer.scores.item_value, [0.1, 0.5, 0.9], axis=0)
    return bands


def history(answer: dict[str, Any]) -> None:
    """The last events, newest first."""
    st.subheader("History")
    rows = list(reversed(answer["history"]))
    if not rows:
        st.info(
            "The model may see no event of this user: the list is what it recommends to anybody.",
            icon=":material/history:",
        )
        return
    bars.draw(
        tables.table(pd.DataFrame({"newest first": [ui.title_of(row) for row in rows]}), text="newest first")
    )
    st.caption(f"The last {len(rows)} of {answer['events']} events that the model may see.")


def taste(answer: dict[str, Any], bands: np.ndarray) -> None:
    """The user's scores beside the catalog."""
    st.subheader("Taste profile")
    low, median, high = bands
    rows = pd.DataFrame(answer["profile"]).assign(low=low, median=median, high=high)
    with st.container(height=420 if len(rows) > 16 else "content", border=len(rows) > 16):
        bars.draw(bars.profile(rows, mine="user"))
    note = "Blue: this user; band: the middle 80 % of the catalog; tick: its median."
    if answer["profile_estimated"]:
        note += " Estimated from the history: the language model has not scored this user."
    st.caption(note)


def recommendations(person: people.Person, answer: dict[str, Any]) -> None:
    """All recommended items as bars, and one of them in full."""
    items = answer["recommendations"]
    st.subheader("Recommendations and what they are made of")
    if not items:
        st.info("This user has seen the whole catalog.", icon=":material/done_all:")
        return
    bars.draw(bars.stacked(items))
    st.caption(
        "Direct view: the parts of a bar sum to the item's score (tick), exactly; point at one to read it."
    )
    one_item(person, items, bool(answer["events"]))


@st.fragment
def one_item(person: people.Person, items: list[dict[str, Any]], history: bool) -> None:
    """One item in either view; without a history nothing went through the encoder."""
    with ui.in_words():
        names = [f"{item['rank']}. {ui.title_of(item)}" for item in items]
        places = range(len(items))
        left, right = st.columns([3, 2])
        with left:
            key = ui.keep("item in full", (person.key, names), 0)
            place = st.selectbox("One item in full", places, format_func=lambda i: names[i], key=key)
        with right:
            view = st.segmented_control(
                "View",
                [DIRECT, ENCODER] if history else [DIRECT],
                key=ui.keep("item view", person.key, DIRECT),
                help="Direct: which columns make up the score? Through the encoder: what did attributes and past events do "
                "to it, wherever they went in? The model runs again some thousand times, which takes seconds.",
            )
        if view == ENCODER:
            _through_encoder(person, items[place]["item_id"])
        else:
            _direct(items[place])


def _direct(item: dict[str, Any]) -> None:
    """The waterfall of an item, and all of its parts as a table."""
    bars.draw(bars.waterfall(item["parts"], item["score"], total="score"))
    st.markdown(ui.plain(item["reason"]))
    rows = pd.DataFrame(
        {
            "part": [part["label"] for part in item["parts"]],
            "value": [part["value"] for part in item["parts"]],
            "above the average item": [part["lift"] for part in item["parts"]],
            "the item's score": [part.get("item_score") for part in item["parts"]],
        }
    )
    formats = {"value": "+.3f", "above the average item": "+.3f"}
    bars.draw(tables.folded("All parts as a table", tables.table(rows, text="part", formats=formats)))


def _through_encoder(person: people.Person, item: str) -> None:
    """What attributes did to an item's score on their way through the model, and what each past event did."""
    folder = data.run_folder()
    answer = _encoded(person, str(folder.root), data.explainer_key(folder), person.key, item)
    start = {"name": COLLABORATIVE, "label": AT_MEAN, "value": answer["background"]}
    bars.draw(bars.waterfall([start, *answer["attributes"]], answer["score"], total="score"))
    for sentence in answer["sentences"]:
        st.markdown(ui.plain(sentence))
    st.caption(ui.plain(how_made(answer)))
    shown = strongest(answer["events"])
    st.markdown(f"**Past events: the {len(shown)} of {len(answer['events'])} that do most**")
    bars.draw(bars.signed([(ui.title_of(event), event["value"]) for event in shown]))
    st.caption("The item's score less what it would be without that event.")


def beside_base(answer: dict[str, Any], base: list[str] | None, names: dict[str, str]) -> None:
    """Two lists side by side: refined and base."""
    st.subheader("Beside the base model")
    upcoming = answer["next"]
    refined = [item["item_id"] for item in answer["recommendations"]]
    left, right = st.columns(2)
    with left:
        st.markdown("**Refined**")
        ui.ranked_list(refined, base or [], names, upcoming)
    with right:
        st.markdown("**Base**")
        if base is None:
            st.caption("The base of this backbone is not trained yet.")
        else:
            ui.ranked_list(base, refined, names, upcoming)
    if upcoming is not None:
        st.caption(
            ui.plain(
                f"What the user really took next: {ui.title_of(upcoming)}, "
                f"ranked {upcoming['rank']} of {answer['candidates']} by the refined model."
            )
        )


def main() -> None:
    """The page."""
    folder = data.run_folder()
    st.title("Why these items?")
    if not data.has_refined(folder):
        ui.nothing_yet("No refined model is trained yet.", folder)
        return
    explainer = data.explainer_of(folder)
    left, right = st.columns([3, 1])
    with left:
        person = people.choose(folder)
    with right:
        k = st.slider("Items", 3, 20, min(max(explainer.config.explain.k, 3), 20))
    if person is None:
        return
    opened = data.explainer_key(folder)
    answer = _answer(person, str(folder.root), opened, person.key, k)
    model = answer["model"]
    st.caption(
        f"Ranked by {ui.readable(model['backbone'])} with the attributes built in; attributes scored by "
        f"{ui.plain(model['scorer'])} ({model['source']})."
    )
    left, right = st.columns([2, 3])
    with left:
        history(answer)
    with right:
        taste(answer, _bands(explainer, str(folder.root), opened))
    recommendations(person, answer)
    catalog = data.catalog_of(folder)
    assert catalog is not None, "a refined model has a catalog"
    questions.why_not(person, answer["recommendations"], catalog)
    questions.what_if(person, k, answer["recommendations"], catalog)
    if answer["events"]:
        base = _base(person, folder, str(folder.root), data.shared_key(folder), person.key, k)
        beside_base(answer, base, catalog.names)


main()
