"""Reading configs: YAML files, `key=value` overrides, and one sentence for whatever is wrong."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from guided_refine.config import Config, DataConfig
from guided_refine.errors import InputError, nearest, plain_fault
from guided_refine.strict_yaml import parse_yaml

#: What a pattern of ours means, for the sentence that a user reads.
_IN_WORDS = {
    "name": "letters, digits, '.', '_' and '-' only, and a letter or digit first",
    "device": "one of auto, cpu, cuda, cuda:NUMBER, mps",
}


def resolve_data_path(path: str, config_folder: Path) -> Path:
    """A data path as given when absolute, else under $GUIDED_REFINE_DATA, else beside the config."""
    given = Path(path).expanduser()
    if given.is_absolute():
        return given
    root = os.environ.get("GUIDED_REFINE_DATA")
    return (Path(root).expanduser() if root else config_folder) / given


def load_config(path: Path | str, overrides: Sequence[str] = ()) -> Config:
    """Read a config file and apply `key=value` overrides (values are YAML).

    Raises `InputError` naming the file, the key, and the nearest right key.
    """
    path = Path(path)
    try:
        raw = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"config {path} cannot be read: {reason}") from error
    except yaml.YAMLError as error:
        raise InputError(f"config {path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise InputError(f"config {path} must be a mapping of keys to values")
    for override in overrides:
        _apply(raw, override)
    config = parse_config(raw, str(path))
    try:
        _ = config.sha256
    except ValueError as error:
        raise InputError(
            f"config {path} holds an alias of itself (* inside its own &); write it out"
        ) from error
    return config


def with_store_placed(config: Config, config_folder: Path) -> Config:
    """The config with `store`, where it is a relative path, found from the config's own folder: a run that is read from
    elsewhere later must not look for its scores there."""
    if config.store is None or "://" in config.store:
        return config
    placed = (config_folder / Path(config.store).expanduser()).absolute()
    return config.model_copy(update={"store": str(placed)})


#: Keys of earlier versions that changed no result that is still in the folder; a run's own config may hold them.
_RETIRED = (("llm_options", "pretrain_minutes"),)


def load_run_config(path: Path) -> Config:
    """Read the config that a run folder keeps, also of a run that an earlier version made. Raises `InputError`."""
    try:
        raw = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise InputError(f"{path} is not the config of a run")
    for section, key in _RETIRED:
        if isinstance(raw.get(section), dict):
            raw[section].pop(key, None)
    return parse_config(raw, str(path))


def parse_config(raw: dict[str, Any], where: str = "config") -> Config:
    """Validate a mapping; raises `InputError`.

    >>> parse_config({"name": "x", "lmm": "builtin"})
    Traceback (most recent call last):
    ...
    guided_refine.errors.InputError: config: unknown key 'lmm': did you mean 'llm'?
    """
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        keys = [str(k) for k in first["loc"]]
        name = ".".join(keys)
        if first["type"] == "extra_forbidden":
            raise InputError(
                f"{where}: unknown key '{name}': {nearest(keys[-1], _keys_at(keys[:-1]))}"
            ) from error
        message = plain_fault(first)
        if first["type"] == "string_pattern_mismatch":
            message = f"expected {_IN_WORDS.get(keys[-1], first['msg'])}, not {first['input']!r}"
        if first["type"] == "literal_error":
            message = f"'{first['input']}' is not known: {nearest(str(first['input']), _literals(first))}"
        raise InputError(f"{where}: {name + ': ' if name else ''}{message}") from error


def _literals(error: Any) -> list[str]:
    expected = str(error.get("ctx", {}).get("expected", ""))
    return [part.strip().strip("'") for part in expected.replace(" or ", ", ").split(",") if part.strip()]


def _keys_at(keys: list[str]) -> list[str]:
    model: type[BaseModel] = Config
    for key in keys:
        annotation = model.model_fields[key].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)


def _apply(raw: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise InputError(f"--set {override}: expected key=value, such as train.max_epochs=20")
    *path, last = key.strip().split(".")
    node = raw
    for part in path:
        child = node.setdefault(part, {})
        if not isinstance(child, dict):
            raise InputError(f"--set {override}: '{part}' is a value, not a section")
        node = child
    try:
        node[last] = parse_yaml(text)
    except yaml.YAMLError as error:
        raise InputError(f"--set {override}: the value is not valid YAML") from error


def parse_data_config(overrides: Sequence[str]) -> DataConfig:
    """The data section from `key=value` overrides alone, for `data prepare --set k_core=5`."""
    raw: dict[str, Any] = {}
    for override in overrides:
        _apply(raw, override)
    for key in ("path", "reader"):
        if key in raw:
            raise InputError(f"--set {key}: source and reader are NAME and SOURCE of this command, not keys")
    return parse_config({"name": "data", "data": raw}, "--set").data
