"""Frames become the dataset that the same tables in files become, and ids come out as they went in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guided_refine.backbones.backbone import Backbone
from guided_refine.config import DataConfig, TrainConfig
from guided_refine.data.dataset import Dataset, load_dataset
from guided_refine.data.prepare import prepare
from guided_refine.data.sample import generate
from guided_refine.errors import InputError

TINY = TrainConfig(width=8, max_length=6, layers=1, max_epochs=1, threads=1)


def events(**columns: object) -> pd.DataFrame:
    frame = pd.DataFrame({"user_id": list("uuuvvv"), "item_id": list("abcbca"), "timestamp": range(6)})
    return frame.assign(**columns)


def same(one: Dataset, other: Dataset) -> bool:
    return (
        one.split.sha256 == other.split.sha256
        and one.user_ids == other.user_ids
        and one.items.equals(other.items)
        and (one.times is None) == (other.times is None)
    )


@pytest.mark.parametrize(
    "options", [DataConfig(), DataConfig(k_core=4, repeats="first"), DataConfig(split="global_time")]
)
def test_frames_give_what_the_same_tables_in_files_give(tmp_path: Path, options: DataConfig) -> None:
    world = generate(n_items=60, n_users=120)
    rows = world.interactions.sample(frac=1, random_state=0)
    rows = pd.concat([rows, rows.head(3), rows.head(2).assign(item_id="nowhere")], ignore_index=True)
    source = tmp_path / "source"
    source.mkdir()
    world.items.to_csv(source / "items.csv", index=False)
    rows.to_csv(source / "interactions.csv", index=False)
    info = prepare("tables", source, tmp_path / "out", options=options)
    loaded = load_dataset(tmp_path / "out", split=options.split)
    dataset = Dataset.from_frames(rows, world.items, options=options)
    assert same(dataset, loaded) and any(dataset.texts)
    for key in ("users", "items", "interactions", "duplicates", "repeats", "removed_by_core", "order"):
        assert dataset.info[key] == info[key]
    counts = {reason: dropped["rows"] for reason, dropped in dataset.info["dropped"].items()}
    assert counts == {reason: dropped["rows"] for reason, dropped in info["dropped"].items()}
    assert counts["unknown item"] == 2


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), min_size=40, max_size=60), st.randoms())
def test_the_order_of_rows_is_the_order_of_events_where_nothing_else_is(rows, random) -> None:
    """Times, positions and the order of the rows are three ways to say one order."""
    # Two items at least, or there is nothing to rank.
    frame = pd.DataFrame([(0, 10), (0, 11), *rows], columns=["user_id", "item_id"])
    in_order = Dataset.from_frames(frame)
    # Users are numbered by their first row, so the first row of each stays where it is.
    first = frame.drop_duplicates("user_id").index
    rest = [i for i in range(len(frame)) if i not in first]
    random.shuffle(rest)
    for column in ("timestamp", "position"):
        told = frame.assign(**{column: range(len(frame))}).iloc[[*first, *rest]]
        again = Dataset.from_frames(told, pd.DataFrame({"item_id": in_order.item_ids, "title": ""}))
        assert again.user_ids == in_order.user_ids
        for one, other in zip(again.sequences, in_order.sequences, strict=True):
            assert again.item_ids[one - 1].tolist() == in_order.item_ids[other - 1].tolist()


def test_without_items_the_catalog_is_what_was_taken() -> None:
    dataset = Dataset.from_frames(events())
    assert dataset.item_ids.tolist() == dataset.titles == ["a", "b", "c"]
    assert dataset.texts == ["", "", ""]
    assert dataset.info["noted"] == {}


IDS = {
    "int64": pd.Series([30, 10, 20]),
    "int32": pd.Series([30, 10, 20], dtype="int32"),
    "nullable": pd.Series([30, 10, 20], dtype="Int64"),
    "whole floats": pd.Series([30.0, 10, 20]),
    "objects": pd.Series([30, 10, 20], dtype=object),
    "large": pd.Series([-3, 2**62 + 1, 7]),
    "larger": pd.Series([2**64 - 1, 2**63, 7], dtype="uint64"),
    "text": pd.Series(list("abc")),
    "text of digits": pd.Series(["007", "7", "7.0"]),
    "categories": pd.Series(list("abc"), dtype="category"),
}


@pytest.mark.parametrize("ids", IDS.values(), ids=IDS)
def test_own_ids_go_in_and_come_out(ids: pd.Series, tmp_path: Path) -> None:
    first, second, third = ids
    users, items = ids.iloc[[0] * 5 + [1] * 5].array, ids.iloc[[0, 1, 2, 0, 1] * 2].array
    rows = pd.DataFrame({"user_id": users, "item_id": items})
    dataset = Dataset.from_frames(rows)
    model = Backbone.new("sasrec", dataset, TINY)
    model.fit(dataset)
    model.save(tmp_path)
    for each in (model, Backbone.load(tmp_path)):
        table = each.recommend([first, second], k=9, filter_viewed=False)
        assert set(table["item_id"]) == {first, second, third} and set(table["user_id"]) == {first, second}
        assert each.recommend(ids.iloc[[0, 1]], k=9, filter_viewed=False).equals(table)
        # What comes out finds its rows again in the frame that went in.
        assert len(table.merge(ids.rename("item_id").to_frame())) == len(table) == 6
        assert set(each.recommend_for_history([second, third], k=9)["item_id"]) == {first}


def test_a_gap_among_whole_number_ids_costs_its_row_only() -> None:
    frame = events(item_id=[30, 10, None, 10, 20, 30])
    frame = pd.concat([frame, events(item_id=[30, 10, 20, 10, 20, 30], timestamp=range(6, 12))])
    dataset = Dataset.from_frames(frame)
    assert sorted(dataset.item_ids) == ["10", "20", "30"] and dataset.id_types == {"item_id": "int64"}
    assert dataset.info["dropped"]["missing item_id"] == {"rows": 1, "first": "interactions row 3"}


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
def test_dates_of_pandas_are_times(zone: str | None) -> None:
    when = pd.Series(pd.date_range("2020-01-01", periods=6, freq="h", tz=zone))
    times = Dataset.from_frames(events(timestamp=when)).times
    assert times is not None
    assert np.concatenate(times).tolist() == [moment.timestamp() for moment in when]
    missing = Dataset.from_frames(
        pd.concat([events(timestamp=when), events(timestamp=pd.Series([pd.NaT] * 6))])
    )
    assert missing.info["dropped"]["no time"]["rows"] == 6


def test_the_callers_frames_stay_as_they_were() -> None:
    rows, items = (
        events(),
        pd.DataFrame({"item_id": list("abc"), "title": list("ABC"), "tags": [["x"], [], None]}),
    )
    before = rows.copy(), items.copy()
    dataset = Dataset.from_frames(rows, items)
    assert rows.equals(before[0]) and items.equals(before[1])
    assert dataset.texts[0] == "A; tags: x" and dataset.texts[1] == "B"


@pytest.mark.parametrize(
    ("rows", "items", "said"),
    [
        (
            events().rename(columns={"user_id": "usr_id"}),
            None,
            "did you mean 'usr_id'? rename it with .rename",
        ),
        (events().drop(columns="item_id"), None, "interactions has no column 'item_id'"),
        (events().iloc[:0], None, "the interactions are empty"),
        ([1, 2], None, "interactions must be a pandas DataFrame, not list"),
        (events(), [1, 2], "items must be a pandas DataFrame, not list"),
        (
            events(),
            pd.DataFrame({"item_id": ["a", "a"], "title": "A"}),
            "item_id 'a' occurs twice, first in row 1",
        ),
        (events(), pd.DataFrame({"item_id": ["a"]}), "items has no column 'title'"),
        (events(), pd.DataFrame({"item_id": ["x"], "title": "X"}), "nothing is left of 6 rows"),
        (events(timestamp="soon"), None, "no time can be read"),
        (events(item_id="a"), None, "a ranking needs two or more"),
        (events().iloc[:2], None, "three events are needed"),
        (pd.concat([events(), events()], axis=1), None, "more than once; keep one"),
    ],
)
def test_one_sentence_for_wrong_frames(rows: pd.DataFrame, items: pd.DataFrame | None, said: str) -> None:
    with pytest.raises(InputError) as caught:
        Dataset.from_frames(rows, items)
    assert said in str(caught.value) and "\n" not in str(caught.value)
