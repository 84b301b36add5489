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
            f"{ui.title_of(margin['instead_of'])}; the bars sum to that."
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
            ["taste", "wishes"],
            default="taste",
            key=f"kind {person.key}",
            label_visibility="collapsed",
        )
        with st.container(height=560 if len(now) > MANY else "content", border=len(now) > MANY):
            question = _wished(explainer, person) if kind == "wishes" else _other_taste(now, person)
        asked = bool(question.scores or question.wishes)
        st.button(
            "Back to where they were",
            icon=":material/undo:",
            key=f"reset {person.key}",
            disabled=not asked,
            on_click=_reset,
            args=(person, now),
        )
    with right:
        found = ask(explainer, person.user, question, k)["list"]["items"] if asked else items
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


def _wished(explainer: Explainer, person: Person) -> Question:
    st.caption(
        "Less or more of an attribute than this user would get; 1 weighs as much as all else together."
    )
    wishes = {
        name: st.slider(ui.readable(name), -1.0, 1.0, 0.0, STEP, key=f"wish {person.key} {name}")
        for name in explainer.scores.attributes
    }
    return Question(wishes={name: value for name, value in wishes.items() if value})


def _other_taste(now: dict[str, float], person: Person) -> Question:
    st.caption(
        "The estimated scores, had the language model read others from this history."
        if person.new
        else "The user's scores, had the language model read others from the history."
    )
    chosen = {
        name: st.slider(ui.readable(name), 0.0, 1.0, round(value, 2), 0.01, key=f"taste {person.key} {name}")
        for name, value in now.items()
    }
    return Question(scores={name: value for name, value in chosen.items() if value != round(now[name], 2)})


def _reset(person: Person, now: dict[str, float]) -> None:
    for name, value in now.items():
        if f"taste {person.key} {name}" in st.session_state:
            st.session_state[f"taste {person.key} {name}"] = round(value, 2)
        if f"wish {person.key} {name}" in st.session_state:
            st.session_state[f"wish {person.key} {name}"] = 0.0


def _moved(places: int) -> str:
    if places == 0:
        return ""
    return f"{'▲' if places > 0 else '▼'} {abs(places)}"
