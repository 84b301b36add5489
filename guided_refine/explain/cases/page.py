"""A case as one HTML page: no script, no outside file, every text from outside escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from guided_refine.errors import InputError
from guided_refine.explain.cases.change_words import moves_told, size_told, users_told
from guided_refine.explain.cases.glossary import GLOSSARY, WEIGHT
from guided_refine.explain.cases.page_style import STYLE
from guided_refine.explain.cases.slope import slope
from guided_refine.explain.cases.words import item_name, provenance_rows
from guided_refine.explain.cells import clean, clip
from guided_refine.explain.encoder_answer import AT_MEAN, how_made, strongest
from guided_refine.explain.words import COLLABORATIVE, weight_told
from guided_refine.reporting.style import label

LIMIT = 2 * 1024 * 1024
"""A page stays below so many bytes."""

TAKEN_APART = 20
"""So many recommendations are shown with all their parts, further ones with their sentence."""

TITLE = 200
_KEY = (
    '<p class="note key"><i class="f"></i>raises<i class="a"></i>lowers; one scale for all attributes here, similar '
    "histories as a number only</p>"
)
_BESIDE = (
    "<thead><tr><th>attribute</th><th class='n'>encoder</th><th></th><th class='n'>direct</th></tr></thead>"
)
_PAST = "<thead><tr><th>event</th><th class='n'>score</th><th></th><th class='n'>rank then</th></tr></thead>"
_LIFTED = "<thead><tr><th>part</th><th class='n'>of the score</th><th></th><th class='n'>above average</th></tr></thead>"
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def case_page(case: Mapping[str, Any]) -> str:
    """The page; raises `InputError` where it would be 2 MiB or more, which takes a list of some thousand items."""
    model = case["model"]
    body = [
        f'<p class="note">Data: {text(case["dataset"])}. Ranked by {label(model["backbone"])} with the attributes built in; '
        f"attributes scored by {text(model['scorer'])} ({text(model['source'])}).</p>",
        '<div class="summary">' + "".join(f"<p>{text(line)}</p>" for line in case["summary"]) + "</div>",
        '<div class="two">',
        *_history(case),
        *_profile(case),
        "</div>",
        *slope(case),
        *_moved(case),
        *_recommendations(case),
        *_asked(case),
        *_encoder(case),
        *_counterfactuals(case),
        *_confidence(case),
        "<h2>Where this comes from</h2>\n<dl>",
        *(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in provenance_rows(case)),
        "</dl>",
        "<h2>What the words mean</h2>\n<dl>",
        *(f"<dt>{text(name)}</dt><dd>{text(meaning)}</dd>" for name, meaning in GLOSSARY),
        "</dl>",
    ]
    page = document(f"Why these items for user {text(clip(case['user'], TITLE))}?", body)
    size = len(page.encode("utf-8"))
    if size >= LIMIT:
        raise InputError(
            f"the page of user '{clip(case['user'], 60)}' would have {size / LIMIT * 2:.1f} MiB, and a page stays below 2; "
            f"ask for fewer than {case['k']} items with --k"
        )
    return page


def document(title: str, body: Sequence[str]) -> str:
    """A whole page; `title` (shown as heading too) and `body` are HTML already."""
    head = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>",
    ]
    return "\n".join([*head, *body, "</body>\n</html>\n"])


def text(value: Any) -> str:
    """Text from outside, as HTML."""
    return escape(clean(str(value)))


def named(item: Mapping[str, Any], width: int = TITLE) -> str:
    """An item's title with its id behind it, as HTML."""
    shown = f"<bdi>{text(item_name(item, width))}</bdi>"
    return (
        f'{shown} <small class="id">[{text(clip(item["item_id"], 40))}]</small>' if item["title"] else shown
    )


def bar(value: float, largest: float) -> str:
    """A bar from the middle to the right for what raises, to the left for what lowers."""
    width = 50 * min(abs(value) / largest, 1.0) if largest else 0.0
    left = 50 if value >= 0 else 50 - width
    kind = "f" if value >= 0 else "a"
    return f'<div class="b"><i class="{kind}" style="left:{left:.1f}%;width:{width:.1f}%"></i><u></u></div>'


def _history(case: Mapping[str, Any]) -> list[str]:
    shown = case["history"]
    return [
        f'<section>\n<h2>History</h2>\n<p class="note">The last {len(shown)} of {case["events"]} events, newest last.</p>',
        '<ol class="history">',
        *(f"<li>{named(item)}</li>" for item in shown),
        "</ol>\n</section>",
    ]


