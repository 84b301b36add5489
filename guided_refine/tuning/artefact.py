"""The folder that tuning leaves behind: adapter, curves, report, manifest; and what is known of unfinished work."""

from __future__ import annotations

import csv
import io
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from guided_refine import __version__
from guided_refine.errors import InputError
from guided_refine.files import read_json, sha256_file, sha256_json, write_json, write_text

ADAPTER, MANIFEST, CURVES, REPORT = "adapter", "manifest.json", "curves.csv", "report.json"
WEIGHTS = "adapter_model.safetensors"
COLUMNS = [
    "step",
    "loss",
    "recommendation",
    "format",
    "template",
    "digit_mass",
    "anchor",
    "learning_rate",
    "held_out",
    "held_out_loss",
]


def is_done(out: Path, made_from: dict[str, Any]) -> bool:
    """Whether `out` holds the finished result of exactly these inputs, undamaged."""
    if not (out / MANIFEST).is_file():
        return False
    try:
        manifest = read_json(out / MANIFEST)
    except InputError:
        return False
    weights = out / ADAPTER / WEIGHTS
    return (
        manifest.get("made_from") == made_from
        and weights.is_file()
        and manifest.get("adapter_sha256") == sha256_file(weights)
        and (out / REPORT).is_file()
    )


def work_folder(out: Path, made_from: dict[str, Any]) -> Path:
    """Where the unfinished work under these inputs lies."""
    return out / f"unfinished-{sha256_json(made_from)[:16]}"


def start(out: Path, made_from: dict[str, Any]) -> Path:
    """The folder for unfinished work under these inputs; that of other inputs, and their result, is deleted."""
    work = work_folder(out, made_from)
    if out.is_dir():
        for other in out.glob("unfinished-*"):
            if other != work:
                shutil.rmtree(other)
        (out / MANIFEST).unlink(missing_ok=True)
    work.mkdir(parents=True, exist_ok=True)
    return work


def finish(out: Path, work: Path, made_from: dict[str, Any]) -> None:
    """Write the manifest, which declares the result finished, then drop the unfinished work."""
    write_json(
        out / MANIFEST,
        {
            "kind": "lora-adapter",
            "version": __version__,
            "cut_off": made_from["cut_off"],
            "adapter_sha256": sha256_file(out / ADAPTER / WEIGHTS),
            "made_from": made_from,
        },
    )
    shutil.rmtree(work)


def write_curves(out: Path, history: Sequence[dict[str, float]]) -> None:
    """`curves.csv`: one row per step, row 0 before the first; a cell is empty where a value was not computed."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", restval="", lineterminator="\n")
    writer.writeheader()
    for row in history:
        if "loss" in row or row.get("step") == 0:
            writer.writerow(row)
    write_text(out / CURVES, text.getvalue())


def summarise_curves(history: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Means of each column over the first and the last tenth of the steps, and the held-out ranking before and after.

    >>> summarise_curves([{"step": 1, "loss": 3.0}, {"step": 2, "loss": 1.0}])["last"]
    {'loss': 1.0}
    """
    rows = [row for row in history if "loss" in row]
    count = max(1, len(rows) // 10)
    held = [row for row in history if "held_out" in row]
    summary: dict[str, Any] = {
        "steps": len(rows),
        "first": _means(rows[:count]),
        "last": _means(rows[-count:]),
    }
    if held:
        summary["held_out"] = {
            name: {"before": held[0][name], "after": held[-1][name]} for name in ("held_out", "held_out_loss")
        }
    return summary


def _means(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    names = [n for n in COLUMNS[1:7] if all(n in row for row in rows)]
    return {n: math.fsum(row[n] for row in rows) / len(rows) for n in names}


_HOW_TO_LOAD = """It belongs to the model whose fingerprint `base_model.json` names:

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(BASE_FOLDER), ADAPTER_FOLDER)
```
"""


def card(model: str, cut_off: str, attributes: Sequence[str], summary: dict[str, Any]) -> str:
    """README of the adapter folder."""
    first, last = summary["first"].get("loss"), summary["last"].get("loss")
    return f"""# LoRA adapter for {model}

Tuned by guided-refine {__version__} so that the attribute scores of items and users also predict a user's next item.

- attributes: {", ".join(attributes)}
- steps: {summary["steps"]}, loss {first:.4g} to {last:.4g}
- interactions it has seen: the training part of split `{cut_off}`

{_HOW_TO_LOAD}"""


def stage_card(model: str, cut_off: str, stage: str, learnt: str, steps: int, loss: dict[str, float]) -> str:
    """README of the adapter folder that a stage before tuning leaves; `learnt` ends the sentence on what it is for."""
    return f"""# LoRA adapter for {model} after stage {stage}

Trained by guided-refine {__version__} {learnt}; the stages that follow go on with its weights.

- steps: {steps}, loss per learnt token {loss["first"]:.4g} to {loss["last"]:.4g} nats
- interactions it may have seen, in this stage and those before it: the training part of split `{cut_off}`

{_HOW_TO_LOAD}"""
