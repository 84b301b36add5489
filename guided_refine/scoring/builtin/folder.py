"""Files of the builtin model: checkpoints while it is trained, an ordinary Hugging Face folder when it is done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from guided_refine.errors import InputError
from guided_refine.files import atomic_path, read_json, write_json, write_text

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

DONE = "pretraining.json"
"""Written last: what the folder was trained on. A folder without it is not finished."""

_CARD = """---
library_name: transformers
pipeline_tag: text-generation
---
# builtin

A Llama-shaped language model of {parameters:,} parameters, {body:,} of them beside the embeddings, trained in minutes
on the texts of one catalog ({catalog}, {items:,} items) and on one attribute set ({domain}, version {version}).

{teacher}

It has **no knowledge of the world**. All it knows is which words of this catalog go together, and which of them go
together with what its teacher said. It does not know what a title stands for, what a brand is
famous for, or what a word means that the catalog never explains. Its scores say whether the method works end to end; for
scores that rest on knowledge, use a language model from a hub.

It learned from no interaction: neither who bought what nor in which order.

Attributes: {attributes}.
"""


class Checkpoint:
    """Weights and optimiser state after whole epochs, in one safetensors file beside the future model.

    One file, replaced in one step: a kill leaves the state after the previous epoch or after this one.
    """

    def __init__(self, out: Path, key: str) -> None:
        self.path = out / "checkpoint.safetensors"
        self._key = key

    def save(
        self,
        epoch: int,
        model: LlamaForCausalLM,
        optimiser: torch.optim.AdamW,
        seconds: float,
        curve: list[dict[str, float]],
    ) -> None:
        """Keep the state after `epoch` whole epochs."""
        from safetensors.torch import save_file

        names = [name for name, _ in model.named_parameters()]
        tensors = {f"model.{name}": p.detach().contiguous() for name, p in model.named_parameters()}
        for place, state in optimiser.state_dict()["state"].items():
            for field in ("exp_avg", "exp_avg_sq", "step"):
                tensors[f"{field}.{names[place]}"] = state[field].contiguous()
        header = {
            "key": self._key,
            "epoch": str(epoch),
            "seconds": f"{seconds:.1f}",
            "curve": json.dumps(curve),
        }
        with atomic_path(self.path) as part:
            save_file(tensors, part, metadata=header)

    def load(
        self, model: LlamaForCausalLM, optimiser: torch.optim.AdamW
    ) -> tuple[int, float, list[dict[str, float]]]:
        """Restore what `save` kept of the same training; returns epochs done, seconds spent and the curve.

        Raises `InputError` when the file is damaged.
        """
        from safetensors import SafetensorError, safe_open

        if not self.path.exists():
            return 0, 0.0, []
        try:
            with safe_open(self.path, framework="pt") as file:
                header = file.metadata()
                if header["key"] != self._key:
                    return 0, 0.0, []
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        except (OSError, SafetensorError) as error:
            raise InputError(f"{self.path} is damaged ({error}); delete it and run again") from error
        state = {}
        for place, (name, parameter) in enumerate(model.named_parameters()):
            parameter.data.copy_(tensors[f"model.{name}"])
            state[place] = {field: tensors[f"{field}.{name}"] for field in ("exp_avg", "exp_avg_sq", "step")}
        optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
        return int(header["epoch"]), float(header["seconds"]), json.loads(header["curve"])

    def remove(self) -> None:
        """Delete it; the finished folder needs none."""
        self.path.unlink(missing_ok=True)


def is_finished(out: Path, key: str) -> bool:
    """Whether `out` holds the whole result of the training that `key` names."""
    return (out / DONE).exists() and read_json(out / DONE).get("key") == key


def save_folder(
    out: Path,
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    card: dict[str, Any],
    done: dict[str, Any],
) -> None:
    """Write config.json, model.safetensors, tokenizer files and README.md, each in one step, and the mark last."""
    from safetensors.torch import save_file

    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(out)
    weights = {n: p.detach().contiguous() for n, p in model.named_parameters()}
    with atomic_path(out / "model.safetensors") as part:
        save_file(weights, part, metadata={"format": "pt"})
    model.generation_config.save_pretrained(out)
    write_text(out / "config.json", model.config.to_json_string(use_diff=False))
    write_text(out / "README.md", _CARD.format(**card))
    write_json(out / DONE, done)
