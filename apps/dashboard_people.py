"""Whom a page is about: a user of the run, or somebody new who picks items."""

from __future__ import annotations

import bisect
import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dashboard_data as data
import dashboard_ui as ui
import streamlit as st

from guided_refine.runfolder import RunFolder

if TYPE_CHECKING:
    from guided_refine.explain.explainer import Explainer

LISTED = 3000
"""So many choices a browser can be sent at once; beyond, one types."""
FOUND = 200
KNOWN, NEW = "A user of the run", "Somebody new"


@dataclass(frozen=True)
class Person:
    """`explainer` answers for `user`; `key` tells this person from all others; `new`: in no data."""

    explainer: Explainer
    user: str
    key: str
    new: bool = False

    @classmethod
    def known(cls, explainer: Explainer, user: str) -> Person:
        """A user of the run."""
        return cls(explainer, user, f"user {user}")


def choose(folder: RunFolder) -> Person | None:
    """Ask for whom; None while nobody is chosen."""
    kind = st.segmented_control("Recommendations for", [KNOWN, NEW], default=KNOWN, key="for whom")
    return _somebody_new(folder) if kind == NEW else known_user(folder)


def known_user(folder: RunFolder) -> Person | None:
    """A list of users where it is short enough to send to a browser, else a field for the id."""
    explainer = data.explainer_of(folder)
    users = explainer.dataset.user_ids
    if len(users) <= LISTED:
        user = st.selectbox("User", users, key="user")
        return None if user is None else Person.known(explainer, user)
    user = st.text_input(
        "User id",
        value=users[0],
        help=f"One of {len(users):,} ids, such as {ui.plain(users[1])}.",
        key="user",
    ).strip()
    if user in users:
        return Person.known(explainer, user)
    close = close_ids(user, _sorted_users(folder))
    st.warning(
        ui.plain(f"No user {user or 'without an id'} in this run. Nearest ids: {', '.join(close)}."),
        icon=":material/person_off:",
    )
    return None


@st.cache_resource(show_spinner=False, max_entries=2)
def _sorted(root: str, key: str, _users: list[str]) -> list[str]:
    return sorted(_users)


def _sorted_users(folder: RunFolder) -> list[str]:
    users = data.explainer_of(folder).dataset.user_ids
    return _sorted(str(folder.root), data.explainer_key(folder), users)


def close_ids(wanted: str, ordered: list[str], count: int = 5, reach: int = 200) -> list[str]:
    """Ids like the one that was typed: those beside it in the order of the alphabet, the most similar first.

    Looks at 2 * `reach` ids only, so that a mistyped id among millions is answered at once.
    """
    place = bisect.bisect_left(ordered, wanted)
    beside = ordered[max(0, place - reach) : place + reach]
    close = difflib.get_close_matches(wanted, beside, n=count, cutoff=0.3)
    return close or beside[max(0, min(place, reach) - count // 2) :][:count]


def _somebody_new(folder: RunFolder) -> Person | None:
    """A history picked from the catalog; scores are estimated, and said so."""
    catalog = data.catalog_of(folder)
    assert catalog is not None, "a refined model has a catalog"
    picked: list[str] = [i for i in st.session_state.get("picked", []) if i in catalog.names]
    options = list(catalog.names)
    if len(options) > LISTED:
        text = st.text_input(
            "Search the catalog",
            placeholder="words of a title or description",
            icon=":material/search:",
            key="pick search",
        )
        found = catalog.search(text)
        options = list(dict.fromkeys([*picked, *found[:FOUND]]))
        st.caption(
            f"{len(found):,} items hold these words"
            + (f"; the first {FOUND} can be picked below." if len(found) > FOUND else ".")
        )
    chosen = st.multiselect(
        "What this person has, oldest first",
        options,
        format_func=catalog.label,
        key="picked",
        placeholder="Pick one item or more",
    )
    if not chosen:
        st.info(
            "Pick items that somebody has watched, read or bought; the list follows at once. The language model is not "
            "asked: the person's attribute scores are estimated from the items.",
            icon=":material/person_add:",
        )
        return None
    st.info(
        "Estimated: the language model has not read this history. The scores of this person are estimated from the scores "
        "of the items picked, as the model does for everybody whom it does not know.",
        icon=":material/person_add:",
    )
    newcomer = data.newcomer_of(folder, tuple(chosen))
    return Person(newcomer, "somebody new", "new " + " ".join(chosen), new=True)
