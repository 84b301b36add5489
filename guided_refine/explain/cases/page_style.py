"""The looks of a case study's page: light and dark, wide and narrow, on paper."""

from __future__ import annotations

from guided_refine.reporting.palette import AGAINST, BLACK, FOR, GREY, PALE, SKY

_LIGHT = f"""color-scheme: light; --ink: {BLACK}; --quiet: #5b6068; --line: {PALE}; --paper: #fff; --card: #fff;
  --for: {FOR}; --against: {AGAINST}; --other: {GREY};"""
_DARK = f"""color-scheme: dark; --ink: #e8eaed; --quiet: #a4a9b1; --line: #363b44; --paper: #14171b; --card: #1b1f25;
    --for: {SKY}; --against: #f08a4b; --other: #9aa0a9;"""

STYLE = f"""
:root {{ {_LIGHT} }}
@media (prefers-color-scheme: dark) {{ :root {{ {_DARK} }} }}
* {{ box-sizing: border-box; }}
body {{ font: 15px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; color: var(--ink);
  background: var(--paper); max-width: 68rem; margin: 2rem auto; padding: 0 1.25rem; overflow-wrap: anywhere; }}
h1 {{ font-size: 1.6rem; line-height: 1.25; margin: 0 0 .3rem; }}
h2 {{ font-size: 1.15rem; margin: 2.4rem 0 .5rem; break-after: avoid; }}
h3 {{ font-size: 1rem; margin: 0; }}
p {{ margin: .4rem 0; }}
.note {{ color: var(--quiet); font-size: .9rem; }}
.id {{ color: var(--quiet); font-weight: 400; }}
.summary {{ border-left: 4px solid var(--for); padding: .1rem 0 .1rem 1rem; margin: 1.2rem 0; }}
.two {{ display: grid; grid-template-columns: minmax(0, 4fr) minmax(0, 7fr); gap: 0 2.4rem; }}
ol.history {{ padding-left: 2.1rem; margin: .3rem 0; }}
table {{ border-collapse: collapse; width: 100%; }}
th {{ text-align: left; font-weight: 600; font-size: .82rem; color: var(--quiet); border-bottom: 1px solid var(--line);
  vertical-align: bottom; }}
td, th {{ padding: .18rem .7rem .18rem 0; overflow-wrap: normal; }}
td.t {{ overflow-wrap: anywhere; }}
.n {{ text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }}
.whole {{ white-space: nowrap; }}
.parts td:first-child {{ width: 34%; }}
.parts td:nth-child(2) {{ width: 5rem; }}
.parts td:nth-child(4) {{ width: 4.5rem; }}
.parts th.n {{ white-space: normal; }}
.b {{ position: relative; height: .7rem; min-width: 3rem; background: var(--line); border-radius: 3px; }}
.b i {{ position: absolute; top: 0; bottom: 0; border-radius: 3px; }}
.b u {{ position: absolute; left: 50%; top: -2px; bottom: -2px; width: 1px; background: var(--other); }}
.f {{ background: var(--for); }}
.a {{ background: var(--against); }}
.key i {{ display: inline-block; width: .8rem; height: .8rem; border-radius: 2px; margin: 0 .3rem 0 .9rem;
  vertical-align: -1px; }}
article {{ border: 1px solid var(--line); border-radius: 10px; padding: .8rem 1.1rem; margin: .7rem 0;
  background: var(--card); break-inside: avoid; }}
.cards {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: .8rem; }}
.cards article {{ margin: 0; }}
header {{ display: flex; flex-wrap: wrap; gap: .2rem .8rem; align-items: baseline; }}
header h3 {{ flex: 1 1 10rem; }}
header .note {{ white-space: nowrap; }}
.rank {{ background: var(--ink); color: var(--paper); border-radius: 1rem; padding: 0 .6rem; font-size: .85rem; }}
.slope {{ display: grid; grid-template-columns: minmax(0, 1fr) 6rem minmax(0, 1fr); break-inside: avoid; }}
.slope b {{ font-size: .82rem; color: var(--quiet); }}
.slope ol {{ list-style: none; margin: 0; padding: 0; }}
.slope li {{ height: 2.3rem; display: flex; align-items: center; gap: .55rem; line-height: 1.2; }}
.slope li > span {{ display: -webkit-box; -webkit-line-clamp: 2; -webkit-box-orient: vertical; overflow: hidden; }}
.slope li > small {{ margin-left: auto; white-space: nowrap; color: var(--quiet); padding: 0 .3rem; }}
.slope li.new > span {{ font-weight: 600; }}
.slope li > em {{ font-style: normal; color: var(--quiet); min-width: 1.5rem; text-align: right; }}
.slope svg {{ width: 100%; height: 100%; overflow: visible; }}
.slope line {{ stroke: var(--other); stroke-width: 1.5px; vector-effect: non-scaling-stroke; }}
.slope line.up {{ stroke: var(--for); stroke-width: 2px; }}
.slope line.down {{ stroke: var(--against); stroke-width: 2px; }}
dl {{ display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .15rem 1.2rem; margin: .4rem 0; }}
dt {{ color: var(--quiet); }}
dd {{ margin: 0; }}
@media (max-width: 40rem) {{
  body {{ font-size: 14px; margin: 1rem auto; padding: 0 .8rem; }}
  .two {{ grid-template-columns: minmax(0, 1fr); }}
  .slope {{ grid-template-columns: minmax(0, 1fr) 2.6rem minmax(0, 1fr); font-size: 12.5px; }}
  .slope li {{ height: 2.9rem; }}
  .slope li > small {{ display: none; }}
  .parts td:first-child {{ width: 42%; }}
  .parts td:nth-child(2), .parts td:nth-child(4) {{ width: 3.8rem; }}
  .parts .b {{ min-width: 1.5rem; }}
  .checked td, .checked th {{ white-space: normal; }}
  td, th {{ padding-right: .4rem; }}
  .wide {{ display: none; }}
  article {{ padding: .7rem .8rem; }}
  dl {{ grid-template-columns: minmax(0, 1fr); gap: 0; }}
  dd {{ margin-bottom: .4rem; }}
}}
@media print {{
  :root {{ {_LIGHT} }}
  * {{ -webkit-print-color-adjust: exact; print-color-adjust: exact; }}
  html {{ font-size: 8.5pt; }}
  body {{ font-size: 1rem; line-height: 1.4; margin: 0; padding: 0; max-width: none; }}
  h2 {{ margin-top: 1.2rem; }}
  .slope, tr, li, p, .summary {{ break-inside: avoid; }}
  article {{ break-inside: auto; -webkit-box-decoration-break: clone; box-decoration-break: clone; }}
  h2 + .note, .key, header, header + p, article h3, article h3 + p, thead, tr:first-child {{ break-after: avoid; }}
  tr:last-child {{ break-before: avoid; }}
  .cards {{ grid-template-columns: 1fr 1fr; gap: .5rem; }}
  .two {{ grid-template-columns: minmax(0, 2fr) minmax(0, 5fr); gap: 0 1.2rem; }}
  article {{ padding: .5rem .7rem; }}
  .parts {{ font-size: .86rem; }}
  .parts td:first-child {{ width: 1%; white-space: nowrap; }}
  .parts.long td:first-child {{ width: 45%; white-space: normal; }}
  .parts td:nth-child(2), .parts td:nth-child(4) {{ width: 3.6rem; }}
  td, th {{ padding-top: .05rem; padding-bottom: .05rem; }}
  .b {{ height: .5rem; }}
  .slope li {{ height: 1.9rem; }}
  thead {{ display: table-header-group; }}
}}
@page {{ margin: 13mm; }}
"""
