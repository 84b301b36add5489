"""Words as the teacher counts them: lower case, without stop words, lightly stemmed, with negation marked."""

from __future__ import annotations

import re
from collections.abc import Iterator

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|[.;:!?,()]")
_ENDS = frozenset(".;:!?()")
_NEGATION_WORDS = (
    "no not never none nobody nothing nor neither without cannot hardly barely rarely lacks lacking"
)
_NEGATIONS = frozenset(_NEGATION_WORDS.split())
_WINDOW = 3
_STOP_WORDS = """
    a about above after again against all almost also always am among an and any anyone anything are around as at
    away back be became because become becomes been before being between both but by can come comes could did do does
    doing done down during each either else enough even ever every everyone everything few find finds first for from
    further get gets give gives go goes going had has have having he her here hers herself him himself his how however
    i if in into is it its itself just keep kind last least less let like lot made make makes many may me might more
    most much must my myself near need needs new next now of off often old on once one only onto or other others our
    out over own part per perhaps put quite rather really s same say says see seem seems set several shall she should
    since so some someone something soon still such t take takes tell tells than that the their them themselves then
    there these they thing things this those though three through till to together too toward towards two under until
    up upon us use used very was way we well went were what when where whether which while who whole whom whose why
    will with within would yet you your yours
"""
_STOP = frozenset(_STOP_WORDS.split())
# Longest first; the stem that stays must have a vowel and three letters.
_SUFFIXES = (
    ("fulness", "ful"), ("ousness", "ous"), ("iveness", "ive"), ("ational", "ate"), ("ization", "ize"),
    ("ement", ""), ("ingly", ""), ("fully", "ful"), ("ously", "ous"), ("ments", ""), ("nesses", ""), ("ities", ""),
    ("ness", ""), ("ment", ""), ("ings", ""), ("iest", "y"), ("ally", "al"), ("edly", ""), ("ility", "le"),
    ("ing", ""), ("ies", "y"), ("ied", "y"), ("ier", "y"), ("ity", ""), ("ers", ""), ("ely", ""),
    ("est", ""), ("ed", ""), ("er", ""), ("ly", ""), ("es", ""), ("s", ""), ("e", ""),
)  # fmt: skip
_VOWEL = re.compile(r"[aeiouyà-ÿ]")


def stem(word: str) -> str:
    """Cut the usual English endings, so that forms of a word meet; other languages pass nearly unchanged.

    >>> [stem(w) for w in ("battle", "battles", "mystery", "mysteries", "running", "glass")]
    ['battl', 'battl', 'mystery', 'mystery', 'run', 'glass']
    """
    if word.endswith(("'s", "’s")):
        word = word[:-2]
    if len(word) < 4 or word.endswith(("ss", "us", "is")):
        return word
    for suffix, instead in _SUFFIXES:
        if word.endswith(suffix):
            rest = word[: -len(suffix)] + instead
            if len(rest) >= 3 and _VOWEL.search(rest):
                if (
                    len(rest) > 3
                    and suffix in ("ing", "ed", "er", "ers", "est", "ings")
                    and rest[-1] == rest[-2]
                ):
                    rest = rest if rest[-1] in "lsz" else rest[:-1]
                return rest
    return word


def content_words(text: str) -> Iterator[tuple[str, bool]]:
    """Stems of content words in order, each with whether a negation stands up to three words before it.

    Commas let a negation reach on ("no blood, no gore"), ends of clauses stop it.

    >>> list(content_words("Not a funny film. Funny songs"))
    [('funny', True), ('film', True), ('funny', False), ('song', False)]
    """
    reach = 0
    for match in _WORD.finditer(text.lower()):
        token = match.group()
        if token in _ENDS:
            reach = 0
        elif token == ",":
            continue
        elif token in _NEGATIONS or token.endswith(("n't", "n’t")):
            reach = _WINDOW
        else:
            if token not in _STOP and len(token) > 1:
                yield stem(token), reach > 0
            reach = max(0, reach - (token not in _STOP))


def is_stop_word(word: str) -> bool:
    """True for a word, in lower case, that says nothing by itself.

    >>> is_stop_word("the"), is_stop_word("lamp")
    (True, False)
    """
    return word in _STOP or word in _NEGATIONS