def _profile(case: Mapping[str, Any]) -> list[str]:
    rows = [
        f'<tr><td class="t">{text(row["label"])}</td><td class="n">{row["score"]:.2f}</td>'
        f'<td class="wide"><div class="b"><i class="f" style="left:0;width:{100 * min(max(row["score"], 0), 1):.1f}%"></i>'
        f'</div></td><td class="n">{"–" if row["spread"] is None else format(row["spread"], ".2f")}</td>'
        f'<td class="n">{row["percentile"]:.0f} %</td><td>{text(row["stance"])} ({weight_told(row["weight"])})</td></tr>'
        for row in case["profile"]
    ]
    note = (
        "Score: what the language model read from the history, 0 to 1. Spread: how far its answer is from one digit. Above: "
        "the share of the catalog that has less of it. To the model: the weight that the trained model gives it. "
        + WEIGHT
    )
    if case["profile_estimated"]:
        note = "Estimated from the history: the language model has not scored this user. " + note
    return [
        "<section>\n<h2>Taste profile</h2>\n<table><thead><tr><th>attribute</th><th class='n'>score</th>"
        "<th class='wide'>0 to 1</th><th class='n'>spread</th><th class='n'>above</th><th>to the model</th></tr></thead>",
        *rows,
        f'</table>\n<p class="note">{note}</p>\n</section>',
    ]


def _moved(case: Mapping[str, Any]) -> list[str]:
    moved = case["moved"]
    if moved is None or not moved["came"]:
        return []
    lines = [
        '<h2>What moved, and what moved it</h2>\n<p class="note">What came in is set against what left, in the order of '
        "their ranks. View: direct, the last dot product column by column; the parts sum to the lead in the refined "
        "model.</p>",
        f'{_KEY}\n<div class="cards">',
    ]
    largest = largest_part(moved["came"])
    for item in moved["came"]:
        other = item["instead_of"]
        lines.append(
            f"<article><header><h3>{named(item)}</h3>"
            f'<span class="note">base {item["base_rank"]} → refined {item["rank"]}</span></header>\n'
            f'<p class="note">instead of {named(other)}, base {other["base_rank"]} → refined '
            f"{other['rank']}; lead {item['margin']:+.3f}</p>\n{parts_table(item['parts'], largest)}</article>"
        )
    return [*lines, "</div>"]


def _recommendations(case: Mapping[str, Any]) -> list[str]:
    items = case["recommendations"]
    largest = largest_part(items[:TAKEN_APART])
    note = f"The best {len(items)} of {case['candidates']} items not seen yet. View: direct; parts sum to the score. "
    note += "The last column: how far a part is above the average item's, which is what the sentences tell."
    if len(items) > TAKEN_APART:
        note += f" The first {TAKEN_APART} are shown with all parts."
    return [
        f'<h2>Recommendations, taken apart</h2>\n<p class="note">{note}</p>',
        f'{_KEY}\n<div class="cards">',
        *(_item(item, largest) for item in items[:TAKEN_APART]),
        *(_item(item, None) for item in items[TAKEN_APART:]),
        "</div>",
    ]


def _asked(case: Mapping[str, Any]) -> list[str]:
    lines = []
    for key, title in (("asked", "The item asked for"), ("next", "What the user took next")):
        if case[key] is not None:
            seen = " (the user has it already)" if key == "asked" and case[key]["seen"] else ""
            lines += [f"<h2>{title}{seen}</h2>", _item(case[key], largest_part([case[key]]))]
    return lines


def _item(item: Mapping[str, Any], largest: float | None) -> str:
    base = "" if item["base_rank"] is None else f"base rank {item['base_rank']} · "
    return (
        f'<article><header><span class="rank">{item["rank"]}</span><h3>{named(item)}</h3>'
        f'<span class="note">{base}score {item["score"]:+.3f}</span></header>\n<p>{text(item["reason"])}</p>'
        f"{'' if largest is None else parts_table(item['parts'], largest)}</article>"
    )


def _encoder(case: Mapping[str, Any]) -> list[str]:
    found = case["through_encoder"]
    if found is None:
        return []
    ordered = sorted(found["attributes"], key=lambda part: (-abs(part["value"]), part["name"]))
    rows = [
        (text(part["label"]), part["value"], f'<td class="n">{part["direct"]:+.3f}</td>') for part in ordered
    ]
    shown = strongest(found["events"])
    events = [(named(event), event["value"], f'<td class="n">{event["rank"]}</td>') for event in shown]
    return [
        f"<h2>Through the encoder: {named(found)}</h2>",
        '<p class="note">The direct view above splits the last dot product. Here attributes and past events are taken away '
        f"where they go in, and the model runs again. {text(how_made(found))}</p>",
        *(f"<p>{text(one)}</p>" for one in found["sentences"]),
        '<div class="cards">',
        f'<article><h3>Attributes</h3>\n<p class="note">From {found["background"]:+.3f} with {AT_MEAN} to '
        f"{found['score']:+.3f}; direct: its part in the view above, less the catalog's mean</p>\n"
        f"{_signed(rows, _BESIDE)}</article>",
        f'<article><h3>Past events</h3>\n<p class="note">The score less that without the event; {len(shown)} of '
        f"{len(found['events'])}, those that do most</p>\n{_signed(events, _PAST, 'parts long')}</article>",
        "</div>",
    ]


