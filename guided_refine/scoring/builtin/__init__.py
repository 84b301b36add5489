"""The `builtin` language model: small, trained on the catalog at hand, for places without a model hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from guided_refine.scoring.builtin.pretrain import train_builtin

__all__ = ["RECIPE_VERSION", "train_builtin"]

RECIPE_VERSION = 5
"""Raised with every change after which the same catalog gives another model."""


def __getattr__(name: str) -> Any:
    # torch is imported only by those who train; counting words needs none of it.
    if name == "train_builtin":
        from guided_refine.scoring.builtin.pretrain import train_builtin

        return train_builtin
    raise AttributeError(name)
