"""The catalog through the attributes: search, one item's profile, its nearest neighbours."""

import dashboard_bars as bars
import dashboard_blocks as blocks
import dashboard_data as data
import dashboard_tables as tables
import dashboard_ui as ui
import numpy as np
import pandas as pd
import streamlit as st

NEAREST = 10
FOUND = 300
MANY = 16  # more attributes than these stand in a box that scrolls


def nearest(scores: pd.DataFrame, item: str) -> pd.Series:
    """Distance of the other items to one, in standard deviations of each attribute, nearest first."""
    spread = scores.std().replace(0.0, 1.0)
    gap = (scores - scores.loc[item]) / spread
    distance = np.sqrt((gap**2).mean(axis=1)).drop(item)
    return distance.dropna().sort_values(kind="stable").head(NEAREST)


@st.cache_data(show_spinner=False, max_entries=8)
def _bands(_scores: pd.DataFrame, path: str, content: str, source: str) -> np.ndarray:
    bands: np.ndarray = _scores.quantile([0.1, 0.5, 0.9]).to_numpy()
    return bands


def attributes(folder: ui.RunFolder, scores: pd.DataFrame, source: str, item: str) -> None:
    """The item's scores beside the catalog."""
    path = folder.score_table
    low, median, high = _bands(scores, str(path), data.content(path), source)
    rows = pd.DataFrame(
        {
            "label": [ui.readable(a) for a in scores.columns],
            "score": scores.loc[item].to_numpy(),
            "low": low,
            "median": median,
            "high": high,
        }
    )
    chart = bars.profile(rows, mine="item")
    blocks.draw(
        blocks.heading("Attributes beside the catalog"),
        blocks.boxed(chart) if len(rows) > MANY else chart,
        blocks.note(
            f"Blue: this item ({source} scores); band: the middle 80 % of the catalog; tick: its median."
        ),
    )


def neighbours(folder: ui.RunFolder, scores: pd.DataFrame | None, item: str, names: dict[str, str]) -> None:
    """Nearest items by what the language model said, beside nearest items in the vectors that rank."""
    said = blocks.heading("Nearest by attributes")
    if scores is None:
        said += blocks.note("The language model has not scored this item.")
    else:
        said += _table(nearest(scores, item), names, "distance")
        said += blocks.note(
            "Distance: root mean square over attributes, in standard deviations of the catalog."
        )
    directions = data.directions_of(folder)
    if directions is None:
        blocks.draw(said)
        ui.nothing_yet("There are no refined vectors yet.", folder)
        return
    ranking = (
        blocks.heading("Nearest by refined vector")
        + _table(directions.nearest(item, NEAREST), names, "cosine")
        + blocks.note(
            "Cosine of the vectors that the refined model ranks with: behaviour and attributes together."
        )
    )
    blocks.draw(blocks.beside(said, ranking))


def _table(close: pd.Series, names: dict[str, str], what: str) -> str:
    rows = {"item": [names.get(str(i), str(i)) for i in close.index], what: close.to_numpy(dtype=float)}
    return tables.table(pd.DataFrame(rows))


def main() -> None:
    """The page."""
    folder = data.run_folder()
    st.title("Items")
    catalog = data.catalog_of(folder)
    if catalog is None:
        ui.nothing_yet("The data are not prepared yet.", folder)
        return
    text = st.text_input(
        "Search", placeholder="words of a title or description", icon=":material/search:", key="search"
    )
    found = catalog.search(text)
    if not found:
        st.info("No item holds all of these words.", icon=":material/search_off:")
        return
    shown = f"{len(found):,} items" + (f", the first {FOUND:,} listed" if len(found) > FOUND else "")
    item = st.selectbox(shown, found[:FOUND], format_func=catalog.label, key="item")
    row = catalog.items[catalog.items["item_id"] == item].iloc[0]
    st.subheader(ui.plain(row["title"] or item))
    st.text(row["text"] or "No text.")
    found_scores = data.item_scores(folder)
    if found_scores is None:
        ui.nothing_yet("The items have no scores yet.", folder)
        return
    source = "tuned" if "tuned" in found_scores else "untuned"
    scores = found_scores[source]
    scored = item in scores.index and not scores.loc[item].isna().any()
    if scored:
        attributes(folder, scores, source, item)
    else:
        blocks.draw(blocks.note("The language model has not scored this item: it has no text."))
    neighbours(folder, scores if scored else None, item, catalog.names)


main()
