"""Case studies as files: HTML that needs nothing else, JSON by a published schema, Markdown, or a picture.

Titles come from outside, so every format shows them as text: nothing in a title runs, links or formats.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from guided_refine.errors import InputError, nearest
from guided_refine.explain.cases.batch import Written, chosen, moved_most, refuse_run_files, write_cases
from guided_refine.explain.cases.page import case_page
from guided_refine.explain.cases.picture import case_picture
from guided_refine.explain.cases.schema import case_schema
from guided_refine.explain.cases.shared import Shared
from guided_refine.explain.cases.study import case_study, length_of
from guided_refine.explain.cases.text_page import case_markdown
from guided_refine.explain.explainer import Explainer
from guided_refine.files import atomic_path, to_json
from guided_refine.progress import Progress

__all__ = [
    "FORMATS",
    "MOST_MOVED",
    "case_schema",
    "case_study",
    "cases_archive",
    "export_case",
    "export_cases",
    "export_most_moved",
    "render",
]

FORMATS = ("html", "json", "md", "png")

MOST_MOVED = 20
"""How many of the most moved users are written where nobody says."""


def render(case: dict[str, Any], format: str) -> bytes:
    """What `case_study` returned as the bytes of a file; `format`: html, json, md or png.

    Raises `InputError` for an unknown format, and for a page that would not stay below 2 MiB.
    """
    _check(format)
    if format == "png":
        return case_picture(case)
    if format == "json":
        return (to_json(case) + "\n").encode("utf-8")
    return (case_page(case) if format == "html" else case_markdown(case)).encode("utf-8")


def export_case(
    run: Path | str,
    user: str,
    format: str,
    out: Path | str,
    *,
    item: str | None = None,
    k: int | None = None,
    encoder: bool = True,
) -> Path:
    """Write the case study of one user as one file and return its path.

    `format`: html (self-contained, no script), json (what `case_study` returns), md, or png; `encoder`: with the view
    through the encoder, see `case_study`. Raises `InputError` as
    `case_study` and `render` do, for a folder that is no run or has no refined model yet, where `out` is a file of the
    run itself, and when the file cannot be written.
    """
    _check(format)
    explainer, out = Explainer.open(run), Path(out)
    refuse_run_files(explainer.folder, out)
    content = render(case_study(explainer, user, item=item, k=k, encoder=encoder), format)
    with atomic_path(out) as path:
        path.write_bytes(content)
    return out


def export_cases(
    run: Path | str,
    users: Path | str | Sequence[str],
    format: str,
    out: Path | str,
    *,
    k: int | None = None,
    encoder: bool = True,
    progress: Progress | None = None,
) -> Written:
    """Write a case study per user and `index.html` into the folder `out`.

    `users`: a file with one id a line, a `.csv` or `.parquet` table with a column `user_id`, or the ids themselves. All
    are looked up before anything is written. Raises `InputError` as `export_case` does, naming the line of a user.
    """
    _check(format)
    shared = Shared(Explainer.open(run))
    names = chosen(shared, Path(users) if isinstance(users, (str, Path)) else users)
    return _written(shared, names, format, out, k, encoder, "Case studies", progress)


def export_most_moved(
    run: Path | str,
    count: int,
    format: str,
    out: Path | str,
    *,
    k: int | None = None,
    encoder: bool = True,
    progress: Progress | None = None,
) -> Written:
    """The same for the `count` users whose refined list is furthest from the base's: one less the average overlap of both
    top `k` lists; of equally far ones those that come first in the data. Raises `InputError` where no base is trained."""
    _check(format)
    shared = Shared(Explainer.open(run))
    names = moved_most(shared, count, length_of(shared.explainer, k), progress)
    return _written(shared, names, format, out, k, encoder, f"The {len(names)} most moved users", progress)


def cases_archive(
    shared: Shared, users: Sequence[str], format: str, *, k: int, title: str, encoder: bool = False
) -> bytes:
    """The folder that `export_cases` writes as the bytes of a zip file; the same bytes for the same cases.

    Raises `InputError` as `export_cases` does.
    """
    with TemporaryDirectory() as folder:
        written = _written(shared, users, format, folder, k, encoder, title, None)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in (written.index, *written.files.values()):
                # Without the time of day, which such a file would carry otherwise.
                archive.writestr(zipfile.ZipInfo(path.name), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _written(
    shared: Shared,
    names: Sequence[str],
    format: str,
    out: Path | str,
    k: int | None,
    encoder: bool,
    title: str,
    progress: Progress | None,
) -> Written:
    return write_cases(
        shared,
        names,
        Path(out),
        lambda case: render(case, format),
        format,
        k=length_of(shared.explainer, k),
        title=title,
        encoder=encoder,
        progress=progress,
    )


def _check(format: str) -> None:
    if format not in FORMATS:
        raise InputError(f"no export format '{format}': {nearest(format, FORMATS)}")
