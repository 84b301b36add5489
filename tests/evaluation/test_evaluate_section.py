"""The config's section `evaluate`: defaults that cost nothing, and one sentence for what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from guided_refine.config_file import parse_config
from guided_refine.errors import InputError


def test_defaults_cost_nothing_and_sample_nothing() -> None:
    section = parse_config({"name": "x"}).evaluate
    assert section.baselines == ["random", "popularity", "popularity_last_week"]
    assert section.sampled_negatives is None


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"baselines": ["popularty"]}, "no baseline 'popularty': did you mean 'popularity'?"),
        ({"baselines": ["ease", "ease"]}, "ease is given twice"),
        ({"sampled_negatives": 0}, "evaluate.sampled_negatives: must be 1 or more"),
        ({"negatives": 100}, "unknown key 'evaluate.negatives'"),
    ],
)
def test_what_is_wrong_is_named(section: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_config({"name": "x", "evaluate": section})
    assert sentence in str(caught.value)
