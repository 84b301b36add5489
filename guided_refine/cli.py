"""The command line: `guided-refine VERB ...`. Each verb calls one public function.

Exit codes: 0 done; 2 the input or the config is wrong (one sentence on standard error); 143 stopped by SIGTERM;
1 anything else.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from guided_refine import __version__
from guided_refine.attribute_commands import add_attribute_verbs
from guided_refine.config_file import load_config
from guided_refine.errors import InputError, nearest
from guided_refine.explain_commands import add_explain_verb, add_export_verb
from guided_refine.files import is_disk_full, read_json, read_parquet, to_json
from guided_refine.processes import launched
from guided_refine.progress import Progress
from guided_refine.store_commands import add_store_verbs

STAGES = {"run": "report", "score": "score", "tune": "tune", "train": "train", "refine": "refine"}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise InputError(f"{message}; see: {self.prog} --help")


class _Terminated(KeyboardInterrupt):
    """SIGTERM came; it ends the work in the same way as Ctrl-C."""


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM unwind the work, so that workers are ended and files given back; a second one ends it at once."""

    def end(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise _Terminated

    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
    ):
        yield  # whoever called has a way of its own
        return
    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        args = _parser().parse_args(argv)
        if args.verb not in STAGES and launched().count > 1:
            raise InputError(
                f"guided-refine {args.verb} runs in one process; call it without the launcher, which is for "
                f"{', '.join(STAGES)}"
            )
        _silence_libraries(quiet=args.quiet)
        with _ended_by_sigterm():
            code = int(args.do(args) or 0)
            sys.stdout.flush()
            return code
    except InputError as error:
        # One line, even where an id or a path holds a line break.
        print("guided-refine:", *str(error).splitlines(), file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        # Nearly every write says this for itself, with the file's name; this is for what libraries write.
        if not is_disk_full(error):
            raise
        print(
            f"guided-refine: the disk is full ({error.filename or 'a temporary file'}); free some space and run the "
            "same command again, it continues where this stopped",
            file=sys.stderr,
        )
        return 2
    except _Terminated:
        print("guided-refine: terminated; the same command continues where this stopped", file=sys.stderr)
        return 128 + signal.SIGTERM
    except KeyboardInterrupt:
        print("guided-refine: interrupted; the same command continues where this stopped", file=sys.stderr)
        return 1


def _silence_libraries(*, quiet: bool) -> None:
    """Keep what libraries tell their developers off the screen; with `quiet`, every warning."""
    import logging
    import warnings

    warnings.simplefilter("ignore", FutureWarning)
    if quiet:
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="guided-refine", description="Recommenders that can say why.")
    parser.add_argument("--version", action="version", version=f"guided-refine {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=_Parser)

    texts = {
        "run": "do everything a config asks for; continue a killed run, skip what is up to date",
        "score": "score items and users with the untuned language model",
        "tune": "tune the LoRA adapter and score again",
        "train": "train the base backbones",
        "refine": "train refined variants and controls, write the refined tables",
    }
    for verb, text in texts.items():
        p = verbs.add_parser(verb, help=text, description=text)
        p.add_argument("config", type=_path, metavar="CONFIG")
        p.add_argument("--out", type=_path, metavar="RUN", help="run folder (default: runs/NAME)")
        p.add_argument(
            "--set", action="append", default=[], metavar="KEY=VALUE", help="override a config key"
        )
        p.add_argument(
            "--update", action="store_true", help="take over a run of another config; redo what changed"
        )
        p.add_argument(
            "--strict", action="store_true", help="faulty rows stop the run instead of being dropped"
        )
        p.add_argument(
            "--jobs", type=_positive, metavar="N", help="models trained at once (default: one per core)"
        )
        if verb == "score":
            p.add_argument(
                "--dry-run",
                action="store_true",
                help="say how many scores are missing and what they cost; score none",
            )
        _common(p)
        p.set_defaults(do=_run, dry_run=False)

    data = verbs.add_parser("data", help="list readers, prepare a dataset, describe one")
    inner = data.add_subparsers(dest="what", required=True, metavar="list|prepare|info", parser_class=_Parser)
    p = inner.add_parser("list", help="the readers that exist")
    _common(p)
    p.set_defaults(do=_data_list)
    p = inner.add_parser("prepare", help="read SOURCE with reader NAME and write a prepared dataset")
    p.add_argument("name", metavar="NAME")
    p.add_argument("source", type=_path, nargs="?", metavar="SOURCE")
    p.add_argument("--out", type=_path, required=True, metavar="DIR")
    p.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a key of the config's data section"
    )
    p.add_argument("--strict", action="store_true", help="faulty rows stop instead of being dropped")
    _common(p)
    p.set_defaults(do=_data_prepare)
    p = inner.add_parser("info", help="what a prepared dataset holds, and what was dropped and why")
    p.add_argument("dir", type=_path, metavar="DIR")
    _common(p)
    p.set_defaults(do=_data_info)

    p = verbs.add_parser(
        "evaluate", help="recompute a run's test metrics from its weights, or hold scores against truth"
    )
    p.add_argument("run", type=_path, metavar="RUN")
    p.add_argument("--truth", type=_path, metavar="FILE", help="item_id, attribute, value")
    p.add_argument("--map", type=_path, metavar="FILE", help="their attribute names to ours")
    p.add_argument(
        "--restart", action="store_true", help="train a reference a third longer: had it converged?"
    )
    p.add_argument("--keep", action="store_true", help="write what --restart finds into reference.json")
    _common(p)
    p.set_defaults(do=_evaluate)

    p = verbs.add_parser("explain", help="why these items for this user; are the explanations true?")
    add_explain_verb(p, _common)

    p = verbs.add_parser("export", help="a case study as one file")
    add_export_verb(p, _common, _path)

    p = verbs.add_parser("add-items", help="vectors for items that a run has never seen, from their texts")
    p.add_argument("run", type=_path, metavar="RUN")
    p.add_argument(
        "items", type=_path, metavar="ITEMS", help=".csv, .csv.gz or .parquet: item_id, title, more"
    )
    p.add_argument("--out", type=_path, required=True, metavar="FILE", help=".parquet or .csv")
    _common(p)
    p.set_defaults(do=_add_items)

    p = verbs.add_parser("store", help="what a score store holds, whether it is sound; export and clear it")
    add_store_verbs(p, _common)

    p = verbs.add_parser("attributes", help="the attribute sets there are; draft one for a catalog")
    add_attribute_verbs(p, _common, _path)

    p = verbs.add_parser("app", help="open the dashboard on a run")
    p.add_argument("run", type=_path, metavar="RUN")
    p.add_argument("--port", type=int, default=8501)
    p.add_argument("--headless", action="store_true", help="do not open a browser")
    _common(p)
    p.set_defaults(do=_app)

    p = verbs.add_parser("bench", help="measure against what one would use instead")
    p.add_argument("name", metavar="NAME")
    p.add_argument("--json", type=_path, dest="json_file", metavar="FILE", help="write the rows here")
    p.add_argument("--data", type=_path, metavar="DIR", help="a prepared dataset (default: generated)")
    p.add_argument("--models", type=_names, metavar="A,B", help="backbones (default: all)")
    p.add_argument("--epochs", type=_positive, metavar="N")
    p.add_argument("--threads", type=_positive, metavar="N", help="for both sides (default: all cores)")
    p.add_argument("--out", type=_path, metavar="DIR", help="where figures and their numbers go")
    p.add_argument(
        "--llm", type=_path, metavar="DIR", help="a language model's folder (default: random weights)"
    )
    p.add_argument(
        "--dtype", choices=["float32", "bfloat16"], help="of the language model (default: bfloat16 on a GPU)"
    )
    p.add_argument("--quick", action="store_true", default=None, help="tiny sizes, to see that it runs")
    p.add_argument("--quiet", action="store_true")
    p.set_defaults(do=_bench)
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of 1 or more")
    return int(text)


