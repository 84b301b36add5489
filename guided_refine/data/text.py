"""Item text by simple attribute concatenation (SAC; LLMEmb, arXiv 2409.19925, and RecXplore): title, then
"name: value" pairs, each value capped, markup and line breaks neutralised."""

from __future__ import annotations

import html
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from guided_refine.errors import InputError, nearest

if TYPE_CHECKING:
    import pandas as pd

VALUE_CHARS = 200
"""An ordinary value is cut to this many characters in the text."""
LONG_CHARS = 1000
"""A prose value (plot, description, ...) is cut to this many characters in the text."""
STORED_CHARS = 2000
"""No value is kept longer than this."""

_RAW_CHARS = 20_000
_EMPTY = frozenset({"", "nan", "none", "null", "n/a", "[]", "{}", "\\n", "(no genres listed)"})
_PROSE = frozenset(
    {"description", "plot", "overview", "summary", "synopsis", "about", "text", "feature", "features"}
)
# Columns that say nothing about what an item is, or that were made from what users did with it
# (sales ranks, average ratings, "also bought"), which would leak interactions into the text.
_NOT_TEXT = re.compile(
    r"(^|_)id$|[a-z]Id$|ID$"
    r"|(?i:url|image|^img|video|rank|^also_|^asin$|^isbn|^upc$|^related$|bought_together|similar_item)"
    r"|(?i:^rating|_rating|ratings?_|^sentiment$|^tech[12]$|^fit$|^date$|discount_price|^position$)"
)
_SCRIPT = re.compile(r"<(script|style)\b.*?(</\1\s*>|$)", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<!--.*?-->|</?[A-Za-z!][^<>]*>", re.DOTALL)
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_PAGE_SCRIPT = re.compile(r"getTime\(\)|var aPageStart")
_PIPES = re.compile(r"(?<=\S)\|(?=\S)")
_ARTICLES = "The|A|An|Le|La|Les|L'|Un|Une|Il|Lo|I|Gli|L´|Der|Die|Das|Ein|Eine|El|Los|Las|De|Det|Den|En|Et|Het|O|Os|As|Um|Uma"
_ARTICLE_LAST = re.compile(rf"(?P<rest>[^(),][^()]*), (?P<article>{_ARTICLES})(?=\s*(?:\(|\)|$))")


def clean(text: str) -> str:
    """One line of plain text: entities decoded, tags, scripts, control and invisible characters gone.

    >>> clean("Salt &amp;amp; Pepper<br/>  <b>Set</b>\\n")
    'Salt & Pepper Set'
    >>> clean("I <3 cats, 5 < 6")
    'I <3 cats, 5 < 6'
    """
    text = text[:_RAW_CHARS]
    if "&" in text:
        text = html.unescape(html.unescape(text))
    if "<" in text:
        text = _TAG.sub(" ", _SCRIPT.sub(" ", text))
    if _PAGE_SCRIPT.search(text):
        return ""
    text = unicodedata.normalize("NFC", _INVISIBLE.sub("", _CONTROL.sub(" ", text)))
    text = " ".join(text.split())
    return "" if text.lower() in _EMPTY else _cut(text, STORED_CHARS)


def flatten(value: Any) -> str:
    """A value as text: nested lists and mappings joined with ", ", repeats and empty parts left out.

    >>> flatten([["Toys", "Games"], ["Toys", "Puzzles"]])
    'Toys, Games, Puzzles'
    >>> flatten({"Brand": "Acme", "ASIN": "B00X"})
    'Brand Acme'
    """
    if isinstance(value, str):
        return _PIPES.sub(", ", value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, Mapping):
        pairs = ((str(key), flatten(part)) for key, part in value.items())
        return ", ".join(f"{key} {part}" for key, part in pairs if part and not _is_number_key(key))
    if isinstance(value, Iterable):
        parts = (part for item in value for part in _parts(item))
        return ", ".join(dict.fromkeys(part for part in parts if part))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _parts(value: Any) -> list[str]:
    if isinstance(value, Iterable) and not isinstance(value, str | Mapping):
        return [part for item in value for part in _parts(item)]
    return [flatten(value).strip()]


def _is_number_key(key: str) -> bool:
    return bool(_NOT_TEXT.search(key.lower())) or any(
        word in key.lower()
        for word in ("asin", "isbn", "upc", "model number", "weight", "dimensions", "date ")
    )


def _cut(text: str, limit: int) -> str:
    """Cut at the last word that fits."""
    if len(text) <= limit:
        return text
    head, space, _ = text[: limit + 1].rpartition(" ")
    return head.rstrip(" ,;") if space and len(head) > limit // 2 else text[:limit]


def article_first(title: str) -> str:
    """Put an article that a catalog sorted to the end back in front, also inside parentheses.

    >>> article_first("Postman, The (Postino, Il) (1994)")
    'The Postman (Il Postino) (1994)'
    >>> article_first("Avventura, L' (Adventure, The) (1960)")
    "L'Avventura (The Adventure) (1960)"
    """

    def swap(match: re.Match[str]) -> str:
        article, rest = match["article"], match["rest"]
        return f"{article}{rest}" if article[-1] in "'´" else f"{article} {rest}"

    return _ARTICLE_LAST.sub(swap, title)


def text_columns(items: pd.DataFrame, wanted: Sequence[str] | None = None) -> list[str]:
    """Columns that follow the title in the text, in catalog order.

    Default: all but ids, links, pictures, columns made from interactions, yes/no flags, and columns with one
    value for every item. `wanted` takes exactly those; raises `InputError` for one that is not there.
    """
    columns = [str(c) for c in items.columns if c not in ("item_id", "title", "text")]
    if wanted is not None:
        for column in wanted:
            if column not in columns and column != "title":
                raise InputError(
                    f"data.text_columns: the items have no column '{column}': {nearest(column, columns)}"
                )
        return [column for column in wanted if column != "title"]
    return [c for c in columns if not _NOT_TEXT.search(c) and _says_something(items[c].unique(), len(items))]


def _says_something(values: Iterable[str], items: int) -> bool:
    words = {str(value).lower() for value in values}
    if words - {""} <= {"true", "false"}:
        return False
    return len(words) > 1 or items == 1


def item_texts(items: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """Text of every item, shape (items,); "" where an item has neither title nor values.

    >>> import pandas as pd
    >>> items = pd.DataFrame({"title": ["Toy Story (1995)", ""], "genres": ["Comedy; Kids", ""],
    ...                       "year": ["1995", ""]})
    >>> item_texts(items, ["genres", "year"])
    ['Toy Story (1995); genres: Comedy, Kids', '']
    """
    titles = [_cut(_plain(title), VALUE_CHARS) for title in items["title"]]
    parts: list[list[str]] = [[title] if title else [] for title in titles]
    for column in columns:
        name = column.replace("_", " ").strip()
        limit = LONG_CHARS if column.lower() in _PROSE else VALUE_CHARS
        is_year = column.lower() in ("year", "release_year")
        for place, value in enumerate(items[column]):
            if value and not (is_year and f"({value})" in titles[place]):
                parts[place].append(f"{name}: {_cut(_plain(value), limit)}")
    return ["; ".join(pieces) for pieces in parts]


def _plain(value: str) -> str:
    # The separator of the pairs must not come from a value.
    return value.replace(";", ",")
