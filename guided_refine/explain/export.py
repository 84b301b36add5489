"""A case study as one file: HTML that needs nothing else, JSON, Markdown, or a picture.

Titles come from outside, so every format shows them as text: nothing in a title runs, links or formats.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

from guided_refine.errors import InputError, nearest
from guided_refine.explain.text import clean, clip, explain_user, shortened
from guided_refine.explain.words import COLLABORATIVE
from guided_refine.files import write_text
from guided_refine.reporting import markdown
from guided_refine.reporting.palette import AGAINST, BLACK, FOR, GREY, PALE
from guided_refine.reporting.style import label, new_figure, save, styled

FORMATS = ("html", "json", "md", "png")


def export_case(
    run: Path | str, user: str, format: str, out: Path | str, *, item: str | None = None, k: int | None = None
) -> Path:
    """Write the explanation of one user as one file and return its path.

    `format`: html (self-contained, no script), json (what `explain_user` returns), md, or png. Raises `InputError`
    as `explain_user` does, for an unknown format, and when the file cannot be written.
    """
    if format not in FORMATS:
        raise InputError(f"no export format '{format}': {nearest(format, FORMATS)}")
    answer = explain_user(run, user, item=item, k=k)
    out = Path(out)
    if format == "png":
        return draw_case(answer, out)
    writers: dict[str, Callable[[dict[str, Any]], str]] = {
        "html": case_html,
        "json": lambda case: json.dumps(case, indent=2, ensure_ascii=False) + "\n",
        "md": case_markdown,
    }
    write_text(out, writers[format](answer))
    return out


# ------------------------------------------------------------------------------------------------ HTML

_STYLE = f"""
:root {{ color-scheme: light; }}
body {{ font: 15px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; color: {BLACK}; background: #fff;
  max-width: 60rem; margin: 2rem auto; padding: 0 1.25rem; }}
