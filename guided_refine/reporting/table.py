"""The table that `guided-refine run` prints when it is done."""

from __future__ import annotations

from pathlib import Path

from guided_refine.files import read_json

SHOWN = ("ndcg@10", "recall@10", "mrr")


def console_table(run: Path) -> str:
    """Rows of `metrics.json`, averaged over seeds, with differences to the base and their intervals; then baselines."""
    rows = read_json(run / "metrics.json")
    differences = {(d["backbone"], d["variant"], d["metric"]): d for d in read_json(run / "differences.json")}
    lines = [
        f"{'backbone':9} {'variant':18} {'NDCG@10':>8} {'recall@10':>9} {'MRR':>7}  NDCG@10 against base (95 % interval)"
    ]
    seen = set()
    for row in rows:
        key = (row["backbone"], row["variant"])
        if key in seen:
            continue
        seen.add(key)
        same = [r for r in rows if (r["backbone"], r["variant"]) == key]
        mean = {m: sum(r.get(m, float("nan")) for r in same) / len(same) for m in SHOWN}
        gain = differences.get((*key, "ndcg@10"))
        text = ""
        if gain is not None:
            text = f"{gain['mean']:+.4f} [{gain['lower']:+.4f}, {gain['upper']:+.4f}]"
        mark = "" if all(r["converged"] for r in same) else "  not converged"
        lines.append(
            f"{key[0]:9} {key[1]:18} {mean['ndcg@10']:8.4f} {mean['recall@10']:9.4f} {mean['mrr']:7.4f}  {text}{mark}"
        )
    if (run / "baselines.json").exists():
        for row in read_json(run / "baselines.json")["rows"]:
            values = [row.get(m, float("nan")) for m in SHOWN]
            lines.append(f"{row['name']:28} {values[0]:8.4f} {values[1]:9.4f} {values[2]:7.4f}")
    return "\n".join(lines)
