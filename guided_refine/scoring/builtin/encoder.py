"""A sentence encoder as the builtin model's teacher: how far a text lies from the low pole towards the high pole.

With texts and poles as unit vectors, `direction = e(high) - e(low)` per attribute; an item's evidence is the
projection of its text on it, standardised over the catalog. (Kozlowski, Taddy and Evans, 2019, "The geometry of
culture", read cultural dimensions off word vectors in this way.) The encoder may know what words mean beyond the
catalog, so the labels do; the builtin model still reads texts only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from guided_refine.data.dataset import Dataset
from guided_refine.errors import InputError
from guided_refine.files import sha256_json
from guided_refine.progress import Progress
from guided_refine.scoring.attributes import AttributeSet
from guided_refine.scoring.builtin.teacher import WeakLabels

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

KEY = "llm_options.teacher.encoder"
_BATCH = 32
_LONGEST = 512
_LEAST, _TRUST = 0.4, 0.3


class SentenceEncoder:
    """A teacher from the folder of any Hugging Face encoder: configuration, safetensors weights, tokenizer.

    A text's vector is the mean of the last layer's states over its tokens, at unit length. No code of a model is run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def recipe(self) -> dict[str, Any]:
        """What the labels depend on beside texts and attributes. Raises `InputError` for a folder that lacks files."""
        from guided_refine.scoring.language_model import folder_fingerprint

        self._check_files()
        return {"teacher": "encoder", "encoder": sha256_json(folder_fingerprint(self.folder))}

    @property
    def sentence(self) -> str:
        """Who taught, for the model's card."""
        return (
            f"Its teacher was the sentence encoder `{self.folder.resolve().name}`: how far a text lies from the low "
            "towards the high pole of each definition."
        )

    def check(self, attributes: AttributeSet) -> None:
        """Raise `InputError` for a folder that lacks files."""
        self._check_files()

    def labels(
        self, dataset: Dataset, attributes: AttributeSet, *, seed: int, progress: Progress
    ) -> WeakLabels:
        """Ranks of the projections; the further out, the surer. Items without a text get no confidence.

        Raises `InputError` for a model that cannot be loaded or gives numbers that are not finite.
        """
        from scipy.stats import rankdata

        texts = [text.strip() for text in dataset.texts]
        known = np.flatnonzero([bool(text) for text in texts])
        poles = [pole for a in attributes.attributes for pole in (a.high, a.low)]
        vectors = self.embed([*poles, *(texts[i] for i in known)], progress=progress)
        evidence = np.zeros((len(texts), len(attributes.attributes)))
        evidence[known] = towards_high(
            vectors[len(poles) :], vectors[0 : len(poles) : 2], vectors[1 : len(poles) : 2]
        )
        value = (rankdata(evidence, axis=0) - 0.5) / max(1, len(texts))
        confidence = np.zeros_like(evidence)
        confidence[known] = np.minimum(1.0, _LEAST + _TRUST * np.abs(evidence[known]))
        return WeakLabels(value, confidence)

    def embed(self, texts: Sequence[str], *, progress: Progress | None = None) -> np.ndarray:
        """Vectors of unit length, shape (texts, width), in batches of similar length."""
        import torch

        tokenizer, model, longest = self._load()
        rows = tokenizer(list(texts), truncation=True, max_length=longest, verbose=False)["input_ids"]
        order = sorted(range(len(texts)), key=lambda i: len(rows[i]))
        out = np.zeros((len(texts), 0), dtype=np.float32)
        with torch.no_grad(), (progress or Progress(quiet=True)).task("embed texts", len(texts)) as task:
            for begin in range(0, len(order), _BATCH):
                some = order[begin : begin + _BATCH]
                width = max(1, max(len(rows[i]) for i in some))
                ids = torch.full((len(some), width), tokenizer.pad_token_id)
                seen = torch.zeros(len(some), width, dtype=torch.long)
                for place, i in enumerate(some):
                    ids[place, : len(rows[i])] = torch.tensor(rows[i], dtype=torch.long)
                    seen[place, : len(rows[i])] = 1
                state = model(input_ids=ids, attention_mask=seen).last_hidden_state.float()
                mean = (state * seen[..., None]).sum(1) / seen.sum(1, keepdim=True).clamp_min(1)
                unit = torch.nn.functional.normalize(mean, dim=-1).numpy()
                if not out.shape[1]:
                    out = np.zeros((len(texts), unit.shape[1]), dtype=np.float32)
                out[some] = unit
                task.advance(len(some))
        if not np.isfinite(out).all():
            raise InputError(
                f"{KEY}: {self.folder} gives vectors that are not finite; its weights are damaged"
            )
        return out

    def _check_files(self) -> None:
        if not self.folder.is_dir():
            raise InputError(f"{KEY}: {self.folder} is not a folder")
        if not (self.folder / "config.json").is_file():
            raise InputError(
                f"{KEY}: {self.folder} has no config.json; give the folder of a Hugging Face encoder"
            )
        if not any(self.folder.glob("*.safetensors")):
            raise InputError(
                f"{KEY}: {self.folder} has no weights in safetensors; other formats are not read"
            )
        if not any(
            (self.folder / f).is_file()
            for f in ("tokenizer.json", "tokenizer.model", "vocab.txt", "vocab.json")
        ):
            raise InputError(f"{KEY}: {self.folder} has no tokenizer; save the encoder's own into it")

    def _load(self) -> tuple[PreTrainedTokenizerBase, Any, int]:
        """Tokenizer, model, and the tokens it reads at most."""
        from safetensors import SafetensorError
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging as transformers_logging

        from guided_refine.scoring.language_model import NOTED, refuse_random

        self._check_files()
        transformers_logging.disable_progress_bar()
        where: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            tokenizer = AutoTokenizer.from_pretrained(self.folder, **where)
            model, noted = AutoModel.from_pretrained(
                self.folder, use_safetensors=True, dtype="float32", **where, **NOTED
            )
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            reason = " ".join(str(error).split())[:300]
            raise InputError(f"{KEY}: {self.folder} cannot be loaded: {reason}") from error
        two_parts = bool(getattr(model.config, "is_encoder_decoder", False))
        # The mean over the last states reads neither; checkpoints of masked models and of bare encoders lack them.
        unused = ("pooler.", "decoder.") if two_parts else ("pooler.",)
        refuse_random(f"{KEY}: {self.folder}", model, noted, wanted="a sentence encoder", unused=unused)
        model = (model.get_encoder() if two_parts else model).eval()
        if tokenizer.pad_token_id is None:
            # Padding is masked, so any token will do.
            tokenizer.pad_token = (
                tokenizer.eos_token or tokenizer.unk_token or tokenizer.convert_ids_to_tokens(0)
            )
        limits = [_LONGEST, tokenizer.model_max_length]
        positions = getattr(model.config, "max_position_embeddings", None)
        if isinstance(positions, int) and positions > 0:
            # RoBERTa counts positions from behind its padding token.
            limits.append(positions - (2 if model.config.model_type in _OFFSET else 0))
        return tokenizer, model, min(limits)


_OFFSET = ("roberta", "xlm-roberta", "camembert", "mpnet", "longformer")


def towards_high(texts: np.ndarray, high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Projections of texts (n, width) on `high - low` (attributes, width), standardised over the texts: (n, attributes).

    An attribute whose poles are one point, or on which all texts lie alike, gets zeros.

    >>> texts = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    >>> towards_high(texts, np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])).ravel().round(2).tolist()
    [1.3, -1.14, -0.16]
    """
    direction = high - low
    length = np.linalg.norm(direction, axis=1)
    direction = np.divide(direction, length[:, None], out=np.zeros_like(direction), where=length[:, None] > 0)
    along = texts.astype(np.float64) @ direction.T.astype(np.float64)
    centred = along - along.mean(axis=0)
    deviation = centred.std(axis=0)
    return np.divide(centred, deviation, out=np.zeros_like(centred), where=deviation > 1e-9)
