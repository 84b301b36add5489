"""Safe YAML in which a key may stand only once: the standard loader lets the last of two win without a word."""

from __future__ import annotations

from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        met: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in met:
                    raise yaml.constructor.ConstructorError(
                        None,
                        None,
                        f"the key '{key.value}' stands twice, in lines {met[key.value]} and {line}",
                    )
                met[key.value] = line
        return super().construct_mapping(node, deep=deep)


def parse_yaml(text: str) -> Any:
    """The value that a YAML text holds; raises `yaml.YAMLError`, also when a mapping has one key twice.

    >>> parse_yaml("a: [1, 2]")
    {'a': [1, 2]}
    >>> parse_yaml("a: 1\\nb: 2\\na: 3")
    Traceback (most recent call last):
    yaml.constructor.ConstructorError: the key 'a' stands twice, in lines 1 and 3
    """
    return yaml.load(text, Loader=_Loader)
