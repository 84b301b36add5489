"""guided-refine: recommenders that can say why.

The main verbs are importable from here, lazily, so that `import guided_refine` costs nothing:

>>> import guided_refine
>>> guided_refine.__version__.count(".")
2
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

# Threads that spin while they wait make small matrix products eight times slower as soon as another process wants a
# core. Read when torch is first imported; set it to ACTIVE beforehand to have the spinning back.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"

_PUBLIC = {
    "Config": "guided_refine.config",
    "DataConfig": "guided_refine.config",
    "TrainConfig": "guided_refine.config",
    "load_config": "guided_refine.config_file",
    "run": "guided_refine.pipeline",
    "Dataset": "guided_refine.data.dataset",
    "load_dataset": "guided_refine.data.dataset",
    "prepare": "guided_refine.data.prepare",
    "AttributeSet": "guided_refine.scoring.attributes",
    "load_attributes": "guided_refine.scoring.attributes",
    "Progress": "guided_refine.progress",
    "describe": "guided_refine.data.info",
    "Backbone": "guided_refine.backbones.backbone",
    "GuidedRefiner": "guided_refine.refine.refiner",
    "item_scores": "guided_refine.refine.score_columns",
    "with_scores": "guided_refine.refine.score_columns",
    "add_items": "guided_refine.refine.new_items",
    "check_run": "guided_refine.check",
    "check_reference": "guided_refine.reference",
    "keep_reference": "guided_refine.reference",
    "compare_with_truth": "guided_refine.evaluation.truth",
    "explain_user": "guided_refine.explain.text",
    "export_case": "guided_refine.explain.export",
    "serve": "guided_refine.dashboard",
    "InputError": "guided_refine.errors",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'guided_refine' has no attribute '{name}'")
