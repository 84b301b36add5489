"""Keep what `attribute_curve.py` found, without the models: rows, differences, names of the topics, and a picture.

python experiments/curve_results.py RUN OUT experiments/guided/results --name office_curve --ours topics-64-lent

RUN and OUT as there. Writes NAME.json, of which `tables.py` makes a table of docs/results.md, NAME.png, and
NAME_deciles.png: the gain by how often the item to predict occurs in training.
"""

from __future__ import annotations

import argparse
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from attribute_curve import ABOUT, DONE, LENT

from guided_refine.data.dataset import Dataset, load_as
from guided_refine.evaluation.rows import compare
from guided_refine.files import read_json, read_parquet, write_json
from guided_refine.reporting.palette import BLACK, BLUE, GREEN, GREY, ORANGE, PINK, SKY, VERMILION
from guided_refine.reporting.plots import plot_deciles
from guided_refine.reporting.style import label, new_figure, save, styled
from guided_refine.runfolder import RunFolder
from guided_refine.scoring.propose import propose_attributes

HEADLINE = ["ndcg@10", "recall@10", "mrr"]
KINDS = {
    "topics": (BLUE, "topics, added"),
    "words": (ORANGE, "word counts' directions, added"),
    "shuffled": (VERMILION, "topics of other items, added"),
    "trained": (PINK, "as many trained columns, added"),
    "topics-lent": (SKY, "topics, and cold items lent"),
    "words-lent": (GREEN, "word counts' directions, and cold items lent"),
    "columns": (BLACK, "topics in the place of columns"),
}
LINES = ("topics", "words")


def kept(dataset: Dataset, out: Path, ours: str) -> dict[str, Any]:
    """All that a table or a picture needs; `ours` is the table that is held against all others."""
    per_user = read_parquet(out / "per_user.parquet")
    done = sorted((out / "units").glob(f"*/*/seed*/{DONE}"), key=_in_order)
    cells = {path.parent: read_json(path) for path in done}
    rows = [
        read_json(cell / "row.json") | {"validation_ndcg@10": about["validation_ndcg@10"]}
        for cell, about in cells.items()
    ]
    if ours not in {row["variant"] for row in rows}:
        raise SystemExit(f"{out} has no cell of {ours}; name one of its tables with --ours")
    numbers = sorted(
        {int(row["variant"].split("-")[1]) for row in rows if row["variant"].startswith("topics")}
    )
    pairs = sorted(
        {(row["backbone"], row["variant"]) for row in rows} - {(row["backbone"], ours) for row in rows}
    )
    return {
        **read_json(out / ABOUT),
        "versions": {name: version(name) for name in ("guided-refine", "torch")},
        "refined": ours,
        "rows": rows,
        "differences": read_json(out / "differences.json"),
        "refined_against": [
            row
            for backbone, variant in pairs
            if variant != "base"
            for row in compare(per_user, backbone, ours, variant, metrics=HEADLINE)
        ],
        "topics": {
            n: [topic.attribute.name for topic in propose_attributes(dataset.texts, n).topics]
            for n in numbers
        },
        "stages": {
            "/".join(cell.parts[-3:]): {"train": about["train"], "machine": about["machine"]}
            for cell, about in cells.items()
        },
    }


def _in_order(cell: Path) -> list[int | str]:
    """By name, topics-4 before topics-16 and that before topics-16-shuffled."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", " ".join(cell.parts))]


@styled
def draw(found: dict[str, Any], path: Path) -> Path:
    """Change against the base by number of columns, one panel per backbone."""
    gains = pd.DataFrame(found["differences"]).query("metric == 'ndcg@10'")
    backbones = list(gains["backbone"].unique())
    figure, axes = new_figure(1, len(backbones), (3.4 + 3.2 * len(backbones), 4.0), sharey=True)
    shown: dict[str, Any] = {}
    for panel, backbone in zip(axes[0], backbones, strict=True):
        own = gains[gains["backbone"] == backbone]
        panel.axhline(0, color=GREY, linewidth=1)
        for row in own.to_dict("records"):
            source, number, *changed = row["variant"].split("-")
            kind = changed[0] if changed else source
            if row["variant"].endswith(LENT):
                # What shuffled scores lend moves nothing, and would hide what stands below it.
                if len(changed) > 1:
                    continue
                kind = f"{source}-lent"
            color, name = KINDS[kind]
            # What has as many columns stands beside each other.
            place = int(number) * 1.07 ** list(KINDS).index(kind)
            handle = panel.errorbar(
                place,
                row["mean"],
                [[row["mean"] - row["lower"]], [row["upper"] - row["mean"]]],
                fmt="o" if kind in LINES else "s",
                color=color,
                markersize=5,
                capsize=2,
            )
            shown[name] = handle
        for kind in LINES:
            line = own[own["variant"].str.fullmatch(rf"{kind}-\d+")]
            number = line["variant"].str.split("-").str[1].astype(int)
            order = number.argsort()
            places = number.iloc[order] * 1.07 ** list(KINDS).index(kind)
            panel.plot(places, line["mean"].iloc[order], color=KINDS[kind][0])
        panel.set_xscale("log", base=2)
        ticks = sorted({int(v.split("-")[1]) for v in own["variant"]})
        panel.set_xticks(ticks, [str(t) for t in ticks])
        panel.set_xlim(ticks[0] / 1.3, ticks[-1] * 2.2)
        panel.set_title(label(backbone))
        panel.set_xlabel("columns")
    axes[0][0].set_ylabel("change of NDCG@10 against the base")
    figure.legend(list(shown.values()), list(shown), loc="outside upper left", ncols=2, fontsize=9)
    return save(figure, path)


def draw_deciles(dataset: Dataset, out: Path, ours: str, path: Path) -> None:
    """Gain over the base by popularity of the target, `ours` beside its shuffled control, as a run's report has it."""
    lent = LENT if ours.endswith(LENT) else ""
    names = {"base": "base", ours: "refined", f"{ours.removesuffix(lent)}-shuffled{lent}": "shuffled"}
    per_user = read_parquet(out / "per_user.parquet")
    per_user = per_user[per_user["variant"].isin(names)].assign(
        variant=lambda rows: rows["variant"].map(names)
    )
    users, targets = dataset.targets("test")
    counts = dataset.train_counts()[targets - 1]
    plot_deciles(
        per_user, pd.Series(counts, index=np.asarray(dataset.user_ids, dtype=object)[users]), "ndcg@10", path
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("results", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--ours", default="topics-64", help="held against all others")
    args = parser.parse_args()
    folder = RunFolder(args.run)
    dataset = load_as(folder.data, folder.config().data)
    found = kept(dataset, args.out, args.ours)
    write_json(args.results / f"{args.name}.json", found)
    draw(found, args.results / f"{args.name}.png")
    draw_deciles(dataset, args.out, args.ours, args.results / f"{args.name}_deciles.png")
    print(f"{args.results / args.name}.json: {len(found['rows'])} rows")
