"""Loading a causal language model from a folder or the hub, an adapter on top, and the hash that names both."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guided_refine.config import LLMOptions
from guided_refine.devices import pick_device
from guided_refine.errors import InputError, nearest
from guided_refine.files import read_json, sha256_file, sha256_json

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from guided_refine.scoring.attributes import AttributeSet

logger = logging.getLogger(__name__)

ADAPTER_BASE = "base_model.json"
"""File beside an adapter's weights that names the model it was tuned on: {"fingerprint": ...}."""

NOTED: dict[str, Any] = {"output_loading_info": True, "ignore_mismatched_sizes": True}
"""How weights are loaded, so that `refuse_random` can name what is missing; transformers' own words name no tensor."""

_OF_NO_CONSEQUENCE = {
    *("base_model_name_or_path", "revision", "peft_version", "task_type", "auto_mapping", "inference_mode"),
    "lora_dropout",
    "fan_in_fan_out",  # how the model's own layers lie in memory
}
"""Settings of an adapter that change none of its numbers once it is trained."""


@dataclass(frozen=True)
class LanguageModel:
    """A causal language model that is ready to score.

    `model` is a transformers model, or a `peft.PeftModel` around one. `fingerprint` hashes weights, configuration,
    tokenizer, dtype and adapter: equal fingerprints give equal scores. `base_fingerprint` leaves the adapter out.
    """

    model: Any
    tokenizer: PreTrainedTokenizerBase
    name: str
    fingerprint: str
    device: torch.device
    base_fingerprint: str = ""

    @property
    def context(self) -> int:
        """Positions that the model can tell apart and attend over."""
        return context_length(self.model)


def context_length(model: Any) -> int:
    """Positions of a model: the least of its position limit and its sliding window.

    What reaches beyond a sliding window is read more slowly, so texts are cut to stay inside where prompts fit.
    """
    return min(_positions(model.config))


def _positions(config: Any) -> tuple[int, int]:
    """Position limit, and how many positions the layers with the shortest view see."""
    config = config.get_text_config()
    limits = [getattr(config, "max_position_embeddings", None), getattr(config, "n_positions", None)]
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    if rope.get("rope_type") in ("longrope", "dynamic"):
        # Beyond these positions every token is turned otherwise, so a score would depend on the texts beside it.
        own = getattr(config, "original_max_position_embeddings", None)
        limits.append(rope.get("original_max_position_embeddings") or own)
    known = [int(limit) for limit in limits if isinstance(limit, int) and limit > 0]
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    seen = int(window) if isinstance(window, int) and window > 0 else None
    return min(known, default=seen or 4096), seen or min(known, default=4096)


def reading_context(
    config: Any, tokenizer: PreTrainedTokenizerBase, attributes: AttributeSet, options: LLMOptions
) -> int:
    """Positions that the prompts for items and users may take, one number for both.

    Those inside of a model's sliding window; where it holds no prompt with a text, or with two events of a history, all that
    the model has. `config`: the model's configuration.
    """
    from guided_refine.scoring.prompt import build_prompt

    every, seen = _positions(config)
    if seen >= every:
        return every
    for kind in ("item", "user"):
        plan = build_prompt(tokenizer, attributes, kind, chat=options.chat)
        if not plan.has_room(seen, 8 if kind == "item" else 2 * (options.event_tokens + len(plan.newline))):
            return every
    return seen


def load_language_model(
    spec: str, options: LLMOptions, *, adapter: Path | None = None, name: str | None = None
) -> LanguageModel:
    """Load a model folder or a hub id, in evaluation mode, with an optional PEFT adapter folder on top.

    Nothing is downloaded unless `options.allow_download`; only safetensors weights are read and no code of a model
    is ever run. `name` is what reports call it (default: the folder's name or the hub id).

    Raises `InputError` when the folder is incomplete (the sentence names the file), the model is not at hand, or the
    adapter belongs to another model.
    """
    folder = _local_folder(spec)
    if folder is not None:
        _check_folder(folder)
    source = str(folder) if folder is not None else spec
    tokenizer, model = _load(source, spec, options)
    _check_vocabulary(spec, len(tokenizer), int(model.get_input_embeddings().weight.shape[0]))
    base = _fingerprint(folder, spec, model)
    fingerprint = base
    if adapter is not None:
        model = _with_adapter(model, adapter, base)
        fingerprint = sha256_json([base, _adapter_hash(adapter)])
    device = pick_device(options.device, "llm_options.device")
    model = model.to(device).eval()
    return LanguageModel(
        model=model,
        tokenizer=tokenizer,
        name=name or (folder.name if folder is not None else spec),
        fingerprint=fingerprint,
        device=device,
        base_fingerprint=base,
    )


