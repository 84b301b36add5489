"""What the language model reads, cut into segments: instructions, definitions, text, slots.

Every segment is tokenised apart and the pieces are joined, so that a text's tokens never depend on an attribute,
nor one attribute's on another's. `build_prompt` makes the plan for items or for users; `guided_refine.scoring.slots`
packs it into forward passes; `generation_lines` lays the same segments out as the ordinary prompt and answer.
"""

from __future__ import annotations

import logging
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Literal

from guided_refine.errors import InputError
from guided_refine.files import sha256_json
from guided_refine.scoring.attributes import Attribute, AttributeSet

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

PROMPT_VERSION = "1"
DEFINITION_BUDGET = 96
"""Positions kept free for a definition: the text starts this far behind the instructions, whatever the attributes.

A longer definition is still read whole; only its last positions are then shared with the text's first.
"""

Kind = Literal["item", "user"]

_AT_ONCE = 1024
"""Texts that a tokenizer gets in one call: it takes kilobytes for each until the call is over."""

RULES = "Every scale runs from 1 to 9. Write one line per scale: its name, a colon and one digit.\nScales:"
_ROLES: dict[Kind, str] = {
    "item": "Rate one item of a shop as an experienced salesperson would.",
    "user": "Rate what one customer of a shop looks for, as an experienced salesperson would.",
}
_INSTRUCTIONS: dict[Kind, str] = {kind: f"{role} {RULES}" for kind, role in _ROLES.items()}
_OPENING: dict[Kind, str] = {"item": "\n\nItem:\n", "user": "\n\nThe customer chose, oldest first:\n"}
_DEFINITIONS_HERE, _TEXT_HERE = "@@DEFINITIONS@@", "@@TEXT@@"
# Templates that print today's date would make scores depend on the day they were made.
_FIXED_DAY = "1 January 2025"


@dataclass(frozen=True)
class PromptPlan:
    """Token ids of every segment and the positions at which they stand; all but the text.

    `head`: beginning-of-sequence token (where the model uses one) and instructions. `definitions[a]`, `slots[a]`,
    `lines[a]`: one per attribute. A definition ends in the attribute's question (it is read once, and the slots
    stay short); a slot is the tail and the attribute's name, up to where its digit follows; a line is the name
    behind a line break, as it stands in an answer that has other lines before it. `opening` stands before the
    text, `tail` behind it: it ends the user's turn. `digits`: ids of 1..9 as they follow a slot.
    """

    kind: Kind
    names: tuple[str, ...]
    hashes: tuple[str, ...]
    head: list[int]
    definitions: list[list[int]]
    opening: list[int]
    tail: list[int]
    slots: list[list[int]]
    lines: list[list[int]]
    digits: list[int]
    newline: list[int]
    chat: bool

    @property
    def definition_start(self) -> int:
        """Position of every definition's first token."""
        return len(self.head)

    @property
    def opening_start(self) -> int:
        """Position of the first token of the words that announce the text."""
        return len(self.head) + DEFINITION_BUDGET

    @property
    def text_start(self) -> int:
        """Position of the text's first token."""
        return self.opening_start + len(self.opening)

    @property
    def prefix_reach(self) -> int:
        """Positions that instructions, definitions and opening take: one more than the last of them."""
        return max(self.text_start, self.definition_start + max(map(len, self.definitions)))

    @property
    def slot_tokens(self) -> int:
        """Tokens of all slots of one read."""
        return sum(map(len, self.slots))

    @property
    def prefix_tokens(self) -> int:
        """Tokens that are encoded once: instructions, definitions, opening."""
        return len(self.head) + sum(map(len, self.definitions)) + len(self.opening)

    @property
    def sha256(self) -> str:
        """Hash of what a text's score depends on beside the text, the attribute and the model."""
        return sha256_json([PROMPT_VERSION, self.kind, self.head, self.opening, DEFINITION_BUDGET])

    def attribute_sha256(self, index: int) -> str:
        """Hash of what a score depends on that belongs to one attribute."""
        return sha256_json([self.hashes[index], self.definitions[index], self.slots[index], self.digits])

    def select(self, indices: Sequence[int]) -> PromptPlan:
        """The plan for some of the attributes, in the order given; their scores stay what they were."""

        def pick(segments: list[list[int]]) -> list[list[int]]:
            return [segments[i] for i in indices]

        return replace(
            self,
            names=tuple(self.names[i] for i in indices),
            hashes=tuple(self.hashes[i] for i in indices),
            definitions=pick(self.definitions),
            slots=pick(self.slots),
            lines=pick(self.lines),
        )

    def text_room(self, context: int) -> int:
        """Text tokens that fit a model of `context` positions; raises `InputError` with the numbers where none do."""
        slot = max(map(len, self.slots))
        if not self.has_room(context, 8):
            raise InputError(
                f"the model's context of {context} tokens is too short: instructions take {len(self.head)}, "
                f"definitions up to {max(map(len, self.definitions))} ({DEFINITION_BUDGET} kept free), the opening "
                f"{len(self.opening)}, a slot up to {slot}, and 8 are needed for text; use a model with a longer context "
                "or shorter attribute definitions"
            )
        return context - self.text_start - slot

    def has_room(self, context: int, tokens: int) -> bool:
        """Whether a text of so many tokens fits a model of `context` positions."""
        reach = self.text_start + tokens + max(map(len, self.slots))
        return reach <= context and self.prefix_reach <= context


