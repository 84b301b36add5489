"""What one of several launched processes does in `test_processes.py`: gradients of every term and task, then a short tuning.

Arguments: the folder of a model, a folder for the results.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from objective_parts import TASKS, Bench, labelled, weights
from safetensors.torch import save_file
from toy_shop import OPTIONS, make_attributes, make_shop, score_items

from guided_refine.config import TuneConfig
from guided_refine.processes import launched
from guided_refine.scoring.language_model import load_language_model
from guided_refine.tuning.tune import tune

TERMS = ("recommendation_weight", "format_weight", "anchor_weight")
OTHER_TASKS = ("like_dislike", "base_recommender")
CONFIG = TuneConfig(steps=3, batch_size=5, negatives=6, save_every=2, rank=4, dropout=0.1, micro_batch_size=2)


def gradients(folder: Path) -> dict[str, torch.Tensor]:
    """Of each term alone, the recommendation term for each task, by `term/task/parameter`."""
    bench = Bench(load_language_model(str(folder), OPTIONS), make_shop(), make_attributes(), dropout=0.0)
    bench.disturb()
    bench.value = torch.rand(bench.value.shape, generator=torch.Generator().manual_seed(0)).double().numpy()
    found = {}
    batch = labelled(bench.examples[0])
    for term, task in [*((term, "next_item") for term in TERMS), *((TERMS[0], task) for task in OTHER_TASKS)]:
        config = weights(**{term: 1.0})
        objective = bench.objective(config, processes=launched(), task=TASKS[task])
        if objective.in_pieces:
            objective.accumulate(batch)
        else:
            objective(batch).total.backward()
        found |= {
            f"{term}/{task}/{n}": p.grad.clone()
            for n, p in bench.model.named_parameters()
            if p.grad is not None
        }
        bench.model.zero_grad()
    return found


def main() -> None:
    """Every process does this; the first writes."""
    model_folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    launched().join()
    found = gradients(model_folder)
    if launched().first:
        out.mkdir(exist_ok=True)
        save_file(found, out / "gradients.safetensors")
    model, shop, attributes = load_language_model(str(model_folder), OPTIONS), make_shop(), make_attributes()
    tune(
        model,
        shop,
        attributes,
        CONFIG,
        OPTIONS,
        out / "tuning",
        item_scores=score_items(model, shop, attributes),
        seed=0,
        free_answers=0,
    )


if __name__ == "__main__":
    main()