h1 {{ font-size: 1.6rem; margin: 0 0 .2rem; }}
h2 {{ font-size: 1.1rem; margin: 2.2rem 0 .6rem; }}
.note {{ color: #5b6068; font-size: .9rem; margin: .2rem 0; }}
ol.history {{ columns: 2; column-gap: 2rem; padding-left: 1.4rem; margin: 0; }}
ol.history li {{ break-inside: avoid; overflow-wrap: anywhere; }}
table {{ border-collapse: collapse; width: 100%; }}
th {{ text-align: left; font-weight: 600; font-size: .85rem; color: #5b6068; border-bottom: 1px solid {PALE}; }}
td, th {{ padding: .2rem .6rem .2rem 0; vertical-align: middle; }}
td.number, th.number {{ text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; width: 4.5rem; }}
td.name {{ width: 12rem; }}
.track {{ background: {PALE}; border-radius: 3px; height: .7rem; position: relative; min-width: 8rem; }}
.track span {{ display: block; height: 100%; border-radius: 3px; position: absolute; top: 0; }}
.middle {{ position: absolute; left: 50%; top: -2px; bottom: -2px; width: 1px; background: {GREY}; }}
article {{ border: 1px solid {PALE}; border-radius: 10px; padding: .9rem 1.1rem; margin: .8rem 0; break-inside: avoid; }}
article header {{ display: flex; gap: .8rem; align-items: baseline; }}
article header b {{ flex: 1; overflow-wrap: anywhere; }}
.rank {{ background: {BLACK}; color: #fff; border-radius: 1rem; padding: 0 .6rem; font-size: .85rem; }}
.key i {{ display: inline-block; width: .8rem; height: .8rem; border-radius: 2px; margin: 0 .3rem 0 .9rem;
  vertical-align: -1px; }}
"""


def case_html(answer: dict[str, Any]) -> str:
    """The case as one HTML page: no script, no outside file, every title escaped."""
    model = answer["model"]
    head = f"Why these items for {_text(answer['user'])}?"
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>{head}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{head}</h1>",
        f'<p class="note">Data: {_text(answer["dataset"])}. Ranked by {label(model["backbone"])} with '
        f"refined embeddings; attributes scored by {_text(model['scorer'])} ({model['source']}).</p>",
        f"<h2>History</h2>\n<p class='note'>The last {len(answer['history'])} of {answer['events']} events, "
        "newest last.</p>\n<ol class='history'>",
        *(f"<li>{_text(h['title'] or h['item_id'])}</li>" for h in answer["history"]),
        "</ol>\n<h2>Taste profile</h2>",
        "<table><tr><th>attribute</th><th class='number'>score</th><th>0 to 1</th>"
        "<th class='number'>above</th><th>to the model</th></tr>",
        *(_profile_row(row) for row in answer["profile"]),
        "</table>",
        '<p class="note">Score: what the language model read from the history. Above: the share of the catalog that '
        "has less of it. To the model: what the trained model makes of it.</p>",
    ]
    if answer["profile_estimated"]:
        parts.append(
            '<p class="note">Estimated from the history: the language model has not scored this user.</p>'
        )
    parts.append(
        f'<h2>Recommendations</h2>\n<p class="note">The best of {answer["candidates"]} items not seen yet. The parts of an '
        f'item sum to its score.</p>\n<p class="note key"><i style="background:{FOR}"></i>raises the score'
        f'<i style="background:{AGAINST}"></i>lowers it<i style="background:{GREY}"></i>similar histories</p>'
    )
    parts += [_item_html(item) for item in answer["recommendations"]]
    for key, title in (("asked", "The item asked for"), ("next", "What the user took next")):
        if answer[key] is not None:
            parts += [f"<h2>{title}</h2>", _item_html(answer[key])]
    return "\n".join([*parts, "</body>\n</html>\n"])


def _text(value: Any) -> str:
    return escape(clean(str(value)))


def _profile_row(row: dict[str, Any]) -> str:
    share = 100 * min(max(row["score"], 0.0), 1.0)
    return (
        f'<tr><td class="name">{_text(row["label"])}</td><td class="number">{row["score"]:.2f}</td>'
        f'<td><div class="track"><span style="left:0;width:{share:.1f}%;background:{FOR}"></span></div></td>'
        f'<td class="number">{row["percentile"]:.0f} %</td><td>{row["stance"]}</td></tr>'
    )


def _item_html(item: dict[str, Any]) -> str:
    ordered = sorted(item["parts"], key=lambda p: (p["name"] != COLLABORATIVE, -abs(p["value"]), p["name"]))
    largest = max((abs(p["value"]) for p in ordered), default=0.0) or 1.0
    rows = []
    for part in ordered:
        value = part["value"]
        width = 50 * abs(value) / largest
        left = 50 if value >= 0 else 50 - width
        colour = GREY if part["name"] == COLLABORATIVE else FOR if value >= 0 else AGAINST
        rows.append(
            f'<tr><td class="name">{_text(part["label"])}</td><td class="number">{value:+.3f}</td><td>'
            f'<div class="track"><span style="left:{left:.2f}%;width:{width:.2f}%;background:{colour}"></span>'
            '<i class="middle"></i></div></td></tr>'
        )
    return (
        f'<article><header><span class="rank">{item["rank"]}</span><b>{_text(item["title"] or item["item_id"])}</b>'
        f"<span>score {item['score']:+.3f}</span></header>\n<p>{_text(item['reason'])}</p>\n"
        f"<table>{''.join(rows)}</table></article>"
    )


# ------------------------------------------------------------------------------------------------ Markdown


def case_markdown(answer: dict[str, Any]) -> str:
    """The case as Markdown; characters that mean something there, or in HTML, are escaped."""
    model = answer["model"]
    names = [p["label"] for p in answer["recommendations"][0]["parts"]] if answer["recommendations"] else []
    lines = [
        f"# Why these items for {_mark(answer['user'])}?",
        "",
        f"Data: {_mark(answer['dataset'])}. Ranked by {label(model['backbone'])} with refined embeddings; "
        f"attributes scored by {_mark(model['scorer'])} ({model['source']}).",
        "",
        f"## History: the last {len(answer['history'])} of {answer['events']} events, newest last",
        "",
        *(f"1. {_mark(h['title'] or h['item_id'])}" for h in answer["history"]),
        "",
        "## Taste profile" + (" (estimated from the history)" if answer["profile_estimated"] else ""),
        "",
        "| attribute | score 0 to 1 | more than | to the model |",
        "| --- | ---: | ---: | --- |",
        *(
            f"| {_mark(r['label'])} | {r['score']:.2f} | {r['percentile']:.0f} % of the catalog | {r['stance']} |"
            for r in answer["profile"]
        ),
        "",
        "## Recommendations",
        "",
        f"The best of {answer['candidates']} items not seen yet. The parts of a row sum to its score.",
        "",
        "| rank | item | score | " + " | ".join(_mark(n) for n in names) + " |",
        "| ---: | --- | ---: |" + " ---: |" * len(names),
        *(_item_row(item) for item in answer["recommendations"]),
        "",
        *(
            f"{i['rank']}. {_mark(i['title'] or i['item_id'])}: {_mark(i['reason'])}"
            for i in answer["recommendations"]
        ),
    ]
    for key, title in (("asked", "The item asked for"), ("next", "What the user took next")):
        if answer[key] is not None:
            item = answer[key]
            lines += [
                "",
                f"## {title}",
                "",
                f"{_mark(item['title'] or item['item_id'])}, ranked {item['rank']}: {_mark(item['reason'])}",
            ]
    return "\n".join(lines) + "\n"


def _mark(value: Any) -> str:
    return markdown.escape(clean(str(value)))


def _item_row(item: dict[str, Any]) -> str:
    values = " | ".join(f"{p['value']:+.3f}" for p in item["parts"])
    return f"| {item['rank']} | {_mark(item['title'] or item['item_id'])} | {item['score']:+.3f} | {values} |"


# ------------------------------------------------------------------------------------------------ picture


@styled
def draw_case(answer: dict[str, Any], path: Path) -> Path:
    """The case as a PNG: the taste profile, and a bar chart of contributions for the best three items."""
    items = answer["recommendations"][:3]
    rows = [max(len(answer["profile"]), 1), *(len(shortened(i["parts"])) for i in items)]
    size = (9.0, 0.27 * sum(rows) + 0.75 * len(rows) + 0.5)
    figure, axes = new_figure(len(rows), 1, size, height_ratios=rows)
    figure.set_layout_engine("constrained", hspace=0.06, h_pad=0.08)
    figure.suptitle(clip(f"Why these items for {answer['user']}?", 70), fontsize=13, x=0.02, ha="left")
    profile, panels = axes[0][0], [row[0] for row in axes[1:]]
    _bars(profile, [(r["label"], r["score"], FOR) for r in answer["profile"]], "{:.2f}")
    profile.set(xlim=(0, 1.1), title="Taste profile, 0 to 1")
    # One scale for all items, so that bars of different items may be compared.
    values = [value for item in items for _, value in shortened(item["parts"])]
    low, high = min([0.0, *values]), max([0.0, *values])
    limits = (low - 0.12 * (high - low), high + 0.12 * (high - low)) if high > low else (-1.0, 1.0)
    for axis, item in zip(panels, items, strict=True):
        behaviour = {p["label"] for p in item["parts"] if p["name"] == COLLABORATIVE}
        bars = [
            (name, value, GREY if name in behaviour else FOR if value >= 0 else AGAINST)
            for name, value in shortened(item["parts"])
        ]
        _bars(axis, bars, "{:+.2f}")
        axis.set_xlim(*limits)
        axis.axvline(0, color=GREY, linewidth=0.8)
        title = clip(f"{item['rank']}. {item['title'] or item['item_id']}", 70)
        axis.set_title(f"{title}   score {item['score']:+.2f}")
    return save(figure, path)


def _bars(axis: Any, rows: list[tuple[str, float, str]], number: str) -> None:
    bars = axis.barh(
        range(len(rows)), [value for _, value, _ in rows], color=[colour for *_, colour in rows], height=0.65
    )
    axis.bar_label(bars, [number.format(value) for _, value, _ in rows], padding=3, fontsize=8)
    axis.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    axis.spines["left"].set_visible(False)
    axis.tick_params(length=0)
