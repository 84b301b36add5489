"""A key may stand once in a mapping; everything else is standard safe YAML."""

from __future__ import annotations

import pytest
import yaml

from guided_refine.strict_yaml import parse_yaml


@pytest.mark.parametrize(
    "text",
    [
        "a: {b: 1}\nc: {b: 2}",
        "a: &x {b: 1, c: 2}\nd:\n  <<: *x\n  b: 3",
        "- 1\n- a: [~, 2.5]",
        "",
        "? [1]\n: 2",
    ],
)
def test_equals_the_standard_loader_where_no_key_repeats(text: str) -> None:
    try:
        expected = yaml.safe_load(text)
    except yaml.YAMLError:
        with pytest.raises(yaml.YAMLError):
            parse_yaml(text)
    else:
        assert parse_yaml(text) == expected


@pytest.mark.parametrize(
    "text", ["a: 1\na: 1", "x:\n  a: 1\n  b: 2\n  a: 3", "{a: 1, 'a': 2}", "- {q: 1, q: 2}"]
)
def test_repeats_are_refused_at_any_depth(text: str) -> None:
    with pytest.raises(yaml.YAMLError, match="stands twice"):
        parse_yaml(text)


def test_no_python_objects() -> None:
    with pytest.raises(yaml.YAMLError):
        parse_yaml("!!python/object/apply:os.getcwd []")
