"""Preparing a dataset: order, counts, faults, and that a stop leaves nothing that looks whole."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from guided_refine.config import DataConfig
from guided_refine.data import prepare as module
from guided_refine.data.dataset import load_dataset
from guided_refine.data.prepare import prepare
from guided_refine.errors import InputError


def histories(folder: Path) -> dict[str, list[str]]:
    rows = pd.read_parquet(folder / "interactions.parquet")
    return {str(user): part["item_id"].tolist() for user, part in rows.groupby("user_id", sort=False)}


def test_events_are_in_time_order_and_equal_times_keep_the_files(make_tables, tmp_path: Path) -> None:
    source = make_tables(interactions="user_id,item_id,timestamp\nv,d,5\nu,b,2\nv,a,5\nu,a,1\nv,c,5\nu,c,2\n")
    prepare("tables", source, tmp_path / "out")
    assert histories(tmp_path / "out") == {"v": ["d", "a", "c"], "u": ["a", "b", "c"]}


def test_the_result_does_not_depend_on_the_order_of_the_file(make_tables, tmp_path: Path) -> None:
    rows = [f"u{i % 7},{'abcd'[i * 3 % 4]},{i}" for i in range(60)]
    shuffled = rows[7:]
    random.Random(1).shuffle(shuffled)
    found = []
    # The first seven rows stay: they fix the order of users.
    for name, order in (("one", rows), ("two", rows[:7] + shuffled)):
        text = "user_id,item_id,timestamp\n" + "\n".join(order) + "\n"
        info = prepare("tables", make_tables(interactions=text, name=name), tmp_path / f"{name}_out")
        found.append((histories(tmp_path / f"{name}_out"), info["splits"]))
    assert found[0] == found[1]


def test_what_is_written_is_what_load_dataset_reads(make_tables, tmp_path: Path) -> None:
    info = prepare("tables", make_tables(), tmp_path / "out", name="tiny")
    dataset = load_dataset(tmp_path / "out")
    assert (dataset.name, dataset.n_users, dataset.n_items) == ("tiny", 2, 4)
    assert dataset.texts == ["Alpha; genre: x", "Beta; genre: y", "Gamma; genre: x", "Delta; genre: y"]
    assert dataset.split.sha256 == info["splits"]["leave_one_out"]["sha256"]
    assert json.loads((tmp_path / "out/info.json").read_text(encoding="utf-8")) == info
    places = pd.read_parquet(tmp_path / "out/splits.parquet")
    assert places[places["split"] == "leave_one_out"]["test"].tolist() == dataset.split.test.tolist()


def test_twice_the_same_gives_the_same_bytes(make_tables, tmp_path: Path) -> None:
    source = make_tables()
    first, second = (prepare("tables", source, tmp_path / name) for name in ("one", "two"))
    assert first == second


def test_items_nobody_used_are_left_out_and_counted(make_tables, tmp_path: Path) -> None:
    source = make_tables(interactions="user_id,item_id,timestamp\nu,b,2\nu,a,1\nu,c,3\n")
    info = prepare("tables", source, tmp_path / "out")
    assert info["catalog"] == {"listed": 4, "without_interactions": 1}
    assert pd.read_parquet(tmp_path / "out/items.parquet")["item_id"].tolist() == ["a", "b", "c"]


def test_duplicates_go_and_repeats_stay_unless_asked(make_tables, tmp_path: Path) -> None:
    rows = "user_id,item_id,rating,timestamp\nu,a,5,1\nu,b,5,2\nu,a,5,1\nu,a,5,3\nu,c,5,4\nu,c,4,4\n"
    source = make_tables(interactions=rows)
    info = prepare("tables", source, tmp_path / "keep")
    assert (info["duplicates"], info["repeats"], info["interactions"]) == (1, 2, 5)
    assert histories(tmp_path / "keep") == {"u": ["a", "b", "a", "c", "c"]}
    prepare("tables", source, tmp_path / "first", options=DataConfig(repeats="first"))
    assert histories(tmp_path / "first") == {"u": ["a", "b", "c"]}


def test_read_equals_kept_plus_dropped(make_tables, tmp_path: Path) -> None:
    rows = ["user_id,item_id,rating,timestamp"]
    rows += [f"u{i % 9},{'abcdz'[i % 5]},{i % 6},{'soon' if i % 11 == 0 else i}" for i in range(200)] + [
        "short,row"
    ]
    source = make_tables(interactions="\n".join(rows))
    options = DataConfig(min_rating=2, k_core=5, repeats="first")
    info = prepare("tables", source, tmp_path / "out", options=options.model_copy(update={"k_core": 2}))
    assert info["rows_read"] == 201
    assert info["rows_read"] == info["interactions"] + sum(d["rows"] for d in info["dropped"].values())
    assert {"unknown item", "unparsable time", "below min_rating", "row without 4 values"} <= set(
        info["dropped"]
    )


def test_items_without_text_stay_or_go_as_told(make_tables, tmp_path: Path) -> None:
    items = "item_id,title,genre\na,Alpha,x\nb,,\nc,Gamma,x\nd,,y\n"
    source = make_tables(items=items, interactions="user_id,item_id\nu,a\nu,b\nu,c\nu,d\nu,b\n")
    prepare("tables", source, tmp_path / "keep")
    items = pd.read_parquet(tmp_path / "keep/items.parquet").set_index("item_id")
    assert items.loc["b", "text"] == ""
    assert items.loc["b", "title"] == "b", "a chart needs a name"
    assert items.loc["d", "text"] == "genre: y"
    info = prepare("tables", source, tmp_path / "drop", options=DataConfig(without_text="drop"))
    assert info["dropped"]["item without text"]["rows"] == 2
    assert histories(tmp_path / "drop") == {"u": ["a", "c", "d"]}
    with pytest.raises(InputError, match=r"interactions\.csv row 3: item without text 'b'"):
        prepare("tables", source, tmp_path / "strict", strict=True)


@pytest.mark.parametrize(("column", "what"), [("timestamp", "time"), ("position", "position")])
def test_rows_without_the_order_that_others_have_are_dropped(
    make_tables, tmp_path: Path, column: str, what: str
) -> None:
    source = make_tables(interactions=f"user_id,item_id,{column}\nu,a,1\nu,b,\nu,c,3\nu,d,4\n")
    info = prepare("tables", source, tmp_path / "out")
    assert info["dropped"][f"no {what}"] == {"rows": 1, "first": "interactions.csv row 3"}
    assert histories(tmp_path / "out") == {"u": ["a", "c", "d"]}
    with pytest.raises(InputError, match=rf"interactions\.csv row 3: no {what}"):
        prepare("tables", source, tmp_path / "strict", strict=True)


def test_a_time_beyond_all_units_is_a_faulty_row(make_tables, tmp_path: Path) -> None:
    source = make_tables(interactions="user_id,item_id,timestamp\nu,a,1\nu,b,1e300\nu,c,3\nu,d,4\n")
    info = prepare("tables", source, tmp_path / "out")
    assert info["dropped"]["unparsable time"]["rows"] == 1


def test_what_was_prepared_inside_the_source_is_not_read_again(make_tables, tmp_path: Path) -> None:
    source = make_tables(interactions="user_id,item_id\nu,a\nu,b\nu,c\nv,a\n")
    first = prepare("tables", source, source / "prepared", options=DataConfig(k_core=1))
    (source / "interactions.csv").write_text("user_id,item_id\nu,c\nu,b\nu,a\n")
    assert first["rows_read"] == 4
    assert prepare("tables", source, source / "prepared")["rows_read"] == 3


@pytest.mark.parametrize("unit", [1, 10**3, 10**6, 10**9])
def test_finer_times_become_seconds(make_tables, tmp_path: Path, unit: int) -> None:
    rows = "".join(f"u,{item},{(1_500_000_000 + at) * unit}\n" for at, item in enumerate("abc"))
    prepare("tables", make_tables(interactions="user_id,item_id,timestamp\n" + rows), tmp_path / "out")
    times = pd.read_parquet(tmp_path / "out/interactions.parquet")["timestamp"]
    assert times.tolist() == [1_500_000_000, 1_500_000_001, 1_500_000_002]


def test_order_only_data_have_no_timestamp_and_say_so(make_tables, tmp_path: Path) -> None:
    source = make_tables(interactions="user_id,item_id,position\nu,a,2\nu,b,0\nu,c,1\n")
    info = prepare("tables", source, tmp_path / "out")
    assert info["order"] == "position"
    assert "timestamp" not in pd.read_parquet(tmp_path / "out/interactions.parquet")
    assert info["splits"]["global_time"]["sha256"] is None
    assert histories(tmp_path / "out") == {"u": ["b", "c", "a"]}
    with pytest.raises(InputError, match="global_time needs a timestamp"):
        prepare("tables", source, tmp_path / "timed", options=DataConfig(split="global_time"))


FAULTS = {
    "no rows": (None, "user_id,item_id,timestamp\n", "the interactions are empty"),
    "no items": ("item_id,title\n", None, "the items are empty.*list at least two"),
    "empty file": ("", None, r"items\.csv is empty"),
    "no item column": (None, "user_id,timestamp\nu,1\n", r"no column 'item_id' \(found: user_id, timestamp\)"),
    "no title": ("item_id,name\na,A\n", None, r"no column 'title' \(found: item_id, name\)"),
    "all dropped": (None, "user_id,item_id\nu,x\nu,y\n", r"nothing is left of 2 rows; dropped: unknown item 2 \(first"),
    "listed twice": ("item_id,title\na,A\na,B\n", None, r"items\.csv row 3: item_id 'a' occurs twice"),
    "times": (None, "user_id,item_id,timestamp\nu,a,soon\nu,b,later\n", r"no time can be read \(first: .*row 2: 'soon'"),
    "short": (None, "user_id,item_id,timestamp\nu,a,1\nu,b,2\n", "leaves no user to test"),
    "binary": (None, b"user_id,item_id\nu,a\nv\xe9,b\n", r"interactions\.csv is not UTF-8 \(row 3, byte 21 is 0xe9\)"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_structural_fault_is_one_sentence_and_writes_nothing(
    fault: str, make_tables, tmp_path: Path
) -> None:
    items, rows, message = FAULTS[fault]
    given = {key: value for key, value in (("items", items), ("interactions", rows)) if value is not None}
    source = make_tables(**given)
    with pytest.raises(InputError, match=message) as caught:
        prepare("tables", source, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_wrong_names_and_places_are_told(make_tables, tmp_path: Path) -> None:
    source = make_tables()
    with pytest.raises(InputError, match="no reader 'movielense': did you mean 'movielens'"):
        prepare("movielense", source, tmp_path / "out")
    with pytest.raises(InputError, match="does not exist"):
        prepare("tables", tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(InputError, match="reader tables needs a source"):
        prepare("tables", None, tmp_path / "out")
    with pytest.raises(InputError, match="the source's own folder"):
        prepare("tables", source, source)
    with pytest.raises(InputError, match="is a file"):
        prepare("tables", source, source / "items.csv")
    with pytest.raises(InputError, match="no option 'colums': did you mean 'columns'"):
        prepare("tables", source, tmp_path / "out", options=DataConfig(options={"colums": {}}))


def test_a_stop_between_two_files_leaves_no_dataset(
    make_tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = make_tables(), tmp_path / "out"
    prepare("tables", source, out)
    real = module.write_parquet

    def full_disk(target: Path, frame: pd.DataFrame) -> None:
        if target.name == "interactions.parquet":
            raise InputError("the disk is full")
        real(target, frame)

    monkeypatch.setattr(module, "write_parquet", full_disk)
    with pytest.raises(InputError, match="disk is full"):
        prepare("tables", source, out, options=DataConfig(repeats="first"))
    with pytest.raises(InputError, match="not a prepared dataset"):
        load_dataset(out)
    monkeypatch.undo()
    prepare("tables", source, out)
    assert load_dataset(out).n_users == 2


def test_killed_at_any_moment_the_folder_is_whole_or_no_dataset(make_tables, tmp_path: Path) -> None:
    rows = "".join(f"u{i % 500},{'abcd'[i % 4]},{i}\n" for i in range(40_000))
    source, out = make_tables(interactions="user_id,item_id,timestamp\n" + rows), tmp_path / "out"
    code = (
        "import sys; from pathlib import Path; from guided_refine.data.prepare import prepare\n"
        "print('go', flush=True); prepare('tables', Path(sys.argv[1]), Path(sys.argv[2])); print('done', flush=True)"
    )
    for moment in (0.05, 0.2, 0.35, 0.5):
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(source), str(out)], stdout=subprocess.PIPE, env={**os.environ}
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if (out / "info.json").exists():
            assert load_dataset(out).n_users == 500
    prepare("tables", source, out)
    assert load_dataset(out).n_users == 500


def test_ml_latest_small_counts_are_those_of_its_readme(shared: Path, tmp_path: Path) -> None:
    source = shared / "data/ml_latest_small"
    info = prepare("tables", source, tmp_path / "all", strict=True)
    assert (info["users"], info["items"], info["interactions"]) == (610, 9724, 100836)
    options = DataConfig(k_core=5, options={"extra_items": ["items_extra_plot.csv.gz"], "article_last": True})
    info = prepare("tables", source, tmp_path / "core", options=options)
    assert (info["users"], info["items"], info["interactions"]) == (610, 3650, 90274)
    items = pd.read_parquet(tmp_path / "core/items.parquet").set_index("item_id")
    assert items["plot"].str.len().gt(0).sum() > 1000
    assert items.loc["11", "title"] == "The American President (1995)"


@pytest.mark.parametrize(
    ("folder", "users", "items", "interactions"),
    [
        ("amazon_video_games", 30_000, 16_823, 261_751),
        ("amazon_office_products", 3_231, 3_317, 21_290),
        ("steam_reviews", 21_768, 2_503, 44_112),
        ("ml_1m", 6_040, 3_416, 999_611),
    ],
)
def test_real_sets_have_the_counts_their_source_says(
    shared: Path, tmp_path: Path, folder: str, users: int, items: int, interactions: int
) -> None:
    info = prepare("tables", shared / "data" / folder, tmp_path / "out", strict=True)
    assert (info["users"], info["items"], info["interactions"]) == (users, items, interactions)


def test_whole_numbers_of_a_parquet_source_stay_whole_numbers(tmp_path: Path) -> None:
    pd.DataFrame({"item_id": [10, 20, 30], "title": ["A", "B", "C"]}).to_parquet(tmp_path / "items.parquet")
    rows = pd.DataFrame({"user_id": ["7"] * 3 + ["8"] * 3, "item_id": [10, 20, 30, 30, 20, 10]})
    rows.to_parquet(tmp_path / "interactions.parquet")
    info = prepare("tables", tmp_path, tmp_path / "out")
    assert info["id_types"] == {"item_id": "int64"}
    assert load_dataset(tmp_path / "out").id_types == {"item_id": "int64"}
    rows.to_csv(tmp_path / "interactions.csv", index=False)
    (tmp_path / "interactions.parquet").unlink()
    assert "id_types" not in prepare("tables", tmp_path, tmp_path / "csv")
