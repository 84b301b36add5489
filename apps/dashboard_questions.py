"""Questions on the page of recommendations: why this and not that, and what if tastes or wishes were others."""

from typing import Any

import dashboard_bars as bars
import dashboard_ui as ui
import pandas as pd
import streamlit as st
from dashboard_people import Person

from guided_refine.explain.explainer import Explainer
from guided_refine.explain.questions import Question, ask
from guided_refine.explain.what_if import WhatIf

STEP = 0.05
Asked = tuple[Question, dict[str, float]]
"""A question, and the sliders it was made with: their keys and what they start from."""
MANY = 12
"""More sliders than these stand in a box of their own that scrolls."""


@st.fragment
def why_not(person: Person, items: list[dict[str, Any]]) -> None:
    """The difference between two items of the list, part by part."""
    with ui.in_words():
        _why_not(person, items)


def _why_not(person: Person, items: list[dict[str, Any]]) -> None:
    st.subheader("Why this and not that?")
    if len(items) < 2:
        st.caption("There are not two items to hold against each other.")
        return
    names = [f"{row['rank']}. {ui.title_of(row)}" for row in items]
    places = range(len(items))
    left, right = st.columns(2)
    with left:
        one = st.selectbox("This item", places, format_func=lambda i: names[i], key=f"this {person.key}")
    with right:
        other = st.selectbox(
            "Not that one", places, index=1, format_func=lambda i: names[i], key=f"that {person.key}"
        )
    if one == other:
        st.caption("Choose two different items.")
        return
    question = Question(item=items[one]["item_id"], instead_of=items[other]["item_id"])
    margin = ask(person.explainer, person.user, question, len(items))["margin"]
    ahead = "ahead of" if margin["lead"] >= 0 else "behind"
    bars.draw(bars.waterfall(margin["parts"], margin["lead"], total="difference"))
    st.markdown(
        ui.plain(
            f"{ui.title_of(margin['item'])} is {abs(margin['lead']):.3f} {ahead} "
            f"{ui.title_of(margin['instead_of'])} (direct view); the bars sum to that."
        )
    )


@st.fragment
def what_if(person: Person, k: int, items: list[dict[str, Any]]) -> None:
    """Sliders for the user's scores and for wishes; the list follows at once."""
    with ui.in_words():
        _what_if(person, k, items)


def _what_if(person: Person, k: int, items: list[dict[str, Any]]) -> None:
    st.subheader("What if?")
    explainer = person.explainer
    now = WhatIf(explainer, explainer.user_number(person.user)).scores_now()
    left, right = st.columns([2, 3])
    with left:
        kind = st.segmented_control(
            "Change",
            ["taste", "wishes", "an item"],
            default="taste",
            key=f"kind {person.key}",
            label_visibility="collapsed",
        )
        with st.container(height=560 if len(now) > MANY else "content", border=len(now) > MANY):
            if kind == "an item":
                question, start = _other_item(explainer, person, items)
            elif kind == "wishes":
                question, start = _wished(explainer, person)
            else:
                question, start = _other_taste(now, person)
        asked = question.other_list
        st.button(
            "Back to where they were",
            icon=":material/undo:",
            key=f"reset {person.key}",
            disabled=not asked,
            on_click=_reset,
            args=(start,),
        )
    with right:
        answer = ask(explainer, person.user, question, k)["list"] if asked else {"items": items}
        found = answer["items"]
        rows = pd.DataFrame(
            {
                "rank": [item["rank"] for item in found],
                "item": [ui.title_of(item) for item in found],
                "before": [item.get("rank_now", item["rank"]) for item in found],
                "moved": [_moved(item.get("rank_now", item["rank"]) - item["rank"]) for item in found],
            }
        )
        st.dataframe(
            rows,
            hide_index=True,
            height=ui.table_height(len(rows)),
            column_config=ui.narrow("rank", "before", "moved"),
        )
        if not asked:
            st.caption("Move a slider: this list is ranked anew at once.")
            return
        new = sum(item["rank_now"] > k for item in found)
        st.caption(
            f"{new} of {len(found)} were not in the list before. What the model read from the history itself stays."
        )
        if answer["item"] is not None:
            moved = answer["item"]
            st.markdown(
                ui.plain(f"{ui.title_of(moved)} would go from rank {moved['rank_now']} to {moved['rank']}.")
            )


def _wished(explainer: Explainer, person: Person) -> Asked:
    st.caption(
        "Less or more of an attribute than this user would get; 1 weighs as much as all else together."
    )
    start = dict.fromkeys(explainer.scores.attributes, 0.0)
    wishes, keys = _sliders(f"wish {person.key}", start, -1.0, STEP)
    return Question(wishes=wishes), keys


def _other_taste(now: dict[str, float], person: Person) -> Asked:
    st.caption(
        "The estimated scores, had the language model read others from this history."
        if person.new
        else "The user's scores, had the language model read others from the history."
    )
    scores, keys = _sliders(f"taste {person.key}", now)
    return Question(scores=scores), keys


def _other_item(explainer: Explainer, person: Person, items: list[dict[str, Any]]) -> Asked:
    if not items:
        st.caption("There is no item in the list.")
        return Question(), {}
    names = [f"{row['rank']}. {ui.title_of(row)}" for row in items]
    place = st.selectbox(
        "Item", range(len(items)), format_func=lambda i: names[i], key=f"other item {person.key}"
    )
    item = items[place]["item_id"]
    number = explainer.item_number(item)
    said = {name: explainer.item_score(number, name) for name in explainer.scores.attributes}
    st.caption(
        "The item's scores, had the language model read others from its text."
        if any(value is not None for value in said.values())
        else "The language model has not scored this item: it has no text."
    )
    now = {name: value for name, value in said.items() if value is not None}
    scores, keys = _sliders(f"item {person.key} {item}", now)
    return Question(item=item, item_scores=scores), keys


def _sliders(
    key: str, start: dict[str, float], low: float = 0.0, step: float = 0.01
) -> tuple[dict[str, float], dict[str, float]]:
    """A slider per attribute; what was moved, and every slider's key with the value it starts from."""
    start = {name: round(value, 2) for name, value in start.items()}
    chosen = {
        name: st.slider(ui.readable(name), low, 1.0, value, step, key=f"{key} {name}")
        for name, value in start.items()
    }
    moved = {name: value for name, value in chosen.items() if value != start[name]}
    return moved, {f"{key} {name}": value for name, value in start.items()}


def _reset(start: dict[str, float]) -> None:
    for key, value in start.items():
        st.session_state[key] = value


def _moved(places: int) -> str:
    if places == 0:
        return ""
    return f"{'▲' if places > 0 else '▼'} {abs(places)}"
