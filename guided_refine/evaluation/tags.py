"""Tags that people gave to films, turned into a truth that attribute scores can be held against.

MovieLens tags (user_id, item_id, tag) are free words. A mapping names, per attribute, the tags that say an item
has much of it. Items with one of them are positives; negatives are items that carry other tags, because an item
nobody tagged says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import yaml

from guided_refine.errors import InputError
from guided_refine.strict_yaml import parse_yaml


def normalise_tag(tag: str) -> str:
    """Lower case, hyphens and runs of blanks as one blank.

    >>> normalise_tag(" Thought-Provoking ")
    'thought provoking'
    """
    return " ".join(tag.lower().replace("-", " ").replace("_", " ").split())


def tag_truth(
    tags: pd.DataFrame, mapping: Mapping[str, Sequence[str]], *, min_items: int = 30
) -> pd.DataFrame:
    """Truth of `mapping`'s attributes over the tagged items: columns item_id, attribute, value (1 or 0).

    Attributes with fewer than `min_items` positives are left out: their curve would say little.

    >>> tags = pd.DataFrame({"user_id": [1, 1, 2], "item_id": [7, 8, 8], "tag": ["Funny", "dark", "funny!"]})
    >>> tag_truth(tags, {"humour": ["funny"], "darkness": ["dark"]}, min_items=1).values.tolist()
    [['7', 'humour', 1], ['8', 'humour', 0], ['7', 'darkness', 0], ['8', 'darkness', 1]]
    """
    words = tags["tag"].astype(str).map(normalise_tag)
    items = tags["item_id"].astype(str)
    every = items.drop_duplicates().to_numpy(dtype=object)
    parts = []
    for attribute, named in mapping.items():
        wanted = {normalise_tag(str(tag)) for tag in named}
        positive = set(items[words.isin(wanted)])
        if len(positive) < min_items:
            continue
        value = [int(item in positive) for item in every]
        parts.append(pd.DataFrame({"item_id": every, "attribute": attribute, "value": value}))
    if not parts:
        return pd.DataFrame({"item_id": [], "attribute": [], "value": []})
    return pd.concat(parts, ignore_index=True)


def read_tag_mapping(path: Path | str) -> dict[str, list[str]]:
    """Read a YAML file `attribute: [tag, tag, ...]`; raises `InputError` when it is anything else."""
    try:
        raw = parse_yaml(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"tag mapping {path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise InputError(f"tag mapping {path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict) or not all(isinstance(v, list) and v for v in raw.values()):
        raise InputError(f"tag mapping {path} must be lines of the form  attribute: [tag, another tag]")
    return {str(attribute): [str(tag) for tag in named] for attribute, named in raw.items()}
