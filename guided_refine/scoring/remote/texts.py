"""What a remote model reads of items and histories, as text; counted and cut without the model's tokenizer, or with it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from guided_refine.config import LLMOptions
from guided_refine.data.dataset import Dataset
from guided_refine.errors import InputError
from guided_refine.scoring.histories import event_text, window_start

if TYPE_CHECKING:
    from tokenizers import Tokenizer

LETTERS_PER_TOKEN = 4
"""Where there is no tokenizer, texts are cut as if a token had so many letters."""
TEMPLATE_TOKENS = 64
"""Set aside per request for what a server puts around a message: its template, a system prompt of its own."""
# What chat templates mark turns with; a server may take it for the mark itself, wherever it stands.
_CONTROL = re.compile(r"<\|[^<>|]*\|>|</?s>|\[/?(?:INST|SYSTEM_PROMPT)\]|<(?:start|end)_of_turn>|<</?SYS>>")


class TextMeasure:
    """Cuts texts and counts tokens; with a tokenizer's folder by its tokens, else by letters and bytes.

    `count` is an upper bound: no tokenizer makes more tokens of a text than it has bytes, plus what the server adds.

    >>> measure = TextMeasure(None)
    >>> measure.cut("hello there", 2), measure.cut("hello", 2)
    (('hello th', True), ('hello', False))
    >>> measure.count("hello")
    70
    """

    def __init__(self, tokenizer: str | Path | None) -> None:
        self._tokenizer = None if tokenizer is None else _load(Path(tokenizer).expanduser())

    def cut(self, text: str, limit: int) -> tuple[str, bool]:
        """The beginning of a text, at most `limit` tokens, without marks that could end the turn; and whether it was cut."""
        text = _CONTROL.sub(" ", text)
        end = limit * LETTERS_PER_TOKEN
        if self._tokenizer is not None:
            # Behind a line break, as texts stand in prompts, some tokenizers cut the first word in another way.
            spans = self._tokenizer.encode(f"\n{text}", add_special_tokens=False).offsets
            ends = [after - 1 for _, after in spans if after > 1]
            end = ends[limit - 1] if len(ends) > limit else len(text)
        return text[:end].rstrip(), len(text) > end

    def count(self, text: str) -> int:
        """Prompt tokens that a request with this text may cost at most."""
        if self._tokenizer is not None:
            return len(self._tokenizer.encode(text, add_special_tokens=False).ids) + TEMPLATE_TOKENS
        # Some tokenizers first write out compatibility characters, of which a few are longer then; some begin every
        # text with a space of their own.
        written_out = unicodedata.normalize("NFKC", text)
        return 1 + max(len(text.encode()), len(written_out.encode())) + TEMPLATE_TOKENS


class HistoryWords:
    """Histories of a dataset's users as texts, oldest event first, one event a line.

    Which events are read is the same as for a model on this machine (`guided_refine.scoring.histories`).
    """

    def __init__(self, dataset: Dataset, options: LLMOptions, measure: TextMeasure) -> None:
        self._dataset = dataset
        self._events = options.history_events
        rows: Sequence[tuple[str, bool]] = [
            measure.cut(event_text(title, text), options.event_tokens)
            for title, text in zip(dataset.titles, dataset.texts, strict=True)
        ]
        self._items = [text for text, _ in rows]
        self.events_cut = sum(cut for _, cut in rows)

    def text(self, user: int, position: int) -> str:
        """The text that a score of `user` at `position` reads: events before `position` only."""
        start = window_start(position, self._events)
        events = self._dataset.sequences[user][start:position]
        return "\n".join(self._items[int(event) - 1] for event in events)


def beside_config(options: LLMOptions, config_folder: Path) -> LLMOptions:
    """The options with the tokenizer's folder found from the config's own, where it is there."""
    given = options.remote.tokenizer
    if given is None or not (config_folder / given).is_dir():
        return options
    remote = options.remote.model_copy(update={"tokenizer": str(config_folder / given)})
    return options.model_copy(update={"remote": remote})


def _load(folder: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    if not folder.is_dir():
        raise InputError(f"llm_options.remote.tokenizer: {folder} is not a folder")
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise InputError(f"llm_options.remote.tokenizer: {folder} has no tokenizer.json")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"llm_options.remote.tokenizer: {path} is not a tokenizer ({reason})") from error
