"""The vectors of a run's item texts: read off its language model once, kept for the variants that stand beside scores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from guided_refine.errors import InputError
from guided_refine.files import atomic_path
from guided_refine.pipeline.plan import Plan
from guided_refine.progress import Progress

if TYPE_CHECKING:
    from guided_refine.data.dataset import Dataset
    from guided_refine.scoring.language_model import LanguageModel


def write_text_vectors(plan: Plan, dataset: Dataset, model: LanguageModel, progress: Progress) -> list[Path]:
    """Read every item's text with the untuned model; returns the file written."""
    from safetensors.numpy import save_file

    from guided_refine.scoring.text_vectors import text_vectors

    longest = plan.config.llm_options.text_tokens
    vectors = text_vectors(model, dataset.texts, longest=longest, progress=progress)
    with atomic_path(plan.folder.text_vectors) as path:
        save_file({"vectors": vectors}, path)
    return [plan.folder.text_vectors]


def run_text_vectors(plan: Plan) -> np.ndarray:
    """Vectors of the items' texts, (n_items, dims), NaN where there is no text."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        vectors: np.ndarray = load_file(plan.folder.text_vectors)["vectors"]
    except (OSError, SafetensorError, KeyError) as error:
        raise InputError(
            f"{plan.folder.text_vectors} is damaged ({error}); delete it and run the same command again"
        ) from error
    return vectors
