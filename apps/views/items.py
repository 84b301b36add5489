"""The catalog through the attributes: search, one item's profile, its nearest neighbours."""

import dashboard_charts as charts
import dashboard_ui as ui
import numpy as np
import pandas as pd
import streamlit as st

NEAREST = 10
FOUND = 1000


def scores_of(folder: ui.RunFolder) -> tuple[pd.DataFrame, str] | None:
    """Item scores, (items, attributes) indexed by item id, and their source; tuned where the run has them."""
    rows = ui.parquet_of(folder.score_table)
    if rows is None:
        return None
    rows = rows[rows["kind"] == "item"]
    source = "tuned" if (rows["source"] == "tuned").any() else "untuned"
    rows = rows[rows["source"] == source]
    order = list(dict.fromkeys(rows["attribute"]))
    return rows.pivot(index="id", columns="attribute", values="value")[order], source


def search(items: pd.DataFrame, text: str) -> pd.DataFrame:
    """Items whose title, id or text holds every word."""
    words = text.lower().split()
    if not words:
        return items
    hay = (items["title"] + " " + items["item_id"] + " " + items["text"]).str.lower()
    return items[np.logical_and.reduce([hay.str.contains(word, regex=False) for word in words])]


def nearest(scores: pd.DataFrame, item: str) -> pd.Series:
    """Distance of the other items to one, in standard deviations of each attribute, nearest first."""
    spread = scores.std().replace(0.0, 1.0)
    gap = (scores - scores.loc[item]) / spread
    distance = np.sqrt((gap**2).mean(axis=1)).drop(item)
    return distance.dropna().sort_values(kind="stable").head(NEAREST)


def main() -> None:
    """The page."""
    folder = ui.run_folder()
    st.title("Items")
    items = ui.parquet_of(folder.data / "items.parquet")
    if items is None:
        ui.nothing_yet("The data are not prepared yet.", folder)
        return
    items = items.assign(**{c: items[c].fillna("").astype(str) for c in ("item_id", "title", "text")})
    text = st.text_input("Search", placeholder="words of a title or description", icon=":material/search:")
    found = search(items, text)
    if found.empty:
        st.info("No item holds all of these words.", icon=":material/search_off:")
        return
    names = dict(zip(found["item_id"], found["title"], strict=True))
    listed = list(names)[:FOUND]
    shown = f"{len(found)} items" + (f", the first {FOUND} listed" if len(found) > FOUND else "")
    item = st.selectbox(shown, listed, format_func=lambda i: f"{names[i] or 'without a title'}  ({i})")
    row = items[items["item_id"] == item].iloc[0]
    st.subheader(ui.plain(row["title"] or item))
    st.text(row["text"] or "No text.")
    read = scores_of(folder)
    if read is None:
        ui.nothing_yet("The items have no scores yet.", folder)
        return
    scores, source = read
    left, right = st.columns(2)
    with left:
        st.subheader("Attributes beside the catalog")
        mine = scores.loc[item] if item in scores.index else pd.Series(np.nan, index=scores.columns)
        if mine.isna().any():
            st.caption("The language model has not scored this item: it has no text.")
            return
        low, median, high = scores.quantile([0.1, 0.5, 0.9]).to_numpy()
        labels = [ui.readable(a) for a in scores.columns]
        profile = pd.DataFrame(
            {"label": labels, "score": mine.to_numpy(), "low": low, "median": median, "high": high}
        )
        st.altair_chart(charts.profile(profile, mine="item"))
        st.caption(
            f"Blue: this item ({source} scores); pale band: the middle 80 % of the catalog; tick: its median."
        )
    with right:
        st.subheader("Nearest by attributes")
        close = nearest(scores, item)
        title = items.set_index("item_id")["title"].reindex(close.index)
        st.dataframe(
            pd.DataFrame(
                {"item": title.where(title != "", title.index.to_series()), "distance": close.to_numpy()}
            ),
            hide_index=True,
            column_config={"distance": st.column_config.NumberColumn(format="%.2f", width=80)},
        )
        st.caption("Distance: root mean square over attributes, in standard deviations of the catalog.")


main()