@dataclass(frozen=True)
class GenerationLines:
    """An ordinary causal prompt with its answer: `ids[:prompt_length]` is the prompt, the rest the template's lines.

    `digit_places[a]` is the index in `ids` of attribute a's digit.
    """

    ids: list[int]
    prompt_length: int
    digit_places: list[int]


def build_prompt(
    tokenizer: PreTrainedTokenizerBase,
    attributes: AttributeSet,
    kind: Kind,
    *,
    chat: Literal["auto", "never"] = "auto",
) -> PromptPlan:
    """Tokenise the segments for items or users.

    With `chat="auto"` a tokenizer's chat template, where it has one, wraps them: instructions, definitions and text
    go into the user's turn, and the header of the assistant's turn becomes part of every slot.

    Raises `InputError` when the tokenizer writes some digit 1..9 with more than one token of its own.
    """
    head, opening, tail, used_chat = _frame(tokenizer, kind, chat)
    definitions, slots, lines = [], [], []
    digits: list[int] | None = None
    for attribute in attributes.attributes:
        definitions.append(segment_ids(tokenizer, _definition(attribute, kind)))
        slot, found = _before_digit(tokenizer, f"{tail}{attribute.label}:")
        line, found_later = _before_digit(tokenizer, f"\n{attribute.label}:")
        digits = digits or found
        if not (digits == found == found_later):
            raise InputError(
                "the tokenizer has no single-token digits: their tokens change with the words before them"
            )
        slots.append(slot)
        lines.append(line)
    assert digits is not None  # an AttributeSet holds at least one attribute
    return PromptPlan(
        kind=kind,
        names=tuple(attributes.names),
        hashes=tuple(a.sha256 for a in attributes.attributes),
        head=head,
        definitions=definitions,
        opening=opening,
        tail=segment_ids(tokenizer, tail),
        slots=slots,
        lines=lines,
        digits=digits,
        newline=segment_ids(tokenizer, "\n"),
        chat=used_chat,
    )


def written_prompt(attributes: AttributeSet, kind: Kind, text: str, *, rules: str = RULES) -> str:
    """The same prompt as one piece of writing, all attributes asked at once: the user's turn for a model behind an address.

    `rules` say in which form to answer, and end in the word that announces the scales.
    """
    definitions = "".join(_definition(attribute, kind) for attribute in attributes.attributes)
    return f"{_ROLES[kind]} {rules}{definitions}{_OPENING[kind]}{text}"


def token_rows(
    tokenizer: PreTrainedTokenizerBase, texts: Iterable[str], limit: int
) -> Iterator[tuple[array[int], bool]]:
    """Token ids of each text as it stands after a line break, at most `limit` of them, and whether it was cut.

    Control tokens that a text spells out (`<|im_end|>`) are taken out, so that no text can end the user's turn. An id
    takes four bytes, so that the texts of a large catalog can be kept.
    """
    control = [
        token for token in tokenizer.get_added_vocab() if token[:1] in ("<", "[") and token[-1:] in (">", "]")
    ]
    anchor = _anchor(tokenizer)
    skip = len(_plain(tokenizer, anchor)) if anchor else 0
    waiting = iter(texts)
    while some := [anchor + _without(text, control) for text in islice(waiting, _AT_ONCE)]:
        for ids in tokenizer(some, add_special_tokens=False, verbose=False)["input_ids"]:
            yield array("I", ids[skip : skip + limit]), len(ids) - skip > limit


def tokenise_texts(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], limit: int
) -> list[tuple[list[int], bool]]:
    """`token_rows` of a few texts, as ordinary lists."""
    return [(ids.tolist(), cut) for ids, cut in token_rows(tokenizer, texts, limit)]


def tokenise_text(tokenizer: PreTrainedTokenizerBase, text: str, limit: int) -> tuple[list[int], bool]:
    """`tokenise_texts` for one text."""
    return tokenise_texts(tokenizer, [text], limit)[0]


