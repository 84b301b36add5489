"""Case studies of many users: a file each in one folder, and an index page that links them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from guided_refine.errors import InputError
from guided_refine.explain.cases.file_names import file_stem
from guided_refine.explain.cases.moved import distances, most_moved
from guided_refine.explain.cases.page import document, text
from guided_refine.explain.cases.shared import Shared
from guided_refine.explain.cases.study import number_of, study
from guided_refine.explain.cases.user_list import read_users
from guided_refine.explain.cases.words import item_name
from guided_refine.explain.cells import clip
from guided_refine.files import atomic_path, write_text
from guided_refine.progress import Progress
from guided_refine.runfolder import RunFolder

INDEX = "index.html"
SHOWN = 120


@dataclass(frozen=True)
class Written:
    """What a batch wrote: `index`, and `files` (user id -> path, in the order of the index)."""

    index: Path
    files: dict[str, Path]


def chosen(shared: Shared, users: Path | Sequence[str]) -> list[str]:
    """The users of a file (see `read_users`) or of a list, each once, all known and with a history.

    Raises `InputError` for the first one that is not, naming its line.
    """
    named = (
        read_users(users)
        if isinstance(users, Path)
        else [(str(user), f"user {n}") for n, user in enumerate(users, 1)]
    )
    head = f"{users}, " if isinstance(users, Path) else ""
    for user, place in named:
        try:
            number_of(shared.explainer, user)
        except InputError as error:
            raise InputError(f"{head}{place}: {error}") from error
    return list(dict.fromkeys(user for user, _ in named))


def moved_most(shared: Shared, count: int, k: int, progress: Progress | None = None) -> list[str]:
    """The `count` users whose refined top `k` is furthest from the base's, see `moved.distances`; ties in data order."""
    ids = shared.explainer.dataset.user_ids
    return [ids[user] for user in most_moved(distances(shared, k, progress), count)]


def write_cases(
    shared: Shared,
    users: Sequence[str],
    out: Path,
    render: Callable[[dict[str, Any]], bytes],
    ending: str,
    *,
    k: int,
    title: str,
    encoder: bool = True,
    progress: Progress | None = None,
) -> Written:
    """Write a case per user and, last, the index. Doing it again writes the same files again."""
    refuse_run_files(shared.explainer.folder, out)
    progress = progress or Progress(quiet=True)
    files: dict[str, Path] = {}
    rows = []
    with progress.bar("write case studies", total=len(users)) as task:
        for user in users:
            case = study(shared, user, k=k, encoder=encoder)
            path = out / f"{file_stem(user)}.{ending}"
            with atomic_path(path) as part:
                part.write_bytes(render(case))
            files[user] = path
            rows.append(_row(case, path.name))
            task.advance()
    index = out / INDEX
    write_text(index, _index(shared, title, rows))
    return Written(index, files)


def refuse_run_files(folder: RunFolder, out: Path) -> None:
    """Raise `InputError` where writing to `out`, a file or a folder, could replace what the run itself wrote."""
    root, target = folder.root.resolve(), out.resolve()
    if target != root and root not in target.parents:
        return
    first = (*target.relative_to(root).parts, "")[0]
    paths = [
        *(folder.config_file, folder.manifest_file, folder.log, folder.store, folder.remote_tokens),
        *(folder.data, folder.builtin, folder.summary, folder.score_table, folder.tuning, folder.truth),
        *(folder.unit("any", "any", 0), folder.baseline("any"), folder.root / "explain" / "trial.json"),
        *(folder.metrics, folder.per_user, folder.report, folder.refined_items, folder.refined_users),
        *(folder.root / name for entry in folder.manifest()["stages"].values() for name in entry["files"]),
    ]
    own = {"", ".lock", *(path.relative_to(folder.root).parts[0] for path in paths)}
    if first in own:
        raise InputError(
            f"--out {out} holds files of the run itself; choose a place of its own, such as cases"
        )


def _row(case: dict[str, Any], name: str) -> str:
    moved = case["moved"]
    told = "–" if moved is None else f"{moved['measure']:.2f}"
    new = "–" if moved is None else f"{moved['new']} of {moved['of']}"
    first = case["recommendations"][0] if case["recommendations"] else None
    return (
        f'<tr><td class="t"><a href="{quote(name)}"><bdi>{text(clip(case["user"], SHOWN))}</bdi></a></td>'
        f'<td class="n">{told}</td><td class="n">{new}</td>'
        f'<td class="t">{"–" if first is None else f"<bdi>{text(item_name(first, SHOWN))}</bdi>"}</td></tr>'
    )


def _index(shared: Shared, title: str, rows: Sequence[str]) -> str:
    about = shared.explainer.about
    return document(
        text(title),
        [
            f'<p class="note">Run {text(shared.provenance["run"])}, data {text(shared.explainer.dataset.name)}, '
            f"{text(about['backbone'])} refined, seed {about['seed']}; {len(rows)} case studies. Moved: one less the "
            "average overlap of the refined list with the base's, 0 for the same list, 1 for no common item.</p>",
            "<table><thead><tr><th>user</th><th class='n'>moved</th><th class='n'>new items</th><th>first recommendation"
            "</th></tr></thead>",
            *rows,
            "</table>",
        ],
    )
