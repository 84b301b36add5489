"""Why these items for this person: history, taste, recommendations taken apart, the base beside."""

from typing import Any

import dashboard_answers as answers
import dashboard_bars as bars
import dashboard_blocks as blocks
import dashboard_data as data
import dashboard_people as people
import dashboard_questions as questions
import dashboard_tables as tables
import dashboard_ui as ui
import numpy as np
import pandas as pd
import streamlit as st

from guided_refine.explain.encoder_answer import AT_MEAN, how_made, strongest
from guided_refine.explain.words import COLLABORATIVE

DIRECT, ENCODER = "direct", "through the encoder"
MANY = 16  # more attributes than these stand in a box that scrolls


def history(answer: dict[str, Any]) -> str:
    """The last events, newest first."""
    head, rows = blocks.heading("History"), list(reversed(answer["history"]))
    if not rows:
        return head + blocks.says(
            "The model may see no event of this user: the list is what it recommends to anybody."
        )
    titles = pd.DataFrame({"newest first": [ui.title_of(row) for row in rows]})
    told = f"The last {len(rows)} of {answer['events']} events that the model may see."
    return head + tables.table(titles, text="newest first") + blocks.note(told)


def taste(answer: dict[str, Any], bands: np.ndarray) -> str:
    """The user's scores beside the catalog."""
    low, median, high = bands
    rows = pd.DataFrame(answer["profile"]).assign(low=low, median=median, high=high)
    chart = bars.profile(rows, mine="user")
    told = "Blue: this user; band: the middle 80 % of the catalog; tick: its median."
    if answer["profile_estimated"]:
        told += " Estimated from the history: the language model has not scored this user."
    shown = blocks.boxed(chart) if len(rows) > MANY else chart
    return blocks.heading("Taste profile") + shown + blocks.note(told)


def recommendations(items: list[dict[str, Any]]) -> str:
    """All recommended items as bars."""
    head = blocks.heading("Recommendations and what they are made of")
    if not items:
        return head + blocks.says("This user has seen the whole catalog.")
    told = "Direct view: the parts of a bar sum to the item's score (tick), exactly; point at one to read it."
    return head + bars.stacked(items) + blocks.note(told)


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
    rows = pd.DataFrame(
        {
            "part": [part["label"] for part in item["parts"]],
            "value": [part["value"] for part in item["parts"]],
            "above the average item": [part["lift"] for part in item["parts"]],
            "the item's score": [part.get("item_score") for part in item["parts"]],
        }
    )
    formats = {"value": "+.3f", "above the average item": "+.3f"}
    blocks.draw(
        bars.waterfall(item["parts"], item["score"], total="score"),
        blocks.says(item["reason"]),
        tables.folded("All parts as a table", tables.table(rows, text="part", formats=formats)),
    )


def _through_encoder(person: people.Person, item: str) -> None:
    """What attributes did to an item's score on their way through the model, and what each past event did."""
    answer = answers.encoded_of(data.run_folder(), person, item)
    start = {"name": COLLABORATIVE, "label": AT_MEAN, "value": answer["background"]}
    shown = strongest(answer["events"])
    blocks.draw(
        bars.waterfall([start, *answer["attributes"]], answer["score"], total="score"),
        *(blocks.says(sentence) for sentence in answer["sentences"]),
        blocks.note(how_made(answer)),
        blocks.strong(f"Past events: the {len(shown)} of {len(answer['events'])} that do most"),
        bars.signed([(ui.title_of(event), event["value"]) for event in shown]),
        blocks.note("The item's score less what it would be without that event."),
    )


def beside_base(answer: dict[str, Any], base: list[str] | None, names: dict[str, str]) -> None:
    """Two lists side by side: refined and base."""
    upcoming = answer["next"]
    refined = [item["item_id"] for item in answer["recommendations"]]
    other = (
        blocks.note("The base of this backbone is not trained yet.")
        if base is None
        else ui.ranked_list(base, refined, names, upcoming)
    )
    told = (
        ""
        if upcoming is None
        else blocks.note(
            f"What the user really took next: {ui.title_of(upcoming)}, "
            f"ranked {upcoming['rank']} of {answer['candidates']} by the refined model."
        )
    )
    blocks.draw(
        blocks.heading("Beside the base model"),
        blocks.beside(
            blocks.strong("Refined") + ui.ranked_list(refined, base or [], names, upcoming),
            blocks.strong("Base") + other,
        ),
        told,
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
        k = st.slider("Items", 3, answers.LONGEST, answers.usual_length(explainer))
    if person is None:
        return
    answer = answers.answer_of(folder, person, k)
    model, items = answer["model"], answer["recommendations"]
    blocks.draw(
        blocks.note(
            f"Ranked by {ui.readable(model['backbone'])} with the attributes built in; attributes scored by "
            f"{model['scorer']} ({model['source']})."
        ),
        blocks.beside(history(answer), taste(answer, answers.bands_of(folder)), shares=(2, 3)),
        recommendations(items),
    )
    if items:
        one_item(person, items, bool(answer["events"]))
    catalog = data.catalog_of(folder)
    assert catalog is not None, "a refined model has a catalog"
    questions.why_not(person, items, catalog)
    questions.what_if(person, k, items, catalog)
    if answer["events"]:
        beside_base(answer, answers.base_list_of(folder, person, k), catalog.names)


main()
