"""Questions on the page of recommendations: why this and not that, and what if tastes or wishes were others."""

from typing import Any

import dashboard_bars as bars
import dashboard_blocks as blocks
import dashboard_tables as tables
import dashboard_ui as ui
import pandas as pd
import streamlit as st
from dashboard_data import Catalog
from dashboard_people import FOUND, Person

from guided_refine.explain.cases.counterfactual import smallest_change
from guided_refine.explain.explainer import Explainer
from guided_refine.explain.questions import Question, ask
from guided_refine.explain.what_if import WhatIf

STEP = 0.05
Asked = tuple[Question, dict[str, float]]
"""A question, and the sliders it was made with: their keys and what they start from."""
INVITING = "Move a slider: this list is ranked anew at once."
MANY = 12
"""More sliders than these stand in a box of their own that scrolls."""


def _pick(
    label: str, person: Person, items: list[dict[str, Any]], catalog: Catalog, *, first: int
) -> str | None:
    """The id of an item of the list, at first the one in place `first`, or of any that is searched for."""
    search = ui.keep(f"search {label}", person.key, "")
    words = st.session_state[search].strip()
    options = catalog.search(words)[:FOUND] if words else [row["item_id"] for row in items]
    named = (
        catalog.names if words else {row["item_id"]: f"{row['rank']}. {ui.title_of(row)}" for row in items}
    )
    start = options[min(first, len(options) - 1) if not words else 0] if options else None
    picked = st.selectbox(
        label,
        options,
        format_func=lambda item: named.get(item, item),
        key=ui.keep(label, (person.key, words, options), start),
        placeholder="no item holds all of these words",
    )
    st.text_input(
        "or any other item of the catalog",
        placeholder="words of a title or description",
        icon=":material/search:",
        key=search,
    )
    return picked


@st.fragment
def why_not(person: Person, items: list[dict[str, Any]], catalog: Catalog) -> None:
    """The difference between an item of the list and another one of the list or the catalog, part by part."""
    with ui.in_words():
        _why_not(person, items, catalog)


def _why_not(person: Person, items: list[dict[str, Any]], catalog: Catalog) -> None:
    blocks.draw(
        blocks.heading("Why this and not that?"),
        "" if items else blocks.note("There is no item to ask about."),
    )
    if not items:
        return
    names = [f"{row['rank']}. {ui.title_of(row)}" for row in items]
    places = range(len(items))
    left, right = st.columns(2)
    with left:
        key = ui.keep("this", (person.key, names), 0)
        place = st.selectbox("This item", places, format_func=lambda i: names[i], key=key)
    with right:
        other = _pick("Not that one", person, items, catalog, first=1)
    one = items[place]["item_id"]
    if other is None or one == other:
        st.caption("Choose two different items.")
        return
    answer = ask(person.explainer, person.user, Question(item=one, instead_of=other), len(items))
    margin = answer["margin"]
    ahead = "ahead of" if margin["lead"] >= 0 else "behind"
    behind = ui.title_of(margin["instead_of"]) + _place(person, margin["instead_of"], items)
    blocks.draw(
        bars.waterfall(margin["parts"], margin["lead"], total="difference"),
        blocks.says(
            f"{ui.title_of(margin['item'])} is {abs(margin['lead']):.3f} {ahead} "
            f"{behind} (direct view); the bars sum to that."
        ),
    )
    if person.explainer.reads_users and st.toggle(
        "What would take this one out, or bring that one in?", key="smallest changes"
    ):
        told = (_smallest(person, margin[name], len(items)) for name in ("item", "instead_of"))
        blocks.draw(
            *(blocks.says(sentence) for sentence in told if sentence),
            blocks.note("The smallest change of this user's scores that does it, if there is one."),
        )


def _smallest(person: Person, item: dict[str, Any], k: int) -> str:
    """The smallest change that moves an item over the end of the list, in words; nothing for what the user has already."""
    explainer = person.explainer
    user, number = explainer.user_number(person.user), explainer.item_number(item["item_id"])
    if number in explainer.seen(user):
        return ""
    sentence: str = smallest_change(WhatIf(explainer, user), number, item["rank"], k)["sentence"]
    return sentence


def _place(person: Person, item: dict[str, Any], items: list[dict[str, Any]]) -> str:
    """Where an item stands that is not in the list."""
    if any(row["item_id"] == item["item_id"] for row in items):
        return ""
    explainer = person.explainer
    if explainer.item_number(item["item_id"]) in explainer.seen(explainer.user_number(person.user)):
        return f", which this user has already (it would have rank {item['rank']:,}),"
    return f", which has rank {item['rank']:,},"