def _path(text: str) -> Path:
    # Path("") is the current folder, which nobody means.
    if not text.strip():
        raise argparse.ArgumentTypeError("the path is empty")
    return Path(text)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress display")


def _print(value: Any) -> None:
    print(to_json(value, default=str))


def _run(args: argparse.Namespace) -> None:
    from guided_refine.pipeline import run

    config = load_config(args.config, args.set)
    out = args.out or Path("runs") / config.name
    if args.dry_run:
        from guided_refine.pipeline.estimate import estimate_run

        cost = estimate_run(config, out, config_folder=args.config.parent, strict=args.strict)
        _print(cost.to_json()) if args.json else print(cost.sentence())
        return
    folder = run(
        config,
        out,
        config_folder=args.config.parent,
        until=STAGES[args.verb],  # type: ignore[arg-type]
        strict=args.strict,
        update=args.update,
        jobs=args.jobs,
        progress=Progress(quiet=args.quiet),
    )
    if not launched().first:
        return
    if args.json:
        rows = read_json(folder.metrics) if folder.metrics.exists() else []
        _print({"run": str(folder.root), "rows": rows})
    elif args.verb == "run":
        from guided_refine.reporting.table import console_table

        print(console_table(folder.root))
        print(f"Report: {folder.report}")
        if folder.refined_users.exists():
            where = shlex.quote(str(folder.root))
            user = shlex.quote(str(read_parquet(folder.refined_users)["user_id"].iloc[0]))
            print(f"To look at it: guided-refine app {where}")
            print(f"Why these items: guided-refine explain {where} --user {user}")
    else:
        print(f"{args.verb}: done in {folder.root}")


