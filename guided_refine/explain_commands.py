"""`guided-refine explain` and `export`: what a run's recommendations come from, from the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from guided_refine.errors import InputError
from guided_refine.files import to_json
from guided_refine.progress import Progress


def add_explain_verb(p: argparse.ArgumentParser, common: Callable[[argparse.ArgumentParser], None]) -> None:
    """Arguments of `explain`; `common` adds what every command has."""
    p.add_argument("run", type=Path, metavar="RUN")
    p.add_argument(
        "--user", metavar="U", help="explain this user's list; without it the run's explanations are tried"
    )
    p.add_argument("--item", metavar="I", help="explain this item too")
    p.add_argument("--k", type=_count, default=None, help="how many items (default: explain.k)")
    p.add_argument("--instead-of", metavar="J", help="why --item and not this one")
    p.add_argument(
        "--taste",
        action="append",
        default=[],
        metavar="NAME=SCORE",
        help="the list with another user score, 0 to 1",
    )
    p.add_argument(
        "--item-score",
        action="append",
        default=[],
        metavar="NAME=SCORE",
        help="the list with another score of --item, 0 to 1",
    )
    p.add_argument(
        "--more", action="append", default=[], metavar="NAME", help="the list with more of an attribute"
    )
    p.add_argument("--less", action="append", default=[], metavar="NAME", help="the list with less of it")
    p.add_argument(
        "--smallest",
        action="store_true",
        help="the smallest change that brings --item into the list, or out of it",
    )
    p.add_argument(
        "--through-encoder",
        action="store_true",
        help="what attributes and past events did to --item (default: the first) on their way through the model",
    )
    p.add_argument(
        "--sample", type=_count, default=None, metavar="N", help="users to try explanations on (100)"
    )
    common(p)
    p.set_defaults(do=_explain)


def add_export_verb(
    p: argparse.ArgumentParser,
    common: Callable[[argparse.ArgumentParser], None],
    path: Callable[[str], Path],
) -> None:
    """Arguments of `export`; `path` reads a path and refuses an empty one."""
    p.add_argument("run", type=Path, nargs="?", metavar="RUN")
    p.add_argument("--user", metavar="U", help="one case study")
    p.add_argument("--item", metavar="I", help="with --user: say where this item stands too")
    p.add_argument(
        "--users", type=path, metavar="FILE", help="one each: an id a line, or a table with a column user_id"
    )
    p.add_argument(
        "--most-moved",
        type=_count,
        nargs="?",
        const=0,
        metavar="N",
        help="one each for the users whose lists differ most from the base's (20)",
    )
    p.add_argument("--k", type=_count, default=None, help="how many items (default: explain.k)")
    p.add_argument(
        "--format", choices=["html", "json", "md", "png"], help="default: what --out ends in, else html"
    )
    p.add_argument(
        "--direct-only",
        action="store_true",
        help="without the view through the encoder: quicker for many users",
    )
    p.add_argument("--out", type=path, metavar="FILE|FOLDER", help="a file for --user, else a folder")
    p.add_argument("--schema", action="store_true", help="print the JSON schema of a case study")
    common(p)
    p.set_defaults(do=_export)


#: What a plain wish weighs: half as much as all else together, see `WhatIf.steered`.
WISH = 0.5


def _explain(args: argparse.Namespace) -> None:
    asked = [args.item, args.instead_of, *args.taste, *args.item_score, *args.more, *args.less, args.k]
    if args.user is None:
        if args.smallest or args.through_encoder or any(one is not None for one in asked):
            raise InputError(
                "--item, --k, --instead-of, --taste, --item-score, --more, --less, --smallest and --through-encoder need "
                "--user U"
            )
        _try(args)
        return
    if args.sample is not None:
        raise InputError("--sample is for explanations of a run; leave out --user or --sample")
    from guided_refine.explain.explainer import Explainer
    from guided_refine.explain.questions import Question, ask, format_answer
    from guided_refine.explain.text import explanation, format_explanation

    explainer = Explainer.open(args.run)
    question = Question(
        item=args.item,
        instead_of=args.instead_of,
        scores=_once("--taste", [_pair("--taste", text) for text in args.taste]),
        item_scores=_once("--item-score", [_pair("--item-score", text) for text in args.item_score]),
        wishes=_once(
            "--more and --less",
            [*((name, WISH) for name in args.more), *((name, -WISH) for name in args.less)],
        ),
        smallest=args.smallest,
        encoder=args.through_encoder,
    )
    if question.instead_of or question.other_list or question.smallest or question.encoder:
        answer = ask(explainer, args.user, question, args.k or explainer.config.explain.k)
        print(to_json(answer) if args.json else format_answer(answer))
        return
    answer = explanation(explainer, args.user, item=args.item, k=args.k)
    print(to_json(answer) if args.json else format_explanation(answer))


def _try(args: argparse.Namespace) -> None:
    from guided_refine.explain.trial_report import FOLDER, explain_run, format_trial, users_tried

    before = users_tried(args.run)
    found = explain_run(args.run, users=args.sample or 100, progress=Progress(quiet=args.quiet))
    if args.json:
        print(to_json(found))
    else:
        print(format_trial(found))
        told = "" if before is None else f" (in place of those of {before} users that lay there)"
        print(f"Plots and numbers: {args.run / FOLDER}{told}")


def _export(args: argparse.Namespace) -> None:
    asked = [args.user is not None, args.users is not None, args.most_moved is not None]
    if args.schema:
        from guided_refine.explain.cases.schema import case_schema

        if any(asked) or args.run or args.out:
            raise InputError(
                "--schema prints the schema and needs nothing else; leave out RUN and the other options"
            )
        print(to_json(case_schema()))
        return
    if args.run is None:
        raise InputError("name the run folder: guided-refine export RUN --user U --out FILE")
    if sum(asked) != 1:
        raise InputError("name one of --user U, --users FILE and --most-moved N")
    if args.out is None:
        raise InputError(f"say where to write: --out {'FILE' if args.user is not None else 'FOLDER'}")
    if args.user is None:
        _export_many(args)
        return
    from guided_refine.explain.export import export_case

    format = _format(args.out, args.format)
    path = export_case(
        args.run, args.user, format, args.out, item=args.item, k=args.k, encoder=not args.direct_only
    )
    print(to_json({"file": str(path)}) if args.json else path)


def _export_many(args: argparse.Namespace) -> None:
    from guided_refine.explain.export import MOST_MOVED, export_cases, export_most_moved

    if args.item is not None:
        raise InputError("--item goes with --user U; leave it out")
    format = args.format or "html"
    more: dict[str, Any] = {
        "k": args.k,
        "encoder": not args.direct_only,
        "progress": Progress(quiet=args.quiet),
    }
    if args.users is not None:
        written = export_cases(args.run, args.users, format, args.out, **more)
    else:
        written = export_most_moved(args.run, args.most_moved or MOST_MOVED, format, args.out, **more)
    if args.json:
        files = {user: str(path) for user, path in written.files.items()}
        print(to_json({"index": str(written.index), "files": files}))
    else:
        print(written.index)


def _pair(option: str, text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError as error:
        raise InputError(f"{option} {text}: expected NAME=SCORE, such as humour=0.9") from error


def _once(option: str, pairs: list[tuple[str, float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in pairs:
        if name in found:
            raise InputError(f"'{name}' stands more than once in {option}; name it once")
        found[name] = value
    return found


def _format(out: Path, given: str | None) -> str:
    """The format of a file: what `--format` says, else what its name ends in; HTML where it ends in nothing."""
    from guided_refine.explain.export import FORMATS

    ending = out.suffix.removeprefix(".").lower()
    if given is not None:
        return given
    format = {"": "html", "htm": "html"}.get(ending, ending)
    if format not in FORMATS:
        raise InputError(
            f"--out {out} ends in '.{ending}', which is none of .html, .json, .md and .png; rename it, or add --format"
        )
    return format


def _count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return number
