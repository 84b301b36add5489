from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from guided_refine.scoring.builtin.tokenizer import train_tokenizer

TEXTS = [
    "The Salt Orchard; year: 1995; a slow film about bees.",
    "A film about 12 bees and 7 dogs",
    "Ünïcode café",
]


def test_every_digit_is_one_token_wherever_it_stands() -> None:
    tokenizer = train_tokenizer(TEXTS * 5, 400)
    digits = {tokenizer.convert_tokens_to_ids(d) for d in "0123456789"}
    assert len(digits) == 10
    for text in ("1995", "in 1995", "x7", "7 8", "humour: 5\n"):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert sum(i in digits for i in ids) == sum(c.isdigit() for c in text)
        assert all(tokenizer.decode([i]).isdigit() == (i in digits) for i in ids)


@given(st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=60))
def test_any_text_comes_back(text: str) -> None:
    if any(mark in text for mark in ("<|pad|>", "<|start|>", "<|end|>")):
        return
    assert TOKENIZER.decode(TOKENIZER(text, add_special_tokens=False)["input_ids"]) == text


def test_same_texts_give_the_same_tokenizer_and_the_start_token_stands_in_front() -> None:
    again = train_tokenizer(TEXTS, 300)
    assert again.get_vocab() == TOKENIZER.get_vocab()
    assert TOKENIZER("a")["input_ids"][0] == TOKENIZER.bos_token_id
    assert len(TOKENIZER) <= 300


TOKENIZER = train_tokenizer(TEXTS, 300)
