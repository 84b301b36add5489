"""A case as Markdown; characters that mean something there, or in HTML, are escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from guided_refine.explain.cases.change_words import moves_told, size_told, users_told
from guided_refine.explain.cases.glossary import GLOSSARY, WEIGHT
from guided_refine.explain.cases.words import item_with_id, provenance_rows
from guided_refine.explain.cells import clean, clip
from guided_refine.explain.encoder_answer import how_made, strongest
from guided_refine.explain.words import weight_told
from guided_refine.reporting import markdown
from guided_refine.reporting.style import label

TITLE = 200


def case_markdown(case: Mapping[str, Any]) -> str:
    """The case as Markdown text."""
    model = case["model"]
    lines = [
        f"# Why these items for user {mark(clip(case['user'], TITLE))}?",
        "",
        f"Data: {mark(case['dataset'])}. Ranked by {label(model['backbone'])} with the attributes built in; "
        f"attributes scored by {mark(model['scorer'])} ({mark(model['source'])}).",
        "",
        *(f"- {mark(line)}" for line in case["summary"]),
        "",
        f"## History: the last {len(case['history'])} of {case['events']} events, newest last",
        "",
        *(f"1. {_name(item)}" for item in case["history"]),
        "",
        "## Taste profile" + (" (estimated from the history)" if case["profile_estimated"] else ""),
        "",
        *markdown.table(
            ["attribute", "score 0 to 1", "spread", "more than", "to the model", "weight"],
            [
                [
                    mark(row["label"]),
                    f"{row['score']:.2f}",
                    markdown.number(row["spread"], 2),
                    f"{row['percentile']:.0f} % of the catalog",
                    mark(row["stance"]),
                    weight_told(row["weight"]),
                ]
                for row in case["profile"]
            ],
        ),
        mark(WEIGHT),
        "",
        *_lists(case),
        *_moved(case),
        *_recommendations(case),
        *_encoder(case),
        *_counterfactuals(case),
        *_confidence(case),
        "## Where this comes from",
        "",
        *(f"- {name}: {mark(value)}" for name, value in provenance_rows(case)),
        "",
        "## What the words mean",
        "",
        *(f"- {name}: {mark(meaning)}" for name, meaning in GLOSSARY),
    ]
    return "\n".join(lines) + "\n"


def mark(value: Any) -> str:
    """Text from outside, as Markdown."""
    return markdown.escape(clean(str(value)))


def _name(item: Mapping[str, Any]) -> str:
    return mark(item_with_id(item, TITLE))


def _lists(case: Mapping[str, Any]) -> list[str]:
    if case["base"] is None:
        return [
            "## Base against refined",
            "",
            "The run has 0 trained bases of this backbone, so there is no list to compare with.",
            "",
        ]
    rows = []
    for place in range(max(len(case["base"]), len(case["recommendations"]))):
        cells = []
        for items, key in ((case["base"], "refined_rank"), (case["recommendations"], "base_rank")):
            item = items[place] if place < len(items) else None
            cells += ["", ""] if item is None else [_name(item), str(item[key])]
        rows.append([str(place + 1), *cells])
    head = ["place", "base", "its rank in refined", "refined", "its rank in base"]
    return ["## Base against refined", "", *markdown.table(head, rows)]


def _moved(case: Mapping[str, Any]) -> list[str]:
    moved = case["moved"]
    if moved is None or not moved["came"]:
        return []
    names = [part["label"] for part in moved["came"][0]["parts"]]
    return [
        "## What moved, and what moved it",
        "",
        *(f"- {mark(item['sentence'])}" for item in moved["came"]),
        "",
        "View: direct; the parts of a row sum to its lead.",
        "",
        *markdown.table(
            ["in", "instead of", "lead", *(mark(name) for name in names)],
            [
                [_name(item), _name(item["instead_of"]), f"{item['margin']:+.3f}", *_values(item["parts"])]
                for item in moved["came"]
            ],
        ),
    ]


def _values(parts: Sequence[Mapping[str, Any]]) -> list[str]:
    return [f"{part['value']:+.3f}" for part in parts]


def _recommendations(case: Mapping[str, Any]) -> list[str]:
    items = case["recommendations"]
    names = [part["label"] for part in items[0]["parts"]] if items else []
    lines = [
        "## Recommendations, taken apart",
        "",
        f"The best {len(items)} of {case['candidates']} items not seen yet. View: direct; the parts of a row sum to its "
        "score; in brackets, how far each is above the average item's.",
        "",
        *markdown.table(
            ["item", "rank", "base rank", "score", *(mark(name) for name in names)],
            [
                [
                    _name(item),
                    str(item["rank"]),
                    "–" if item["base_rank"] is None else str(item["base_rank"]),
                    f"{item['score']:+.3f}",
                    *(f"{part['value']:+.3f} ({part['lift']:+.3f})" for part in item["parts"]),
                ]
                for item in items
            ],
        ),
        *(f"{item['rank']}. {_name(item)}: {mark(item['reason'])}" for item in items),
        "",
    ]
    for key, title in (("asked", "The item asked for"), ("next", "What the user took next")):
        if case[key] is not None:
            item = case[key]
            seen = " (the user has it already)" if key == "asked" and item["seen"] else ""
            base = "" if item["base_rank"] is None else f", by the base {item['base_rank']}"
            lines += [
                f"## {title}{seen}",
                "",
                f"{_name(item)}, ranked {item['rank']}{base}, score {item['score']:+.3f}: {mark(item['reason'])}",
                "",
            ]
    return lines


def _encoder(case: Mapping[str, Any]) -> list[str]:
    found = case["through_encoder"]
    if found is None:
        return []
    ordered = sorted(found["attributes"], key=lambda part: (-abs(part["value"]), part["name"]))
    shown = strongest(found["events"])
    return [
        f"## Through the encoder: {_name(found)}",
        "",
        *(f"- {mark(one)}" for one in found["sentences"]),
        "",
        mark(how_made(found)),
        "",
        *markdown.table(
            ["attribute", "through the encoder", "direct view, less the catalog's mean"],
            [[mark(part["label"]), f"{part['value']:+.3f}", f"{part['direct']:+.3f}"] for part in ordered],
        ),
        *markdown.table(
            [
                f"past event, {len(shown)} of {len(found['events'])}",
                "score less that without it",
                "rank then",
            ],
            [[_name(event), f"{event['value']:+.3f}", str(event["rank"])] for event in shown],
        ),
    ]


def _counterfactuals(case: Mapping[str, Any]) -> list[str]:
    found = case["counterfactuals"]
    lines = ["## What would change the list", ""]
    if found["note"] is not None:
        return [*lines, mark(found["note"]), ""]
    for item in found["changes"]:
        lines += [mark(item["sentence"]), ""]
        lines += [f"- one score: {mark(_change(row))}" for row in item["alone"]]
        if item["together"] is not None:
            lines.append(f"- all together: {mark(_change(item['together']))}")
        lines += [""] if lines[-1] else []
    return lines


def _change(row: Mapping[str, Any]) -> str:
    moves = ", ".join(moves_told(row["scores"]))
    return (
        f"{moves} ({size_told(row['size'])} standard deviations; {users_told(row)}; rank {row['rank']} then)"
    )


def _confidence(case: Mapping[str, Any]) -> list[str]:
    found = case["confidence"]
    lines = ["## How sure is this?", "", mark(case["trial"]["sentence"]), "", mark(found["sentence"]), ""]
    lines += [f"- {mark(one['sentence'])}" for one in found["items"]]
    lines += [""] if found["items"] else []
    known = [row for row in found["attributes"] if row["lower"] is not None]
    if not known:
        return lines
    return lines + markdown.table(
        ["attribute", "items known", "spread with error, 95 %", "tracks error"],
        [
            [
                mark(row["label"]),
                str(row["n"]),
                f"{row['correlation']:+.2f} {markdown.interval(row['lower'], row['upper'], 2)}",
                "yes" if row["tracks_error"] else "not shown",
            ]
            for row in known
        ],
    )