def check_language_model(spec: str, options: LLMOptions, attributes: AttributeSet) -> None:
    """Refuse, without loading any weights, a model that could not score these attributes.

    Raises `InputError` as `load_language_model` does for a folder that is incomplete, a model that is not at hand and
    a device that is not there; and when the tokenizer has no single-token digits, or the context is too short.
    """
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError, safe_open
    from transformers import AutoConfig, AutoTokenizer

    from guided_refine.scoring.prompt import build_prompt

    folder = _local_folder(spec)
    if folder is not None:
        _check_folder(folder)
    source = str(folder) if folder is not None else spec
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **_where(options))
        config = AutoConfig.from_pretrained(source, **_where(options))
    except (OSError, ValueError, KeyError, RuntimeError, StrictDataclassError) as error:
        raise _not_loaded(source, spec, options, error) from error
    pick_device(options.device, "llm_options.device")
    known = int(getattr(config.get_text_config(), "vocab_size", None) or len(tokenizer))
    _check_vocabulary(spec, len(tokenizer), known)
    context = reading_context(config, tokenizer, attributes, options)
    for kind in ("item", "user"):
        build_prompt(tokenizer, attributes, kind, chat=options.chat).text_room(context)
    for path in sorted(folder.glob("*.safetensors")) if folder is not None else ():
        try:
            with safe_open(path, framework="np"):
                pass  # opening compares the header with the file's length
        except (OSError, SafetensorError) as error:
            raise InputError(f"{path} is damaged ({error}); copy the model's weights again") from error


def _check_vocabulary(spec: str, written: int, known: int) -> None:
    """Refuse a tokenizer with tokens that the model has no place for; warn of one that leaves most places unused."""
    if written > known:
        raise InputError(
            f"model {spec}: its tokenizer knows {written} tokens, the model only {known}; they do not belong together, "
            "copy the model's own tokenizer into the folder"
        )
    if written < known // 2:
        logger.warning(
            "model %s: its tokenizer knows %d tokens, the model %d; is it the model's own?",
            spec,
            written,
            known,
        )


def _where(options: LLMOptions) -> dict[str, Any]:
    """Where a model may come from: never its code, and the hub only when allowed."""
    where: dict[str, Any] = {"local_files_only": not options.allow_download, "trust_remote_code": False}
    if options.revision is not None:
        where["revision"] = options.revision
    return where


def _local_folder(spec: str) -> Path | None:
    if "://" in spec:
        raise InputError(f"llm '{spec}' is an address; give a model folder, a hub id or builtin")
    path = Path(spec).expanduser()
    if path.is_dir():
        return path
    if path.is_absolute() or spec.startswith((".", "~")) or spec.count("/") > 1 or path.exists():
        raise InputError(f"llm folder {spec} does not exist or is not a folder")
    return None


def _check_folder(folder: Path) -> None:
    """Name the first file that a usable model folder lacks."""
    if not (folder / "config.json").is_file() and (folder / "adapter_config.json").is_file():
        raise InputError(
            f"model folder {folder} holds an adapter, not a model; give the folder of the model that it was tuned on"
        )
    if not (folder / "config.json").is_file():
        raise InputError(f"model folder {folder} has no config.json; it needs one, weights and a tokenizer")
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = set(read_json(index).get("weight_map", {}).values())
        lost = sorted(shard for shard in shards if not (folder / shard).is_file())
        if lost:
            raise InputError(f"model folder {folder} lacks {lost[0]}, which its index names; copy it again")
    elif not (folder / "model.safetensors").is_file():
        other = sorted(p.name for p in folder.glob("*.bin")) + sorted(p.name for p in folder.glob("*.pt*"))
        hint = (
            f"; {other[0]} is a pickle and is not read, convert it to safetensors"
            if other
            else "; copy the weights into it"
        )
        raise InputError(f"model folder {folder} has no model.safetensors{hint}")
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        raise InputError(f"model folder {folder} has no tokenizer.json; save the model's tokenizer into it")


def _load(source: str, spec: str, options: LLMOptions) -> tuple[PreTrainedTokenizerBase, Any]:
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    # Its bar for a load of a second would break the run's own display.
    transformers_logging.disable_progress_bar()
    where = _where(options)
    how = {"dtype": options.dtype, "use_safetensors": True, **NOTED}
    loader: Any = AutoModelForCausalLM  # its types do not know that it notes anything
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **where)
        try:
            model, noted = loader.from_pretrained(source, attn_implementation="sdpa", **where, **how)
        except ValueError as error:
            if "scaled_dot_product_attention" not in str(error):
                raise
            logger.warning("%s does not support SDPA; using its eager attention", spec)
            model, noted = loader.from_pretrained(source, attn_implementation="eager", **where, **how)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError, StrictDataclassError) as error:
        raise _not_loaded(source, spec, options, error) from error
    refuse_random(f"model {spec}", model, noted, wanted="a causal language model")
    return tokenizer, model


