"""What goes into the store and what comes out of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

KEY_BYTES = 16
"""128 bits of a hash: among a billion texts two share a key with a probability of 1e-21."""


@dataclass(frozen=True)
class Reader:
    """Who read a text, and how: names for people, and the hashes that tell one from another.

    `model`: what reports call it; `fingerprint`: hash of weights, revision, dtype and adapter; `base`: the same without
    the adapter; `kind`: "item" or "user"; `prompt`: hash of the instructions and their version.

    >>> Reader("qwen", "f00d", "beef", "item", "1").adapter, Reader("qwen", "beef", "beef", "item", "1").adapter
    ('f00d', '')
    """

    model: str
    fingerprint: str
    base: str
    kind: str
    prompt: str

    @property
    def adapter(self) -> str:
        """The fingerprint, where there is an adapter; else nothing."""
        return self.fingerprint if self.base != self.fingerprint else ""

    @property
    def sha256(self) -> str:
        """Hash of what tells readers apart; the model's name is not part of it."""
        told_by = ":".join((self.fingerprint, self.kind, self.prompt))
        return hashlib.sha256(told_by.encode()).hexdigest()


UNKNOWN = Reader("", "", "", "", "")
"""The reader of scores that came without one, such as those of an earlier version of the store."""


@dataclass(frozen=True)
class StoredScore:
    """One score on its way into the store.

    `text` is a hash of all that was read (tokens, prompt, model and adapter), `attribute` of the scale; value in
    [0, 1], spread in [0, 0.5] or NaN where nobody knows it, `cut_off` names the split. `name` is the attribute's name,
    `reader` who read it, `raw` what the model wrote, where it wrote text.
    """

    text: str
    attribute: str
    value: float
    spread: float
    cut_off: str
    name: str = ""
    reader: Reader = UNKNOWN
    raw: str | None = None


@dataclass(frozen=True)
class ScoreRow:
    """One stored score with the names that people read; `text` is the store's key in hex, `time` seconds since 1970.

    `spread` is None where nobody knows it.
    """

    text: str
    kind: str
    attribute: str
    attribute_sha256: str
    model: str
    fingerprint: str
    adapter: str
    prompt: str
    cut_off: str
    time: int
    value: float
    spread: float | None
    raw: str | None


@dataclass(frozen=True)
class Claim:
    """Answer to "may I compute these?": `granted` texts are ours to compute, `scores` are there already.

    A text that is neither is in another process's hands.
    """

    granted: frozenset[str]
    scores: dict[tuple[str, str], tuple[float, float]]


def text_key(text: str) -> bytes:
    """The 16 bytes under which a text's hash stands in the store.

    >>> len(text_key("0000155843de551c"))
    16
    """
    return hashlib.blake2b(text.encode(), digest_size=KEY_BYTES).digest()


def storable(text: str) -> str:
    """Text without what some database cannot hold: no zero characters, no halves of surrogate pairs.

    >>> storable("a\\x00b\\ud800")
    'a\\ufffdb?'
    """
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