def _signed(rows: Sequence[tuple[str, float, str]], head: str, kind: str = "parts") -> str:
    """Rows of name (HTML), value with its bar, and a further cell (HTML), below a head (HTML)."""
    largest = max((abs(value) for _, value, _ in rows), default=0.0)
    cells = "".join(
        f'<tr><td class="t">{name}</td><td class="n">{value:+.3f}</td><td>{bar(value, largest)}</td>{beside}</tr>'
        for name, value, beside in rows
    )
    return f'<table class="{kind}">{head}{cells}</table>'


def largest_part(items: Sequence[Mapping[str, Any]]) -> float:
    """The largest part that an attribute has in any of the items: what fills a bar."""
    return max(
        (abs(p["value"]) for item in items for p in item["parts"] if p["name"] != COLLABORATIVE), default=0.0
    )


def parts_table(parts: Sequence[Mapping[str, Any]], largest: float) -> str:
    """Parts as rows: similar histories first, then attributes, largest first, with bars up to `largest`."""
    ordered = sorted(parts, key=lambda p: (p["name"] != COLLABORATIVE, -abs(p["value"]), p["name"]))
    rows = [
        f'<tr><td class="t">{text(part["label"])}</td><td class="n">{part["value"]:+.3f}</td>'
        f"<td>{'' if part['name'] == COLLABORATIVE else bar(part['value'], largest)}</td>{_lift(part)}</tr>"
        for part in ordered
    ]
    head = _LIFTED if parts and "lift" in parts[0] else ""
    return f'<table class="parts">{head}{"".join(rows)}</table>'


def _lift(part: Mapping[str, Any]) -> str:
    return f'<td class="n">{part["lift"]:+.3f}</td>' if "lift" in part else ""


def _counterfactuals(case: Mapping[str, Any]) -> list[str]:
    found = case["counterfactuals"]
    lines = ["<h2>What would change the list</h2>"]
    if found["note"] is not None:
        return [*lines, f"<p>{text(found['note'])}</p>"]
    lines.append(
        '<p class="note">The smallest change of the user\'s scores, in standard deviations over users; what the encoder '
        "read from the history stays. Beside it: the share of users who are at least that far, with all of the moved scores "
        "at once.</p>"
    )
    for item in found["changes"]:
        wanted = "out of the list" if item["wanted"] == "out" else "into the list"
        rows = [("one score", row) for row in item["alone"]]
        rows += [("all together", item["together"])] if item["together"] is not None else []
        cells = "".join(_change(kind, row) for kind, row in rows)
        table = (
            "<table><thead><tr><th>moved</th><th>score now → then</th><th class='n'>size</th><th>users</th>"
            f"<th class='n'>rank then</th></tr></thead>{cells}</table>"
            if rows
            else ""
        )
        lines.append(
            f"<article><header><h3>{named(item)}</h3><span>rank {item['rank']}: what brings it "
            f"{wanted}?</span></header>\n<p>{text(item['sentence'])}</p>{table}</article>"
        )
    return lines


def _change(kind: str, row: Mapping[str, Any]) -> str:
    moves = "<br>".join(text(move) for move in moves_told(row["scores"]))
    return (
        f'<tr><td>{kind}</td><td class="t">{moves}</td><td class="n">{size_told(row["size"])}</td>'
        f"<td>{text(users_told(row))}</td>"
        f'<td class="n">{row["rank"]}</td></tr>'
    )


def _confidence(case: Mapping[str, Any]) -> list[str]:
    found = case["confidence"]
    lines = [
        "<h2>How sure is this?</h2>",
        f"<p>{text(case['trial']['sentence'])}</p>",
        f"<p>{text(found['sentence'])}</p>",
        *(f"<p>{text(one['sentence'])}</p>" for one in found["items"]),
    ]
    known = [row for row in found["attributes"] if row["lower"] is not None]
    if known:
        yes = ("not shown", "yes")
        rows = "".join(
            f'<tr><td class="t">{text(row["label"])}</td><td class="n">{row["n"]}</td>'
            f"<td class='n'>{row['correlation']:+.2f} <span class='whole'>[{row['lower']:+.2f}, {row['upper']:+.2f}]"
            f"</span></td>"
            f"<td>{yes[row['tracks_error']]}</td></tr>"
            for row in known
        )
        lines.append(
            "<table class='checked'><thead><tr><th>attribute</th><th class='n'>items known</th><th class='n'>spread with "
            f"error, 95 %</th><th>tracks error</th></tr></thead>{rows}</table>"
        )
    return lines
