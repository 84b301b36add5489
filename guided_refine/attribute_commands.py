"""`guided-refine attributes list|propose`: the sets that come with the package, and a draft for one's own catalog."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guided_refine.errors import InputError
from guided_refine.files import atomic_path, to_json, write_parquet

if TYPE_CHECKING:
    from guided_refine.data.dataset import Dataset
    from guided_refine.scoring.propose import Proposal


def add_attribute_verbs(
    attributes: argparse.ArgumentParser,
    common: Callable[[argparse.ArgumentParser], None],
    path: Callable[[str], Path],
) -> None:
    """Add the verbs below `guided-refine attributes`; `common` adds what every command has, `path` reads a path."""
    inner = attributes.add_subparsers(
        dest="what", required=True, metavar="list|propose", parser_class=type(attributes)
    )
    p = inner.add_parser("list", help="the attribute sets that come with the package")
    common(p)
    p.set_defaults(do=_list)
    text = "draft attributes from the texts of a catalog: what its items are about, to be read and edited"
    p = inner.add_parser("propose", help=text, description=text)
    p.add_argument("dataset", type=path, metavar="DATASET", help="a prepared dataset, or a run")
    p.add_argument("--count", type=int, default=12, metavar="N", help="at most so many (default: 12)")
    p.add_argument("--out", type=path, required=True, metavar="FILE", help="a new .yaml file")
    text = "also write how much of each topic every item has: a table that `llm_options.teacher: {distil: FILE}` takes"
    p.add_argument("--scores", type=path, metavar="FILE", help=text + "; a new .parquet file")
    common(p)
    p.set_defaults(do=_propose)


def _list(args: argparse.Namespace) -> None:
    from guided_refine.scoring.attributes import available, load_attributes

    sets = [load_attributes(name) for name in available()]
    if args.json:
        print(to_json([{"name": s.domain, "attributes": s.names} for s in sets]))
        return
    for one in sets:
        print(f"{one.domain:16} {', '.join(one.names)}")


def _propose(args: argparse.Namespace) -> None:
    import yaml

    from guided_refine.data.dataset import load_dataset
    from guided_refine.scoring.propose import propose_attributes, topic_scores

    if args.out.suffix not in (".yaml", ".yml"):
        raise InputError(f"--out {args.out} must end in .yaml")
    if args.out.exists():
        raise InputError(f"--out {args.out} is there already; give another name, it may have been edited")
    if args.scores is not None and args.scores.suffix != ".parquet":
        raise InputError(f"--scores {args.scores} must end in .parquet")
    if args.scores is not None and args.scores.exists():
        raise InputError(f"--scores {args.scores} is there already; give another name")
    folder = args.dataset / "data" if (args.dataset / "data").is_dir() else args.dataset
    dataset = load_dataset(folder)
    proposal = propose_attributes(dataset.texts, args.count)
    body = yaml.safe_dump(
        proposal.attribute_set(args.out.stem).model_dump(mode="json"),
        sort_keys=False,
        allow_unicode=True,
        width=120,
    )
    with atomic_path(args.out) as path:
        path.write_text(body, encoding="utf-8")
        if (
            args.scores is not None
        ):  # first: where this fails there is no draft either, and the command can be typed again
            write_parquet(args.scores, topic_scores(proposal, dataset.item_ids.tolist()))
    rows = _rows(proposal, dataset)
    if args.json:
        print(to_json({"file": str(args.out), "attributes": rows}))
        return
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        print(f"{row['name']:{width}}  {row['share']:4.0%}  e.g. {' | '.join(row['examples'])}")
    fewer = f" (of {args.count}: the texts hold no more that differ)" if len(rows) < args.count else ""
    print(f"{args.out}: {len(rows)} attributes{fewer}. Read and edit it, then name it as `attributes:`.")


def _rows(proposal: Proposal, dataset: Dataset) -> list[dict[str, Any]]:
    titles = dataset.items["title"].astype(str).tolist()
    return [
        {
            "name": topic.attribute.name,
            "share": round(topic.share, 4),
            "examples": [" ".join(titles[i].split())[:60] for i in topic.examples],
        }
        for topic in proposal.topics
    ]
