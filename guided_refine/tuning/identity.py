"""What a task of one's own is known by, so that `tune` takes a finished adapter for this task and for no other.

The source of a task does not say all that it does: it may hold values (arguments of a `functools.partial`, closures,
defaults, fields) and read globals. All of these go into the hash. What cannot be read is refused rather than guessed.
"""

from __future__ import annotations

import dis
import functools
import hashlib
import inspect
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from enum import Enum
from importlib.util import find_spec
from pathlib import Path, PurePath
from types import (
    BuiltinFunctionType,
    CellType,
    CodeType,
    FunctionType,
    MemberDescriptorType,
    ModuleType,
)
from typing import Any

import numpy as np
import torch

from guided_refine.errors import InputError
from guided_refine.files import sha256_file, sha256_json
from guided_refine.tuning.tasks import Task


def identity(task: Task) -> str:
    """A task's attribute `name` where it has one, else its qualified name, the hash of its source, and of what it holds.

    Raises `InputError` when the task has no name and holds or reads something of which no hash can be made.

    >>> from guided_refine.tuning.tasks import next_item
    >>> identity(next_item).split(":")[0]
    'guided_refine.tuning.tasks.next_item'
    >>> identity(functools.partial(next_item, margin=0.5)) == identity(functools.partial(next_item, margin=2.0))
    False
    """
    try:
        return _Reading().task(task)
    except _Unknown as unknown:
        said = getattr(task, "__qualname__", type(task).__qualname__)
        raise InputError(
            f"the task {said} cannot be told from a changed one ({unknown}); give it an attribute `name`, and another "
            "name whenever it changes"
        ) from None


class _Unknown(Exception):
    """What it is that cannot be hashed."""


class _Reading:
    """One walk through a task and all that it holds."""

    def __init__(self) -> None:
        self._open: list[int] = []  # what the walk is inside of, for objects that hold themselves
        self._known: dict[int, tuple[str, Any]] = {}  # the object too, so that its id stays its own

    def task(self, task: Any) -> str:
        """What a callable is known by."""
        named = getattr(task, "name", None)
        return self._unnamed(task) if named is None else str(named)

    def _unnamed(self, task: Any) -> str:
        if isinstance(task, functools.partial):
            held = [self._value(task.args), self._value(_sorted(task.keywords)), self._value(vars(task))]
            return f"partial:{self.task(task.func)}:{sha256_json(held)[:16]}"
        if inspect.ismethod(task):
            return f"method:{self.task(task.__func__)}:{sha256_json(self._value(task.__self__))[:16]}"
        known: Any = task if isinstance(task, FunctionType | type) else type(task)
        words = hashlib.sha256(_source(known).encode()).hexdigest()[:16]
        if isinstance(known, FunctionType):
            held = self._of_function(known)
        else:
            held = [] if _is_installed(known.__module__) else self._of_class(known)
        if known is not task and (state := _state(task)):
            held.append(["state", self._value(_sorted(state))])
        # A plain function is known by its source, as before anything else was looked at.
        whole = f"{known.__module__}.{known.__qualname__}:{words}"
        return f"{whole}:{sha256_json(held)[:16]}" if held else whole

    def _of_function(self, function: FunctionType) -> list[Any]:
        """What a function holds and reads; empty for one that its source says all of."""
        held: list[Any] = []
        if function.__name__ == "<lambda>" and _source(function).count("lambda") > 1:
            held.append(["code", _of_code(function.__code__)])  # two of them may share a line
        if function.__defaults__:
            held.append(["defaults", self._value(function.__defaults__)])
        if function.__kwdefaults__:
            held.append(["keywords", self._value(_sorted(function.__kwdefaults__))])
        if attributes := {k: v for k, v in vars(function).items() if k != "__wrapped__"}:
            held.append(["attributes", self._value(_sorted(attributes))])
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            if name != "__class__" and (content := _content(cell)) is not _NOTHING:
                held.append(["closure", name, self._at(name, content)])
        for name in sorted(set(_globals_read(function.__code__))):
            content = function.__globals__.get(name, _NOTHING)
            if content is not _NOTHING and not _is_said_by(name, content):
                held.append(["global", name, self._at(name, content)])
        for module in sorted(set(_modules_imported(function.__code__))):
            if not _is_installed(module):
                held.append(["import", module, _file_of(module)])
        return held

    def _of_class(self, known: type) -> list[Any]:
        """What the methods of a class hold and read, and its parents."""
        held: list[Any] = []
        for function in filter(None, map(_function_in, vars(known).values())):
            # A dataclass has methods that stand in no source, or in the library's.
            is_own = function.__code__.co_filename != "<string>" and not _is_installed(
                function.__globals__.get("__name__")
            )
            if is_own and (found := self._of_function(function)):
                held.append([function.__name__, found])
        parents = [p for p in known.__bases__ if not _is_installed(p.__module__)]
        return held + [["parent", self._value(parent)] for parent in parents]

    def _at(self, name: str, value: Any) -> Any:
        try:
            return self._value(value)
        except _Unknown as unknown:
            raise _Unknown(str(unknown) if str(unknown)[:1] == "`" else f"`{name}`: {unknown}") from None

    def _value(self, value: Any) -> Any:
        """A form of `value` that JSON can write, the same for equal values of one type and another for others."""
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        if isinstance(value, Enum):
            return [kind, value.name]
        if value is None or isinstance(value, bool | int | str):
            return [kind, value]
        if isinstance(value, float):
            return [kind, float(value).hex()]
        if isinstance(value, bytes | bytearray):
            return [kind, hashlib.sha256(value).hexdigest()]
        if isinstance(value, complex | range | slice | np.dtype | torch.dtype | torch.device | PurePath):
            return [kind, str(value)]
        if isinstance(value, ModuleType) and not _is_installed(value.__name__):
            return [kind, value.__name__, _file_of(value.__name__)]
        if isinstance(value, ModuleType | logging.Logger):
            return [kind, getattr(value, "name", None) or getattr(value, "__name__", None)]
        if isinstance(value, torch.Tensor):
            return [kind, *_of_tensor(value)]
        if isinstance(value, np.ndarray | np.generic) and not value.dtype.hasobject:
            return [kind, value.dtype.str, list(value.shape), hashlib.sha256(value.tobytes()).hexdigest()]
        if id(value) in self._open:
            return ["circle", self._open.index(id(value))]
        if id(value) not in self._known:
            self._open.append(id(value))
            self._known[id(value)] = sha256_json(self._composed(kind, value)), value
            self._open.pop()
        return [kind, self._known[id(value)][0]]

    def _composed(self, kind: str, value: Any) -> Any:
        if isinstance(value, np.ndarray):  # of objects
            return [list(value.shape), [self._value(v) for v in value.ravel().tolist()]]
        if isinstance(value, Mapping):
            return [[self._value(k), self._at(str(k), v)] for k, v in value.items()]
        if isinstance(value, list | tuple):
            return [self._value(v) for v in value]
        if isinstance(value, set | frozenset):
            return sorted((self._value(v) for v in value), key=sha256_json)
        if isinstance(value, BuiltinFunctionType):
            owner = value.__self__
            bound = None if owner is None or isinstance(owner, ModuleType) else self._value(owner)
            return [value.__module__, value.__qualname__, bound]
        if isinstance(value, FunctionType | type) and _is_installed(value.__module__):
            return [value.__module__, value.__qualname__]
        if hasattr(value, "fingerprint") and hasattr(value, "weight"):  # `tasks.BaseScores`
            return [self._value(value.fingerprint), self._value(value.weight)]
        return self.task(value) if callable(value) else self._unnamed(value)


