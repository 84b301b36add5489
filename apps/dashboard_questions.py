"""Questions on the page of recommendations: why this and not that, and what if tastes or wishes were others."""

from typing import Any

import dashboard_charts as charts
import dashboard_ui as ui
import pandas as pd
import streamlit as st

from guided_refine.explain.explainer import Explainer
from guided_refine.explain.questions import Question, ask
from guided_refine.explain.what_if import WhatIf

STEP = 0.05


def titles_of(explainer: Explainer, rows: list[dict[str, Any]]) -> list[str]:
    """Ranked titles of recommended items."""
    return [f"{row['rank']}. {row['title'] or row['item_id']}" for row in rows]


@st.fragment
def why_not(explainer: Explainer, user: str, items: list[dict[str, Any]]) -> None:
    """The difference between two items of the list, part by part."""
    st.subheader("Why this and not that?")
    if len(items) < 2:
        st.caption("There is only one item to recommend.")
        return
    names = titles_of(explainer, items)
    left, right = st.columns(2)
    with left:
        one = st.selectbox("This item", range(len(items)), format_func=lambda i: names[i], key="this")
    with right:
        other = st.selectbox(
            "Not that one", range(len(items)), index=1, format_func=lambda i: names[i], key="that"
        )
    if one == other:
        st.caption("Choose two different items.")
        return
    question = Question(item=items[one]["item_id"], instead_of=items[other]["item_id"])
    margin = ask(explainer, user, question, len(items))["margin"]
    ahead = "ahead of" if margin["lead"] >= 0 else "behind"
    st.altair_chart(charts.parts({"parts": margin["parts"]}))
    st.markdown(
        ui.plain(
            f"{margin['item']['title'] or margin['item']['item_id']} is {abs(margin['lead']):.3f} {ahead} "
            f"{margin['instead_of']['title'] or margin['instead_of']['item_id']}; the bars sum to that."
        )
    )


@st.fragment
def what_if(explainer: Explainer, user: str, k: int, items: list[dict[str, Any]]) -> None:
    """Sliders for the user's scores and for wishes; the list follows at once."""
    st.subheader("What if?")
    number = explainer.user_number(user)
    now = WhatIf(explainer, number).scores_now()
    left, right = st.columns([2, 3])
    with left:
        kind = st.segmented_control(
            "Change", ["taste", "wishes"], default="taste", key=f"kind {user}", label_visibility="collapsed"
        )
        if kind == "wishes":
            st.caption(
                "Less or more of an attribute than this user would get; 1 weighs as much as all else together."
            )
            wishes = {
                name: st.slider(ui.readable(name), -1.0, 1.0, 0.0, STEP, key=f"wish {user} {name}")
                for name in explainer.scores.attributes
            }
            question = Question(wishes={name: value for name, value in wishes.items() if value})
        else:
            st.caption("The user's scores, had the language model read others from the history.")
            chosen = {
                name: st.slider(
                    ui.readable(name), 0.0, 1.0, round(value, 2), 0.01, key=f"taste {user} {name}"
                )
                for name, value in now.items()
            }
            moved = {name: value for name, value in chosen.items() if value != round(now[name], 2)}
            question = Question(scores=moved)
    with right:
        asked = bool(question.scores or question.wishes)
        found = items
        if asked:
            found = ask(explainer, user, question, k)["list"]["items"]
        rows = pd.DataFrame(
            {
                "rank": [item["rank"] for item in found],
                "item": [item["title"] or item["item_id"] for item in found],
                "before": [item.get("rank_now", item["rank"]) for item in found],
                "moved": [_moved(item.get("rank_now", item["rank"]) - item["rank"]) for item in found],
            }
        )
        st.dataframe(rows, hide_index=True, height=35 * (len(rows) + 1) + 3)
        if not asked:
            st.caption("Move a slider: this list is ranked anew at once.")
            return
        new = sum(item["rank_now"] > k for item in found)
        st.caption(
            f"{new} of {len(found)} were not in the list before. What the model read from the history itself stays."
        )


def _moved(places: int) -> str:
    if places == 0:
        return ""
    return f"{'▲' if places > 0 else '▼'} {abs(places)}"