def _data_list(args: argparse.Namespace) -> None:
    from guided_refine.data.readers import DESCRIPTIONS

    if args.json:
        _print(DESCRIPTIONS)
    else:
        for name, text in DESCRIPTIONS.items():
            print(f"{name:10} {text}")


def _data_prepare(args: argparse.Namespace) -> None:
    from guided_refine.config_file import parse_data_config
    from guided_refine.data.info import describe, format_info
    from guided_refine.data.prepare import prepare

    options = parse_data_config(args.set)
    prepare(
        args.name,
        args.source,
        args.out,
        options=options,
        strict=args.strict,
        progress=Progress(quiet=args.quiet),
    )
    facts = describe(args.out)
    _print(facts) if args.json else print(format_info(facts))


def _data_info(args: argparse.Namespace) -> None:
    from guided_refine.data.info import describe, format_info

    facts = describe(args.dir)
    _print(facts) if args.json else print(format_info(facts))


def _evaluate(args: argparse.Namespace) -> int:
    """1 when recorded numbers do not come back, else 0."""
    if args.map and not args.truth:
        raise InputError("--map needs --truth FILE")
    if args.keep and not args.restart:
        raise InputError("--keep needs --restart")
    if args.truth:
        from guided_refine.evaluation.truth import compare_with_truth, format_truth

        answer = compare_with_truth(args.run, args.truth, args.map)
        _print(answer) if args.json else print(format_truth(answer))
        return 0
    from guided_refine.check import check_run, format_check
    from guided_refine.reference import check_reference, format_restart, is_reference, restart_reference

    if args.restart:
        if not is_reference(args.run):
            raise InputError(f"{args.run} is no reference; for a run set evaluate.warm_restart")
        found = restart_reference(args.run, keep=args.keep, progress=Progress(quiet=args.quiet))
        _print(found) if args.json else print(format_restart(found))
        return 0
    check = check_reference if is_reference(args.run) else check_run
    rows = check(args.run, progress=Progress(quiet=args.quiet))
    _print(rows) if args.json else print(format_check(rows))
    return int(not all(row["agrees"] for row in rows))


def _add_items(args: argparse.Namespace) -> None:
    from guided_refine.files import atomic_path, write_parquet

    if args.out.suffix not in (".parquet", ".csv"):
        raise InputError(f"--out {args.out} must end in .parquet or .csv")
    from guided_refine.refine.new_items import add_items

    rows = add_items(args.run, args.items, progress=Progress(quiet=args.quiet)).rows
    if args.out.suffix == ".parquet":
        write_parquet(args.out, rows)
    else:
        with atomic_path(args.out) as path:
            rows.to_csv(path, index=False)
    _print({"file": str(args.out), "items": len(rows)}) if args.json else print(args.out)


def _app(args: argparse.Namespace) -> int:
    from guided_refine.dashboard import serve

    return serve(args.run, port=args.port, headless=args.headless)


def _bench(args: argparse.Namespace) -> None:
    from guided_refine.bench import BENCHES, run_bench

    if args.name not in BENCHES:
        raise InputError(f"no bench '{args.name}': {nearest(args.name, BENCHES)}")
    offered = ("data", "models", "epochs", "threads", "out", "llm", "dtype", "quick")
    options = {key: getattr(args, key) for key in offered}
    run_bench(args.name, json_file=args.json_file, progress=Progress(quiet=args.quiet), **options)


if __name__ == "__main__":
    sys.exit(main())
