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
# On CPUs torch keeps compiled code for every shape of a bfloat16 product it meets, up to 1,024 of them. Batches of histories
# hardly ever repeat a shape, so a training grew by 60 MiB an epoch; with this by 25. Read when torch is first imported.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")

__version__ = "0.1.0"

_PUBLIC = {
    "Config": "guided_refine.config",
    "load_config": "guided_refine.config_file",
    "run": "guided_refine.pipeline",
    "Dataset": "guided_refine.data.dataset",
    "load_dataset": "guided_refine.data.dataset",
    "prepare": "guided_refine.data.prepare",
    "AttributeSet": "guided_refine.scoring.attributes",
    "load_attributes": "guided_refine.scoring.attributes",
    "describe": "guided_refine.data.info",
    "Backbone": "guided_refine.backbones.backbone",
    "check_run": "guided_refine.check",
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