def refuse_random(
    where: str, model: Any, noted: Mapping[str, Any], *, wanted: str, unused: tuple[str, ...] = ()
) -> None:
    """Raise `InputError` where a model got weights that its folder does not hold: random ones, and so all it would say.

    `noted`: what transformers noted while loading (see `NOTED`); weights that are tied to others are not in it. Weights
    whose names start with one of `unused` may lack. The sentence names the first weight, and how many there are.
    """
    kind = type(model).__name__
    # Some versions note a name with both of its shapes.
    shapes = [found if isinstance(found, str) else found[0] for found in noted["mismatched_keys"]]
    missing, shapes = (
        sorted(name for name in names if not name.startswith(unused))
        for names in (noted["missing_keys"], shapes)
    )
    if missing:
        held = (getattr(model.config, "architectures", None) or [kind])[0]
        advice = "copy its weights again" if held == kind else f"it holds a {held}, give {wanted}"
        raise InputError(f"{where} lacks {_weights(missing)} of a {kind}; {advice}")
    if shapes:
        raise InputError(
            f"{where} has {_weights(shapes)} in another shape than its config.json says; copy both files again"
        )


def _weights(names: list[str]) -> str:
    return f"the weight {names[0]}" if len(names) == 1 else f"{len(names)} weights ({names[0]}, ...)"


def _not_loaded(source: str, spec: str, options: LLMOptions, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:300]
    if Path(source).is_dir():
        return InputError(f"model folder {spec} cannot be loaded: {reason}")
    if not options.allow_download:
        guess = nearest(spec, ["builtin"]) if "/" not in spec else ""
        return InputError(
            f"llm '{spec}' is neither a folder nor a model already on this machine"
            f"{f' ({guess})' if guess else ''}; give a local folder or set llm_options.allow_download=true"
        )
    return InputError(f"llm '{spec}' cannot be loaded from the hub: {reason}")


def _fingerprint(folder: Path | None, spec: str, model: PreTrainedModel) -> str:
    dtype = str(model.dtype)
    if folder is None:
        return sha256_json([spec, str(getattr(model.config, "_commit_hash", None)), dtype])
    return sha256_json([dtype, folder_fingerprint(folder)])


def folder_fingerprint(folder: Path) -> str:
    """Hash of the files in a model folder that its scores depend on: weights, configuration, tokenizer."""
    digest = hashlib.sha256()
    names = ("config.json", "*.safetensors", "tokenizer*", "vocab*", "merges.txt", "*.jinja")
    for path in sorted({p for pattern in names for p in folder.glob(pattern) if p.is_file()}):
        digest.update(f"{path.name}:{sha256_file(path)}\n".encode())
    return digest.hexdigest()


def _adapter_hash(adapter: Path) -> str:
    from peft import PEFT_TYPE_TO_CONFIG_MAPPING, PeftType

    settings = read_json(adapter / "adapter_config.json")
    kept = {k: settings.get(k) for k in ("peft_type", "r", "lora_alpha", "target_modules", "use_rslora")}
    kept["target_modules"] = sorted(kept["target_modules"] or [])
    # Only what differs from PEFT's own, so that adapters without such settings keep their hash.
    config = PEFT_TYPE_TO_CONFIG_MAPPING[PeftType(settings["peft_type"])]
    usual = {field.name: field.default for field in fields(config) if field.default is not MISSING}
    special = {
        key: value
        for key, value in settings.items()
        if key not in kept and key not in _OF_NO_CONSEQUENCE and (value or None) != (usual.get(key) or None)
    }
    weights = sha256_file(adapter / "adapter_model.safetensors")
    return sha256_json([kept, weights, special] if special else [kept, weights])


def _with_adapter(model: PreTrainedModel, adapter: Path, base: str) -> Any:
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors import SafetensorError, safe_open

    for name in ("adapter_config.json", "adapter_model.safetensors"):
        if not (adapter / name).is_file():
            raise InputError(f"adapter folder {adapter} has no {name}; tune again or give another folder")
    card = adapter / ADAPTER_BASE
    if card.is_file() and read_json(card).get("fingerprint") != base:
        raise InputError(
            f"adapter {adapter} was tuned on another model than the one it is loaded on; tune again"
        )
    try:
        tuned = PeftModel.from_pretrained(model, str(adapter), is_trainable=False)
        with safe_open(adapter / "adapter_model.safetensors", framework="pt") as file:
            stored = set(file.keys())
    except (RuntimeError, ValueError, KeyError, OSError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"adapter {adapter} does not fit this model ({reason}); tune again") from error
    if stored != set(get_peft_model_state_dict(tuned)):
        raise InputError(
            f"adapter {adapter} has weights for other layers than this model's; it belongs to another model"
        )
    return tuned
