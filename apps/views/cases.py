"""Case studies: pick a user, look at the page, take it along as a file."""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dashboard_answers as answers
import dashboard_data as data
import dashboard_people as people
import dashboard_ui as ui
import streamlit as st

from guided_refine.errors import InputError
from guided_refine.explain.cases.batch import chosen
from guided_refine.explain.export import FORMATS, MOST_MOVED, cases_archive, render

ANY, MOVED = "Any user", "Users whose lists moved most"
OFFERED, MOST = 30, answers.MOST_MOVED
MOVED_GROUP, FILE_GROUP = "Most moved users", "Users of a file"
MIME = {"html": "text/html", "json": "application/json", "md": "text/markdown", "png": "image/png"}
CALLED = {"html": "HTML", "json": "JSON", "md": "Markdown", "png": "PNG"}


def choose(folder: ui.RunFolder) -> str | None:
    """A user by id, or one of those whose lists moved most."""
    kind = st.segmented_control("Whose case", [ANY, MOVED], default=ANY, key="whose case")
    if kind != MOVED:
        person = people.known_user(folder)
        return None if person is None else person.user
    moved = answers.moved_users(folder)
    if not moved:
        ui.nothing_yet("The lists of the base and of the refined model are not there yet.", folder)
        return None
    far = dict(moved[:OFFERED])
    user: str | None = st.selectbox(
        "Users whose lists moved most from the base's",
        list(far),
        format_func=lambda u: f"{u}  (moved by {far[u]:.2f})",
        help="0: the same list, 1: no item in common.",
        key="moved user",
    )
    return user


def choose_item(folder: ui.RunFolder) -> str | None:
    """An item that the case is to say something about, or none."""
    catalog = data.catalog_of(folder)
    assert catalog is not None, "a refined model has a catalog"
    if len(catalog.names) <= people.LISTED:
        item: str | None = st.selectbox(
            "Ask about an item too",
            list(catalog.names),
            index=None,
            format_func=catalog.label,
            placeholder="no item",
            key="asked item",
        )
        return item
    typed = st.text_input("Ask about an item too", placeholder="an item id", key="asked id").strip()
    return typed or None


def downloads(case: dict[str, Any], user: str) -> None:
    """One button per format; a file is made when it is asked for."""
    name = "".join(c if c.isalnum() or c in "-_" else "_" for c in user)[:60] or "user"
    with st.container(horizontal=True):
        for format in FORMATS:
            st.download_button(
                CALLED[format],
                data=partial(render, case, format),
                file_name=f"case_{name}.{format}",
                mime=MIME[format],
                icon=":material/download:",
                on_click="ignore",
                key=f"download {format}",
            )


def many(folder: ui.RunFolder, k: int) -> None:
    """A zip file with a case study for each of a group of users, and a page that links them."""
    left, right = st.columns(2)
    with left:
        group = st.segmented_control(
            "Whose cases", [MOVED_GROUP, FILE_GROUP], default=MOVED_GROUP, key="whose cases"
        )
    with right:
        format = st.segmented_control(
            "As", list(FORMATS), default=FORMATS[0], format_func=CALLED.__getitem__, key="cases format"
        )
    users = _of_a_file(folder) if group == FILE_GROUP else _most_moved(folder)
    if not users or format is None:
        return
    title = "Case studies" if group == FILE_GROUP else f"The {len(users)} most moved users"
    st.download_button(
        f"{len(users)} case studies" if len(users) > 1 else "1 case study",
        data=partial(cases_archive, data.shared_of(folder), users, format, k=k, title=title),
        file_name="cases.zip",
        mime="application/zip",
        icon=":material/folder_zip:",
        on_click="ignore",
        help="They are made when you ask for them: about a second each on a large catalog.",
        key="download cases",
    )


def _most_moved(folder: ui.RunFolder) -> list[str]:
    moved = answers.moved_users(folder)
    if not moved:
        ui.nothing_yet("The lists of the base and of the refined model are not there yet.", folder)
        return []
    count = st.number_input("How many", 1, len(moved), min(MOST_MOVED, len(moved)), key="how many cases")
    return [user for user, _ in moved[: int(count)]]


def _of_a_file(folder: ui.RunFolder) -> list[str]:
    given = st.file_uploader(
        "One user id a line, or a table with a column user_id",
        type=["txt", "csv", "parquet"],
        max_upload_size=10,
        key="users of cases",
    )
    if given is None:
        return []
    with TemporaryDirectory() as place:
        path = Path(place) / Path(given.name).name
        path.write_bytes(given.getvalue())
        try:
            users = chosen(data.shared_of(folder), path)
        except InputError as error:
            st.warning(ui.plain(str(error).replace(f"{place}/", "")), icon=":material/person_off:")
            return []
    if len(users) > MOST:
        st.caption(
            f"The file names {len(users):,} users; the first {MOST} are taken. All at once: guided-refine export --users."
        )
    return users[:MOST]


def main() -> None:
    """The page."""
    folder = data.run_folder()
    st.title("Case studies")
    if not data.has_refined(folder):
        ui.nothing_yet("No refined model is trained yet.", folder)
        return
    explainer = data.explainer_of(folder)
    left, middle, right = st.columns([3, 2, 1])
    with left:
        user = choose(folder)
    with middle:
        item = choose_item(folder)
    with right:
        k = st.slider("Items", 3, answers.LONGEST, answers.usual_length(explainer), key="case items")
    with st.expander("Many users at once", icon=":material/group:"):
        many(folder, k)
    if user is None:
        return
    encoder = st.toggle(
        "With the view through the encoder",
        help="What attributes and past events did to the first recommendation on their way through the model. Runs the "
        "model some thousand times, which takes seconds.",
        key="through the encoder",
    )
    asked = answers.Case(user, item, k, encoder)
    try:
        case = answers.case_of(folder, asked)
    except InputError as error:
        st.warning(ui.plain(str(error)), icon=":material/person_off:")
        return
    downloads(case, user)
    st.caption(
        "A case study is one file: HTML that needs nothing else and runs no script, JSON by a published schema, Markdown, "
        "or a picture. Below is the HTML as it will look."
    )
    with st.container(border=True):
        st.iframe(answers.case_page_of(folder, asked), height=1100)


main()
