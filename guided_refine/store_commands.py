"""`guided-refine store info|verify|export|gc`: looking after a score store from the command line."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from guided_refine.errors import InputError
from guided_refine.files import read_json, to_json
from guided_refine.runfolder import RunFolder

_FORM = "a store's file, a run folder, or postgresql://USER@HOST:PORT/DATABASE"


def add_store_verbs(
    store: argparse.ArgumentParser, common: Callable[[argparse.ArgumentParser], None]
) -> None:
    """Add the four verbs below `guided-refine store`; `common` adds what every command has."""
    inner = store.add_subparsers(
        dest="what", required=True, metavar="info|verify|export|gc", parser_class=type(store)
    )
    verbs: dict[str, tuple[str, Callable[[argparse.Namespace], None]]] = {
        "info": ("what a store holds, by model, adapter and attribute", _info),
        "verify": ("look for damage, values out of range and orphaned rows", _verify),
        "export": ("write all scores with readable names into one table", _export),
        "gc": ("count, and with --delete delete, scores that are old or that no run needs", _gc),
    }
    parsers = {}
    for name, (text, do) in verbs.items():
        parsers[name] = p = inner.add_parser(name, help=text, description=text)
        p.add_argument("address", metavar="STORE", help=_FORM)
        common(p)
        p.set_defaults(do=do)
    parsers["verify"].add_argument(
        "--mend", action="store_true", help="delete faulty rows; they are scored again when they are needed"
    )
    parsers["export"].add_argument(
        "--out", type=Path, required=True, metavar="FILE", help=".parquet, .csv or .csv.gz"
    )
    gc = parsers["gc"]
    gc.add_argument(
        "--keep", nargs="+", type=Path, metavar="RUN", help="what none of these runs reads may go"
    )
    gc.add_argument("--older-than", type=_days, metavar="DAYS", help="what was scored before that may go")
    gc.add_argument("--delete", action="store_true", help="delete it; without this it is only counted")


def _open(address: str) -> Any:
    from guided_refine.scoring.store import ScoreStore

    if "://" not in address and Path(address).is_dir():
        folder = RunFolder(address)
        return ScoreStore(folder.config().store or folder.store, create=False)
    return ScoreStore(address, create=False)


def _info(args: argparse.Namespace) -> None:
    from guided_refine.scoring.store.info import format_info, info

    with _open(args.address) as store:
        facts = info(store)
    print(to_json(facts) if args.json else format_info(facts))


def _verify(args: argparse.Namespace) -> None:
    from dataclasses import asdict

    from guided_refine.scoring.store.verify import verify

    with _open(args.address) as store:
        findings = verify(store, mend=args.mend)
        name, count = store.name, store.count()
    if args.json:
        print(to_json([asdict(finding) for finding in findings]))
    else:
        for finding in findings:
            print(f"{finding.rows:,} {finding.what}")
    if findings and not args.mend:
        again = f"guided-refine store verify {shlex.quote(args.address)} --mend"
        raise InputError(f"{name} has faulty rows; delete them, to be scored again, with: {again}")
    if not args.json:
        print(f"{name}: {'mended' if findings else 'sound'}, {count:,} scores")


def _export(args: argparse.Namespace) -> None:
    from guided_refine.scoring.store.export import check_format, export

    check_format(args.out)
    with _open(args.address) as store:
        rows = export(store, args.out)
    print(to_json({"file": str(args.out), "rows": rows}) if args.json else f"{args.out}: {rows:,} scores")


def _gc(args: argparse.Namespace) -> None:
    from guided_refine.scoring.store.clearing import clear

    keep = None if args.keep is None else [ref for run in args.keep for ref in references(run)]
    with _open(args.address) as store:
        found = clear(store, keep=keep, older_than_days=args.older_than, delete_them=args.delete)
        name = store.name
    if args.json:
        print(to_json({"store": name, **found}))
    elif args.delete:
        print(f"{name}: {found['scores']:,} of {found['of']:,} scores were deleted")
    else:
        more = "; add --delete to delete them" if found["scores"] else ""
        print(f"{name}: {found['scores']:,} of {found['of']:,} scores may go{more}")


def references(run: Path) -> list[Any]:
    """What a finished run reads from its store, one `Reference` per source.

    Raises `InputError` when the folder is no run, or was scored before runs noted which rows are theirs.
    """
    from guided_refine.scoring.store.clearing import Reference

    folder = RunFolder(run)
    folder.config()
    found = []
    for source in ("untuned", "tuned"):
        if not folder.scores(source).exists():
            continue
        summary = read_json(folder.scores(source).with_suffix(".json"))
        if not isinstance(summary, dict) or not summary.get("fingerprint"):
            raise InputError(
                f"{run} was scored by an earlier version, which did not note which scores it reads; "
                "clear by age alone (--older-than DAYS), or score it again first"
            )
        found.append(Reference(summary["fingerprint"], frozenset(summary["attribute_keys"])))
    if not found:
        raise InputError(f"{run} has no scores yet, so nothing says which it reads; leave it out of --keep")
    return found


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = -1.0
    if not 0 <= days < 1e6:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of days")
    return days
