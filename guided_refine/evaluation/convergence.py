"""Has a training converged? Trained a third longer with a fresh optimiser, it must not get better on validation.

A row that stops too early makes whatever is compared with it look good: most published BERT4Rec numbers are of models that
were still learning (Petrov and Macdonald, "A Systematic Review and Replicability Study of BERT4Rec", RecSys 2022).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from guided_refine.backbones.randomness import RESTART, derived_seed
from guided_refine.backbones.validation import Validation
from guided_refine.config import EvaluateConfig
from guided_refine.data.dataset import Dataset
from guided_refine.evaluation.statistics import bootstrap_means
from guided_refine.progress import Progress

if TYPE_CHECKING:
    from guided_refine.backbones.backbone import Backbone, FitResult

#: What a restart may add to validation NDCG@10, relative, before the first training counts as stopped too early.
MOST = 0.02
#: Share of the first training's epochs that the restart gets.
SHARE = 1 / 3


def check_convergence(
    model: Backbone,
    fit: FitResult,
    dataset: Dataset,
    options: EvaluateConfig,
    *,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Restart from a trained model's weights and say what that adds to validation NDCG@10.

    The restart has a fresh optimiser, new random draws, the settings of the first training and a third of its epochs; as in
    every training its best epoch counts, so a little luck is on its side. `model` itself stays as it is.

    Returns `epochs` of the restart, validation NDCG@10 `before` and `after`, their difference `mean` with its paired
    bootstrap interval over users (`lower`, `upper`), `relative` to `before`, and `holds`: true when the restart gained less
    than 2 % and not surely, that is, the interval does not lie above zero.
    """
    allowed = math.ceil(fit.epochs * SHARE)
    again = model.restarted(derived_seed(model.seed, RESTART))
    again.config = model.config.model_copy(update={"max_epochs": allowed})
    more = again.fit(dataset, checkpoint=checkpoint, progress=progress)
    validation = Validation(dataset, torch.device("cpu"))
    before, after = validation.per_user(model.model).numpy(), validation.per_user(again.model).numpy()
    gain = bootstrap_means(
        (after - before)[:, None], samples=options.bootstrap, confidence=options.confidence, seed=model.seed
    )[0]
    level = float(before.mean())
    relative = gain.mean / level if level else None
    return {
        "epochs": more.epochs,
        "steps": more.steps,
        "seconds": round(more.seconds, 3),
        "metric": "validation ndcg@10",
        "before": level,
        "after": float(after.mean()),
        "mean": gain.mean,
        "lower": gain.lower,
        "upper": gain.upper,
        "relative": relative,
        "confidence": options.confidence,
        "n_users": len(before),
        "holds": gain.lower <= 0 and gain.mean < MOST * level,
    }
