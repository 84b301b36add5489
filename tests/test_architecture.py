"""The picture in docs/architecture.md is true: a room imports only from rooms above it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "guided_refine"
ROOMS = [
    "errors files strict_yaml machine resources progress config config_section config_llm config_teacher config_remote "
    "config_file devices processes runfolder workers",
    "data",
    "scoring",
    "tuning",
    "backbones",
    "refine",
    "evaluation",
    "reporting",
    "explain",
    "pipeline check reference attribute_commands store_commands explain_commands dashboard bench",
    "cli",
    "__main__",
]
LEVEL = {name: level for level, names in enumerate(ROOMS) for name in names.split()}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Rooms of this package that a file imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [str(node.module)]
        found |= {n.split(".")[1] for n in names if n.startswith("guided_refine.")}
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_down_the_picture(path: Path) -> None:
    if path == PACKAGE / "__init__.py":
        return  # names all rooms, imports none before it is asked
    here = room(path)
    assert here in LEVEL, f"{here} has no place in docs/architecture.md"
    upward = {other for other in imported(path) if LEVEL[other] > LEVEL[here]}
    assert not upward, f"{path.name} imports from rooms below: {sorted(upward)}"


def test_every_room_is_in_the_picture() -> None:
    picture = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8").partition("```")[2]
    picture = picture.partition("```")[0]
    for name in LEVEL:
        if name != "__main__":
            assert name in picture, name
