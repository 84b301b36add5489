"""What a finished tuning writes: the adapter folder as PEFT has it, its card, the curves and the report."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from guided_refine.files import read_json, write_json, write_text
from guided_refine.scoring.language_model import ADAPTER_BASE, LanguageModel
from guided_refine.tuning import artefact

if TYPE_CHECKING:
    from peft import PeftModel


def write_outcome(
    out: Path,
    work: Path,
    model: PeftModel,
    language_model: LanguageModel,
    history: Sequence[dict[str, float]],
    attributes: Sequence[str],
    *,
    cut_off: str,
    seconds: float,
    tokens: int,
    liked_only: bool,
    free_answers: dict[str, float],
) -> None:
    """Write all but the manifest into `out`; `work` is the folder of the unfinished, on the same disk.

    `liked_only`: the held-out events are those that their users liked.
    """
    artefact.write_curves(out, history)
    summary = artefact.summarise_curves(history)
    if liked_only and "held_out" in summary:
        summary["held_out"]["of"] = "likes"
    summary["trainable_parameters"] = sum(p.numel() for p in model.parameters() if p.requires_grad)
    summary["seconds"] = round(seconds, 2)
    summary["tokens_per_second"] = round(tokens / seconds, 1) if tokens else None
    summary |= free_answers
    adapter = work / artefact.ADAPTER
    card = artefact.card(language_model.name, cut_off, attributes, summary)
    save_adapter(model, adapter, language_model.fingerprint, card)
    write_json(out / artefact.REPORT, summary)
    # The manifest is written only after this, so a kill in between is no finished result.
    shutil.rmtree(out / artefact.ADAPTER, ignore_errors=True)
    adapter.rename(out / artefact.ADAPTER)


def save_adapter(model: PeftModel, folder: Path, fingerprint: str, card: str) -> None:
    """An ordinary PEFT folder, the same byte for byte for the same weights; `fingerprint` names the base model.

    `card` takes the place of PEFT's blank one, which gives a path of this machine as the base model.
    """
    model.save_pretrained(str(folder), save_embedding_layers=False)
    # PEFT keeps the layers' names in a set, so their order would differ from run to run.
    settings = read_json(folder / "adapter_config.json")
    settings["target_modules"] = sorted(settings["target_modules"])
    base = Path(str(settings["base_model_name_or_path"]))
    if base.is_absolute() or base.exists():
        # A path of this machine helps nobody elsewhere, and PEFT would look any other name up on the hub;
        # `base_model.json` says which model it is.
        settings["base_model_name_or_path"] = None
    write_json(folder / "adapter_config.json", settings)
    write_json(folder / ADAPTER_BASE, {"fingerprint": fingerprint})
    write_text(folder / "README.md", card)