@st.fragment
def what_if(person: Person, k: int, items: list[dict[str, Any]], catalog: Catalog) -> None:
    """Sliders for the user's scores and for wishes; the list follows at once."""
    with ui.in_words():
        _what_if(person, k, items, catalog)


def _what_if(person: Person, k: int, items: list[dict[str, Any]], catalog: Catalog) -> None:
    blocks.draw(blocks.heading("What if?"))
    explainer = person.explainer
    now = WhatIf(explainer, explainer.user_number(person.user)).scores_now()
    left, right = st.columns([2, 3])
    with left:
        # A model that reads no user's scores has no taste to change.
        kinds = ["taste", "wishes", "an item"] if explainer.reads_users else ["wishes", "an item"]
        kind = st.segmented_control(
            "Change",
            kinds,
            key=ui.keep("kind", (person.key, kinds), kinds[0]),
            label_visibility="collapsed",
        )
        with st.container(height=560 if len(now) > MANY else "content", border=len(now) > MANY):
            if kind == "an item":
                question, start = _other_item(explainer, person, items, catalog)
            elif kind == "wishes" or not explainer.reads_users:
                question, start = _wished(explainer, person)
            else:
                question, start = _other_taste(now, person)
        asked = question.other_list
        st.button(
            "Back to where they were",
            icon=":material/undo:",
            key="reset",
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
        blocks.draw(tables.table(rows), _what_changed(answer, k) if asked else blocks.note(INVITING))


def _what_changed(answer: dict[str, Any], k: int) -> str:
    """What the new list has that the old one had not, and where the item went that has other scores."""
    new = sum(item["rank_now"] > k for item in answer["items"])
    told = blocks.note(
        f"{new} of {len(answer['items'])} were not in the list before. What the model read from the history itself stays."
    )
    if (moved := answer["item"]) is not None:
        told += blocks.says(
            f"{ui.title_of(moved)} would go from rank {moved['rank_now']} to {moved['rank']}."
        )
    return told


def _wished(explainer: Explainer, person: Person) -> Asked:
    st.caption(
        "Less or more of an attribute than this user would get; 1 weighs as much as all else together."
    )
    start = dict.fromkeys(explainer.scores.attributes, 0.0)
    wishes, keys = _sliders("wish", person.key, start, -1.0, STEP)
    return Question(wishes=wishes), keys


def _other_taste(now: dict[str, float], person: Person) -> Asked:
    st.caption(
        "The estimated scores, had the language model read others from this history."
        if person.new
        else "The user's scores, had the language model read others from the history."
    )
    scores, keys = _sliders("taste", person.key, now)
    return Question(scores=scores), keys


def _other_item(explainer: Explainer, person: Person, items: list[dict[str, Any]], catalog: Catalog) -> Asked:
    item = _pick("Item", person, items, catalog, first=0)
    if item is None:
        return Question(), {}
    number = explainer.item_number(item)
    said = {name: explainer.item_score(number, name) for name in explainer.scores.attributes}
    st.caption(
        "The item's scores, had the language model read others from its text."
        if any(value is not None for value in said.values())
        else "The language model has not scored this item: it has no text."
    )
    now = {name: value for name, value in said.items() if value is not None}
    scores, keys = _sliders("item", f"{person.key} {item}", now)
    return Question(item=item, item_scores=scores), keys


def _sliders(
    kind: str, whose: str, start: dict[str, float], low: float = 0.0, step: float = 0.01
) -> tuple[dict[str, float], dict[str, float]]:
    """A slider per attribute; what was moved, and every slider's key with the value it starts from.

    For somebody else the same sliders get other values: a browser takes a tenth of a second to put up ten new ones.
    """
    start = {name: round(value, 2) for name, value in start.items()}
    keys = {f"{kind} {name}": value for name, value in start.items()}
    state = st.session_state
    if state.get(f"whose {kind}") != whose or any(key not in state for key in keys):
        state[f"whose {kind}"] = whose
        _reset(keys)
    chosen = {name: st.slider(ui.readable(name), low, 1.0, step=step, key=f"{kind} {name}") for name in start}
    return {name: value for name, value in chosen.items() if value != start[name]}, keys


def _reset(start: dict[str, float]) -> None:
    for key, value in start.items():
        st.session_state[key] = value


def _moved(places: int) -> str:
    if places == 0:
        return ""
    return f"{'▲' if places > 0 else '▼'} {abs(places)}"
