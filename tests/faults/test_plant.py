"""The table fits the code, and the command tells a caught fault from one that survives."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults.command import ROOT, TABLE, main
from faults.plant import check_table
from faults.table import read_faults
from guided_refine.errors import InputError


def test_every_fault_can_be_planted_and_its_tests_are_there() -> None:
    faults = read_faults(TABLE)
    check_table(faults, ROOT)
    for fault in faults:
        assert fault.find != fault.put
        for test in fault.tests:
            path, _, name = test.partition("::")
            function = name.partition("[")[0].rpartition(".")[2]
            assert f"def {function}(" in (ROOT / path).read_text(encoding="utf-8"), f"{fault.name}: {test}"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of one function, half tested."""
    monkeypatch.setattr("faults.one_run.HEAVY", ["pytest", "hypothesis"])
    for name, text in {
        "pyproject.toml": "[tool.pytest.ini_options]\naddopts = '-q'\n",
        "guided_refine/__init__.py": "",
        "guided_refine/sums.py": "def add(a, b):\n    return a + b\n",
        "tests/test_sums.py": "from guided_refine.sums import add\n\n\n"
        "def test_zero():\n    assert add(1, 0) == 1\n\n\n"
        "def test_wrong():\n    assert add(1, 1) == 3\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def plant(project: Path, *faults: tuple[str, str, str], test: str = "test_zero", only: str = "") -> int:
    table = project / "faults.yaml"
    table.write_text(
        "".join(
            f"- {{name: {name}, what: w, file: guided_refine/sums.py, find: '{find}', put: '{put}', "
            f"tests: ['tests/test_sums.py::{test}']}}\n"
            for name, find, put in faults
        ),
        encoding="utf-8",
    )
    return main(["--only", only] if only else [], root=project, table=table)


CAUGHT, SURVIVOR = ("larger", "a + b", "a + b + 1"), ("difference", "a + b", "a - b")


def test_what_is_noticed_and_what_is_not(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (project / "guided_refine/sums.py").read_bytes()
    assert plant(project, CAUGHT, SURVIVOR) == 1
    out = capsys.readouterr().out
    rows = {line.split()[0]: line for line in out.splitlines()}
    assert rows["larger"].endswith("tests/test_sums.py::test_zero")
    assert "it survived" in rows["difference"]
    assert "2 faults, 1 caught, 1 survived" in out and "survived: difference" in out
    assert plant(project, CAUGHT, SURVIVOR, only="larger") == 0
    assert "difference" not in capsys.readouterr().out
    assert (project / "guided_refine/sums.py").read_bytes() == before


@pytest.mark.parametrize(
    ("fault", "test", "sentence"),
    [
        (("gone", "a * b", "a"), "test_zero", "stands 0 times in guided_refine/sums.py"),
        (("twice", "a", "b"), "test_zero", "times in guided_refine/sums.py, expected once"),
        (
            CAUGHT,
            "test_wrong",
            "without any fault tests/test_sums.py::test_wrong fails already: assert 2 == 3",
        ),
        (CAUGHT, "test_lost", "without any fault the named tests cannot be run"),
        (("no_program", "a + b", "a +"), "test_zero", "no_program: the planted code does not run"),
        (("no_name", "a + b", "c"), "test_zero", "no_name: the planted code does not run"),
    ],
)
def test_what_shows_nothing_is_one_sentence(
    project: Path, capsys: pytest.CaptureFixture[str], fault: tuple[str, str, str], test: str, sentence: str
) -> None:
    assert plant(project, fault, test=test) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("faults: ") and sentence in said


def test_a_table_that_is_none(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert plant(project, CAUGHT, only="large") == 2
    assert "no fault 'large': did you mean 'larger'?" in capsys.readouterr().err
    assert plant(project, CAUGHT, CAUGHT) == 2
    assert "two faults are called larger" in capsys.readouterr().err
    (project / "short.yaml").write_text("- {name: a}\n", encoding="utf-8")
    with pytest.raises(InputError, match="fault 1 needs exactly the keys"):
        read_faults(project / "short.yaml")