def generation_lines(
    plan: PromptPlan,
    text: Sequence[int],
    digits: Sequence[int] | None = None,
    *,
    limit: int | None = None,
) -> GenerationLines:
    """The prompt that asks for all attributes at once, and the lines `name: digit` in order as its answer.

    `digits` are scores 1..9, one per attribute (default: all 5). Where the whole does not fit `limit` tokens the
    definitions are left out, then the text is cut, of a history its beginning; raises `InputError` when not even that fits.
    """
    chosen = list(digits) if digits is not None else [5] * len(plan.names)
    answer: list[int] = []
    places: list[int] = []
    for index, digit in enumerate(chosen):
        answer += plan.slots[index] if index == 0 else plan.lines[index]
        places.append(len(answer))
        answer.append(plan.digits[digit - 1])
    # The tail belongs to the prompt, but for a last space that a tokenizer joins to the first name.
    tail = next(
        (i for i, (a, b) in enumerate(zip(plan.tail, answer, strict=False)) if a != b), len(plan.tail)
    )
    definitions = [token for definition in plan.definitions for token in definition]
    words = list(text)
    fixed = len(plan.head) + len(plan.opening) + len(answer)
    if limit is not None and fixed + len(definitions) + len(words) > limit:
        definitions = []
        if fixed + 1 > limit:
            raise InputError(
                f"instructions and answer take {fixed} tokens, more than the context of {limit}; "
                "use a model with a longer context or fewer attributes"
            )
        room = limit - fixed
        words = words[-room:] if plan.kind == "user" else words[:room]
    prompt = [*plan.head, *definitions, *plan.opening, *words]
    return GenerationLines(prompt + answer, len(prompt) + tail, [len(prompt) + place for place in places])


def segment_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of a segment that follows another: no special tokens, no space that a tokenizer puts before a text."""
    anchor = _anchor(tokenizer)
    if not anchor:
        return _plain(tokenizer, text)
    before, whole = _plain(tokenizer, anchor), _plain(tokenizer, anchor + text)
    return whole[len(before) :] if whole[: len(before)] == before else _plain(tokenizer, text)


def _plain(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def _anchor(tokenizer: PreTrainedTokenizerBase) -> str:
    """A line break where the tokenizer writes a space before every text (sentencepiece), else nothing.

    Behind the anchor, which is then taken off, a segment gets the tokens that it has in the middle of a text.
    """
    first = tokenizer.convert_ids_to_tokens(_plain(tokenizer, "a")[:1])
    return "\n" if first and str(first[0]).startswith("\u2581") else ""


def _without(text: str, control: list[str]) -> str:
    for token in control:
        if token in text:
            text = text.replace(token, " ")
    return text


def _definition(attribute: Attribute, kind: Kind) -> str:
    question = attribute.item_question if kind == "item" else attribute.user_question
    definition, low, high = (
        part.strip().rstrip(".") for part in (attribute.definition, attribute.low, attribute.high)
    )
    return f"\n- {attribute.label}: {definition}. 1 = {low}; 9 = {high}. {question.strip()}"


def _frame(
    tokenizer: PreTrainedTokenizerBase, kind: Kind, chat: Literal["auto", "never"]
) -> tuple[list[int], list[int], str, bool]:
    """Head and opening as tokens, the tail as text, and whether a chat template was used."""
    if chat == "auto" and getattr(tokenizer, "chat_template", None):
        content = f"{_INSTRUCTIONS[kind]}{_DEFINITIONS_HERE}{_OPENING[kind]}{_TEXT_HERE}"
        rendered = _render(tokenizer, content)
        before, found, rest = rendered.partition(_DEFINITIONS_HERE)
        opening, found_text, tail = rest.partition(_TEXT_HERE)
        if found and found_text and _TEXT_HERE not in tail:
            tail = tail if tail[-1:].isspace() else f"{tail} "
            return _plain(tokenizer, before), segment_ids(tokenizer, opening), tail, True
        logger.warning("the tokenizer's chat template cannot take one user turn; prompting without it")
    with_special = list(tokenizer("a", verbose=False)["input_ids"])
    bos = tokenizer.bos_token_id
    start = [bos] if bos is not None and with_special[:1] == [bos] else []
    head = start + _plain(tokenizer, _INSTRUCTIONS[kind])
    return head, segment_ids(tokenizer, _OPENING[kind]), "\n", False


def _render(tokenizer: PreTrainedTokenizerBase, content: str) -> str:
    from jinja2 import TemplateError

    # A macro hides the clock that transformers gives to templates under the same name.
    template = f"{{%- macro strftime_now(f) -%}}{_FIXED_DAY}{{%- endmacro -%}}{tokenizer.chat_template}"
    try:
        return str(
            tokenizer.apply_chat_template(
                [{"role": "user", "content": content}],
                chat_template=template,
                tokenize=False,
                add_generation_prompt=True,
                enable_thinking=False,
                date_string=_FIXED_DAY,
            )
        )
    except TemplateError as error:
        logger.warning("the tokenizer's chat template fails (%s)", error)
        return ""


def _before_digit(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[list[int], list[int]]:
    """Tokens of `text` up to where a digit follows, and the nine tokens that may follow.

    Some tokenizers join the space and the digit, others keep the space apart; both are found by looking.
    """
    rows = [segment_ids(tokenizer, f"{text} {digit}") for digit in range(1, 10)]
    starts = {tuple(row[:-1]) for row in rows}
    digits = [row[-1] for row in rows if row]
    if len(starts) != 1 or len(set(digits)) != 9:
        raise InputError(
            "the tokenizer has no single-token digits: 1 to 9 must each be one token of its own after "
            f"'{text.strip().splitlines()[-1]} '; use another model"
        )
    return list(starts.pop()), digits
