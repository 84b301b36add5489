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
from guided_refine.backbones.training import DROP
from guided_refine.backbones.validation import Validation
from guided_refine.config import EvaluateConfig
from guided_refine.data.dataset import Dataset
from guided_refine.evaluation.statistics import Interval, bootstrap_means
from guided_refine.progress import Progress

if TYPE_CHECKING:
    from guided_refine.backbones.backbone import Backbone

#: What a restart may add to validation NDCG@10, relative, before the first training counts as stopped too early, and may
#: lose before it shows nothing.
MOST = 0.02
#: Share of the first training's epochs that the restart gets.
SHARE = 1 / 3

CONVERGED, STILL_LEARNING, NO_ANSWER = "converged", "still learning", "no answer"


def check_convergence(
    model: Backbone,
    epochs: int,
    dataset: Dataset,
    options: EvaluateConfig,
    *,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Restart from the weights of a model trained for `epochs` epochs and say what that adds to validation NDCG@10.

    The restart has a fresh optimiser, new random draws, the settings of the first training and a third of its epochs, all of
    which it spends. Where the first training lowered its learning rate on a standstill the restart does too, as often as it
    stands still; it begins one step below the full rate, and a standstill is a third as long. A finished model is thrown
    back by the full rate, further than a third of the epochs can make good (seen with BERT4Rec), and then the check shows
    nothing. As in every training the best epoch counts, so a little luck is on the restart's side. `model` stays as it is.

    Returns `epochs` of the restart, validation NDCG@10 `before` and `after`, their difference `mean` with its paired
    bootstrap interval over users (`lower`, `upper`), `relative` to `before`, `verdict`, and `holds`, which is true for
    the verdict "converged".
    """
    allowed = math.ceil(epochs * SHARE)
    again = model.restarted(derived_seed(model.seed, RESTART))
    patient: dict[str, Any] = {"patience": allowed}
    if model.config.learning_rate_drops:
        patient = {
            "patience": math.ceil(model.config.patience * SHARE),
            "learning_rate_drops": allowed,
            "learning_rate": model.config.learning_rate * DROP,
        }
    again.config = model.config.model_copy(update={"max_epochs": allowed, **patient})
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
        "verdict": (said := verdict(gain, level)),
        "holds": said == CONVERGED,
    }


def verdict(gain: Interval, before: float) -> str:
    """What a restart shows that added `gain` to a validation NDCG@10 of `before`.

    "still learning": it gained 2 % or more, or surely something. "no answer": it ended surely below its start, by 2 % or
    more; who does not find back cannot say whether there was more to find. Else "converged": the interval holds zero, or
    lies less than 2 % below it, as it may because the first training's best epoch was lucky too.

    >>> verdict(Interval(0.001, -0.002, 0.004, 0.5), 0.18), verdict(Interval(0.001, 0.0005, 0.0015, 0.01), 0.18)
    ('converged', 'still learning')
    >>> verdict(Interval(0.004, -0.002, 0.01, 0.2), 0.18), verdict(Interval(-0.004, -0.006, -0.002, 0.01), 0.18)
    ('still learning', 'no answer')
    """
    if gain.lower > 0 or gain.mean >= MOST * before:
        return STILL_LEARNING
    return NO_ANSWER if gain.upper < 0 and gain.mean <= -MOST * before else CONVERGED
