"""Users and items by what a person types: the id, of items also the title; and what may be meant where there is none."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

from guided_refine.errors import InputError
from guided_refine.explain.cells import clip

SUGGESTED = 3
CUTOFF = 0.5
_TITLE = 48


class Names:
    """Ids of one kind, in the order of the data, and for items their titles (empty where there is none)."""

    def __init__(self, kind: str, ids: Sequence[str], titles: Sequence[str] | None = None) -> None:
        self.kind, self.ids = kind, [str(name) for name in ids]
        self.number = {name: place for place, name in enumerate(self.ids)}
        self.titles = [""] * len(self.ids) if titles is None else [str(title) for title in titles]
        self.titled: dict[str, list[int]] = {}
        for place, title in enumerate(self.titles):
            if title:
                self.titled.setdefault(title.strip().casefold(), []).append(place)

    def find(self, name: str, where: object) -> int:
        """Place of an id, or of the one item with this title (capitals do not matter).

        Raises `InputError` for a title of several items and for what is neither, naming what is near; `where`: the run.

        >>> Names("item", ["i1", "i2"], ["Heat", "Ran"]).find("heat", "runs/shop")
        0
        """
        if name in self.number:
            return self.number[name]
        same = self.titled.get(name.strip().casefold(), [])
        if len(same) == 1:
            return same[0]
        if same:
            some = ", ".join(self.ids[place] for place in same[:10])
            raise InputError(
                f"'{clip(name, _TITLE)}' is the title of {len(same)} {self.kind}s in {where}; name one by its id: {some}"
            )
        near = self.near(name)
        hint = (
            f"nearest: {', '.join(self._told(place) for place in near)}"
            if near
            else f"ids look like: {', '.join(self.ids[:SUGGESTED])}"
        )
        raise InputError(f"no {self.kind} '{name}' in {where}; {hint}")

    def near(self, name: str) -> list[int]:
        """Up to three places, the likeliest first: the same but for capitals or zeros before a number, a title with these
        words, then what is spelled alike; of equals those that come first in the data.

        >>> Names("user", ["u1942", "u0421", "u0042"]).near("u42")[0]
        2
        """
        folded = name.strip().casefold()
        found = [place for place, known in enumerate(self.ids) if known.casefold() == folded]
        found += self._with_the_number(folded)
        if folded:
            found += [place for place, title in enumerate(self.titles) if folded in title.casefold()]
        if len(found) < SUGGESTED:
            found += _alike(folded, ((known.casefold(), title.casefold()) for known, title in self._both()))
        return list(dict.fromkeys(found))[:SUGGESTED]

    def _both(self) -> Iterable[tuple[str, str]]:
        return zip(self.ids, self.titles, strict=True)

    def _with_the_number(self, folded: str) -> list[int]:
        """Places of ids with the same numbers: those with the same letters first, then, for a bare number, any letters."""
        words, numbers = _parts(folded)
        if not numbers:
            return []
        known = [(place, *_parts(name.casefold())) for place, name in enumerate(self.ids)]
        same = [place for place, w, n in known if n == numbers and w == words]
        bare = [place for place, w, n in known if n == numbers and w != words] if not "".join(words) else []
        return same + bare

    def _told(self, place: int) -> str:
        title = self.titles[place]
        return f"{self.ids[place]} ({clip(title, _TITLE)})" if title else self.ids[place]


def _parts(name: str) -> tuple[list[str], list[str]]:
    """What stands around the numbers of a name, and the numbers without zeros before them."""
    pieces = re.split(r"([0-9]+)", name)
    return pieces[::2], [piece.lstrip("0") or "0" for piece in pieces[1::2]]


def _alike(name: str, known: Iterable[tuple[str, ...]]) -> list[int]:
    """Places of entries of which one form is spelled like `name`, the most alike first, ties in their order."""
    matcher = difflib.SequenceMatcher()
    matcher.set_seq2(name)
    scored = []
    for place, forms in enumerate(known):
        best = 0.0
        for form in forms:
            matcher.set_seq1(form)
            if form and matcher.real_quick_ratio() >= CUTOFF and matcher.quick_ratio() >= CUTOFF:
                best = max(best, matcher.ratio())
        if best >= CUTOFF:
            scored.append((-best, place))
    return [place for _, place in sorted(scored)]
