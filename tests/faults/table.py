"""The faults of `faults.yaml`: what is changed where, and which tests must notice."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import yaml

from guided_refine.errors import InputError, nearest
from guided_refine.strict_yaml import parse_yaml


@dataclass(frozen=True)
class Fault:
    """`find`, which stands exactly once in `file`, becomes `put`; at least one of `tests` (node ids) must then fail."""

    name: str
    what: str
    file: str
    find: str
    put: str
    tests: list[str]

    def planted(self, text: str) -> str:
        """The file's text with the fault in it. Raises `InputError` unless `find` stands in it exactly once.

        >>> Fault("flip", "the sign", "a.py", "a - b", "b - a", ["t"]).planted("return a - b")
        'return b - a'
        """
        count = text.count(self.find)
        if count != 1:
            raise InputError(
                f"fault {self.name}: its text stands {count} times in {self.file}, expected once; "
                "the code has changed, so change the fault in tests/faults/faults.yaml too"
            )
        return text.replace(self.find, self.put)


def read_faults(path: Path) -> list[Fault]:
    """All faults of a table. Raises `InputError` where an entry is not complete or a name occurs twice."""
    try:
        entries = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(entries, list):
        raise InputError(f"{path}: expected a list of faults")
    wanted = [f.name for f in fields(Fault)]
    faults: list[Fault] = []
    for place, entry in enumerate(entries, 1):
        if not isinstance(entry, dict) or sorted(entry) != sorted(wanted):
            raise InputError(f"{path}: fault {place} needs exactly the keys {', '.join(wanted)}")
        tests = entry["tests"]
        texts = [entry[key] for key in wanted if key != "tests"]
        if not (isinstance(tests, list) and tests and all(isinstance(t, str) for t in [*texts, *tests])):
            raise InputError(
                f"{path}: fault {place} ({entry['name']}) needs text everywhere and a list of tests"
            )
        if any(entry["name"] == known.name for known in faults):
            raise InputError(f"{path}: two faults are called {entry['name']}")
        faults.append(Fault(**entry))
    return faults


def chosen(faults: list[Fault], only: str | None) -> list[Fault]:
    """All faults, or the one called `only`; raises `InputError` naming the nearest where there is none."""
    if only is None:
        return faults
    found = [fault for fault in faults if fault.name == only]
    if not found:
        raise InputError(f"no fault '{only}': {nearest(only, [fault.name for fault in faults])}")
    return found
