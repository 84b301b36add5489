"""A backbone on disk: `model.safetensors` (weights and histories) and `config.json` (how to build it, ids)."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from guided_refine.backbones.histories import Histories
from guided_refine.backbones.tables import ItemTable, UserTerm
from guided_refine.config import TrainConfig
from guided_refine.errors import InputError
from guided_refine.files import atomic_path, read_json, sha256_file, write_json

if TYPE_CHECKING:
    from guided_refine.backbones.backbone import Backbone

FORMAT = 1
WEIGHTS, CONFIG = "model.safetensors", "config.json"


def save_backbone(backbone: Backbone, folder: Path) -> None:
    """Write both files, each in one atomic step."""
    from safetensors.torch import save_file

    tensors = dict(backbone.model.state_dict())
    tensors["histories.items"] = backbone.histories.flat.to(torch.int32)
    tensors["histories.length"] = backbone.histories.length
    with atomic_path(folder / WEIGHTS) as path:
        save_file({name: value.contiguous() for name, value in tensors.items()}, path)
    write_json(
        folder / CONFIG,
        {
            "format": FORMAT,
            "kind": backbone.kind,
            "seed": backbone.seed,
            "train": backbone.config.model_dump(mode="json"),
            "table": _described(backbone.table),
            "term": None if backbone.term is None else _described(backbone.term),
            "item_ids": backbone.item_ids,
            "user_ids": backbone.user_ids,
            "id_types": backbone.id_types,
            "cut_off": backbone.cut_off,
            "weights_sha256": sha256_file(folder / WEIGHTS),
        },
    )


def load_backbone(folder: Path) -> Backbone:
    """Build a backbone from what `save_backbone` wrote.

    Raises `InputError` when a file is missing, damaged, of a newer format, or does not fit the other.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from guided_refine.backbones.backbone import Backbone

    if not (folder / CONFIG).exists():
        raise InputError(f"{folder} holds no saved backbone (no {CONFIG})")
    config = read_json(folder / CONFIG)
    if not isinstance(config, dict) or not isinstance(config.get("format"), int):
        raise InputError(f"{folder / CONFIG} is not that of a saved backbone; delete {folder} and run again")
    if config["format"] > FORMAT:
        raise InputError(f"{folder} was written by a newer guided-refine; update guided-refine to read it")
    try:
        # Absent in what earlier versions wrote. One bit is enough to recommend other items without a word.
        if config.get("weights_sha256") not in (None, sha256_file(folder / WEIGHTS)):
            raise InputError(
                f"{folder / WEIGHTS} is damaged: it is not the file that {CONFIG} was written with; delete {folder} and run "
                "again"
            )
        tensors = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{folder / WEIGHTS} is missing or damaged ({error}); delete {folder} and run again"
        ) from error
    try:
        items, length = tensors.pop("histories.items").long(), tensors.pop("histories.length")
        term = None if config["term"] is None else _built(config["term"], UserTerm)
        backbone = Backbone(
            config["kind"],
            _built(config["table"], ItemTable),
            term,
            TrainConfig(**config["train"]),
            config["seed"],
        )
        backbone.model.load_state_dict(tensors)
        backbone.item_ids, backbone.user_ids = list(config["item_ids"]), list(config["user_ids"])
        # Both are absent in what earlier versions wrote: ids were text, and the split stood in the run folder only.
        backbone.id_types = dict(config.get("id_types", {}))
        backbone.cut_off = config.get("cut_off")
        # An id too many, and everybody behind it would get somebody else's history.
        for name, ids, n in (
            ("item_ids", backbone.item_ids, backbone.table.n_items),
            ("user_ids", backbone.user_ids, len(length)),
        ):
            if len(ids) not in (n, 0):
                raise ValueError(f"{len(ids)} {name} for {n}")
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{folder}: {CONFIG} and {WEIGHTS} do not belong together ({reason}); delete {folder} and run again"
        ) from error
    backbone.histories = Histories(items, length.cumsum(0) - length, length)
    return backbone.restarted(backbone.seed)


def _described(part: ItemTable | UserTerm) -> dict[str, Any]:
    return {"module": type(part).__module__, "class": type(part).__name__, "options": part.options()}


def _built(description: dict[str, Any], parent: type) -> Any:
    """An empty table or term. Only this package's modules are imported on a file's word; a class of one's own
    is found when its module was imported before."""
    name, module = description["class"], description["module"]
    if module.startswith("guided_refine."):
        importlib.import_module(module)
    pending: list[type] = [parent]
    while pending:
        candidate = pending.pop()
        if candidate.__name__ == name and candidate.__module__ == module:
            return candidate.blank(**description["options"])  # type: ignore[attr-defined]
        pending += candidate.__subclasses__()
    raise InputError(f"the saved backbone uses {module}.{name}, which is not loaded; import {module} first")
