"""Why these items for this user: history, taste, recommendations taken apart, the base beside."""

from typing import Any

import dashboard_charts as charts
import dashboard_questions as questions
import dashboard_ui as ui
import numpy as np
import pandas as pd
import streamlit as st

from guided_refine.explain.explainer import Explainer, base_top
from guided_refine.explain.text import explanation

LISTED = 3000


def pick_user(explainer: Explainer) -> str | None:
    """A list where it is short enough to send to a browser, else a field for the id."""
    users = explainer.dataset.user_ids
    if len(users) <= LISTED:
        return st.selectbox("User", users, key="user")
    return st.text_input(
        "User id", value=users[0], help=f"one of {len(users)} ids, such as {users[1]}", key="user"
    )


@st.cache_data(show_spinner=False, max_entries=32)
def _answer(_explainer: Explainer, root: str, opened: int, user: str, k: int) -> dict[str, Any]:
    return explanation(_explainer, user, k=k)


@st.cache_data(show_spinner=False, max_entries=32)
def _base(_explainer: Explainer, root: str, opened: int, user: str, k: int) -> pd.DataFrame | None:
    return base_top(_explainer, user, k)


def titles(rows: list[dict[str, Any]]) -> list[str]:
    """Titles, ids where there is none."""
    return [row["title"] or row["item_id"] for row in rows]


def history(answer: dict[str, Any]) -> None:
    """The last events, newest first."""
    st.subheader("History")
    rows = list(reversed(answer["history"]))
    st.dataframe(
        pd.DataFrame({"newest first": titles(rows)}), hide_index=True, height=35 * (len(rows) + 1) + 3
    )
    st.caption(f"The last {len(rows)} of {answer['events']} events that the model may see.")


def taste(explainer: Explainer, answer: dict[str, Any]) -> None:
    """The user's scores beside the catalog."""
    st.subheader("Taste profile")
    rows = pd.DataFrame(answer["profile"])
    low, median, high = catalog_bands(explainer)
    st.altair_chart(charts.profile(rows.assign(low=low, median=median, high=high), mine="user"))
    note = "Blue: this user; pale band: the middle 80 % of the catalog; tick: its median."
    if answer["profile_estimated"]:
        note += " Estimated from the history: the language model has not scored this user."
    st.caption(note)


def catalog_bands(explainer: Explainer) -> np.ndarray:
    """10th, 50th and 90th percentile of every attribute over the catalog, shape (3, attributes)."""
    return np.nanquantile(explainer.scores.item_value, [0.1, 0.5, 0.9], axis=0)


def recommendations(answer: dict[str, Any]) -> None:
    """All recommended items as bars, and one of them in full."""
    items = answer["recommendations"]
    st.subheader("Recommendations and what they are made of")
    if not items:
        st.caption("This user has seen the whole catalog.")
        return
    st.altair_chart(charts.stacked(items))
    st.caption("The parts of a bar sum to the item's score (dark tick), exactly; point at one to read it.")
    names = [f"{item['rank']}. {title}" for item, title in zip(items, titles(items), strict=True)]
    place = st.selectbox("One item in full", range(len(items)), format_func=lambda i: names[i])
    st.altair_chart(charts.parts(items[place]))
    st.markdown(ui.plain(items[place]["reason"]))


def beside_base(answer: dict[str, Any], base: pd.DataFrame | None) -> None:
    """Two lists side by side: refined and base."""
    st.subheader("Beside the base model")
    upcoming = answer["next"]
    refined = pd.DataFrame(
        {"rank": [i["rank"] for i in answer["recommendations"]], "item": titles(answer["recommendations"])}
    )
    refined_ids = [i["item_id"] for i in answer["recommendations"]]
    base_ids = base["item_id"].tolist() if base is not None else []

    def marks(ids: list[str], others: list[str]) -> list[str]:
        return [
            "taken next"
            if upcoming is not None and i == upcoming["item_id"]
            else "only here"
            if i not in others
            else ""
            for i in ids
        ]

    widths = {
        "rank": st.column_config.NumberColumn(width=50),
        "item": st.column_config.TextColumn(width=330),
        "note": st.column_config.TextColumn(width=90),
    }
    left, right = st.columns(2)
    with left:
        st.markdown("**Refined**")
        st.dataframe(refined.assign(note=marks(refined_ids, base_ids)), hide_index=True, column_config=widths)
    with right:
        st.markdown("**Base**")
        if base is None:
            st.caption("The base of this backbone is not trained yet.")
        else:
            shown = base[["rank", "title"]].rename(columns={"title": "item"})
            st.dataframe(
                shown.assign(note=marks(base_ids, refined_ids)), hide_index=True, column_config=widths
            )
    if upcoming is not None:
        st.caption(
            ui.plain(
                f"What the user really took next: {upcoming['title'] or upcoming['item_id']}, "
                f"ranked {upcoming['rank']} of {answer['candidates']} by the refined model."
            )
        )


def main() -> None:
    """The page."""
    folder = ui.run_folder()
    st.title("Why these items?")
    if not ui.has_refined(folder):
        ui.nothing_yet("No refined model is trained yet.", folder)
        return
    explainer = ui.explainer_of(folder)
    left, right = st.columns([3, 1])
    with left:
        user = pick_user(explainer)
    with right:
        k = st.slider("Items", 3, 20, min(explainer.config.explain.k, 20))
    if not user:
        return
    answer = _answer(explainer, str(folder.root), id(explainer), user, k)
    model = answer["model"]
    st.caption(
        f"Ranked by {ui.readable(model['backbone'])} with refined embeddings; attributes scored by "
        f"{ui.plain(model['scorer'])} ({model['source']})."
    )
    left, right = st.columns([2, 3])
    with left:
        history(answer)
    with right:
        taste(explainer, answer)
    recommendations(answer)
    questions.why_not(explainer, user, answer["recommendations"])
    questions.what_if(explainer, user, k, answer["recommendations"])
    beside_base(answer, _base(explainer, str(folder.root), id(explainer), user, k))


main()