_NOTHING = object()


def _sorted(values: Mapping[str, Any]) -> dict[str, Any]:
    return dict(sorted(values.items()))


def _source(known: Any) -> str:
    # Of the code, not of the function: `inspect` would go through a wrapper to what it wraps.
    try:
        return inspect.getsource(known.__code__ if isinstance(known, FunctionType) else known)
    except (OSError, TypeError):  # typed in at a prompt, or no Python
        raise _Unknown(f"there is no source of {known.__module__}.{known.__qualname__}") from None


def _of_code(code: CodeType) -> list[Any]:
    inner = [_of_code(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return [code.co_code.hex(), list(code.co_names), inner]


def _globals_read(code: CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield str(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals_read(constant)


def _modules_imported(code: CodeType) -> Iterator[str]:
    """Names of the modules that a function imports when it is called."""
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME":
            yield str(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _modules_imported(constant)


def _file_of(module: str) -> str:
    """Hash of the source file of a module of the user's own: all that a task may take from it."""
    try:
        known = sys.modules.get(module)
        spec = find_spec(module) if known is None else known.__spec__
        file = getattr(known, "__file__", None) or (None if spec is None else spec.origin)
        return sha256_file(Path(str(file)))
    except (ImportError, ValueError, OSError):
        raise _Unknown(f"module {module} has no file that can be read") from None


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return _NOTHING


def _function_in(member: Any) -> FunctionType | None:
    if isinstance(member, staticmethod | classmethod):
        member = member.__func__
    if isinstance(member, property):
        member = member.fget
    return inspect.unwrap(member) if isinstance(member, FunctionType) else None


def _is_said_by(name: str, value: Any) -> bool:
    """Whether the source, which has the name, says already what it is: something installed of that name."""
    if isinstance(value, ModuleType):
        return _is_installed(value.__name__)
    is_named = isinstance(value, type | FunctionType | BuiltinFunctionType) and value.__name__ == name
    return is_named and _is_installed(value.__module__)


def _is_installed(module: str | None) -> bool:
    """Whether what comes from `module` changes with a version only."""
    first = (module or "builtins").partition(".")[0]
    if first in sys.stdlib_module_names or first == __name__.partition(".")[0]:
        return True
    file = getattr(sys.modules.get(module or ""), "__file__", None) or getattr(
        sys.modules.get(first), "__file__", None
    )
    return file is not None and not {"site-packages", "dist-packages"}.isdisjoint(PurePath(file).parts)


def _state(value: Any) -> dict[str, Any]:
    """The attributes of an object, those in slots too."""
    state: dict[str, Any] = {}
    for parent in type(value).__mro__:
        for name, member in vars(parent).items():
            if isinstance(member, MemberDescriptorType) and name not in ("__dict__", "__weakref__"):
                with suppress(AttributeError):  # not set
                    state[name] = member.__get__(value)
    return state | getattr(value, "__dict__", {})


def _of_tensor(value: torch.Tensor) -> list[Any]:
    if value.layout != torch.strided or value.is_meta:
        raise _Unknown("a tensor without plain numbers")
    plain = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return [str(value.dtype), list(value.shape), hashlib.sha256(plain.numpy().tobytes()).hexdigest()]
