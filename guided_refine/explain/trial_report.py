"""The trial of a run's explanations as files: `RUN/explain/trial.json` with three plots, and as lines for a terminal."""

from __future__ import annotations

import shlex
import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from guided_refine.errors import InputError
from guided_refine.explain.explainer import Explainer
from guided_refine.explain.trial import VIEWS, try_explanations
from guided_refine.explain.trial_shape import trial_fault
from guided_refine.files import read_json, sha256_file, write_json
from guided_refine.progress import Progress
from guided_refine.reporting.palette import BLACK, BLUE, GREY, ORANGE
from guided_refine.reporting.style import label, legend_above, new_figure, save, styled
from guided_refine.runfolder import RunFolder

FOLDER, ANSWER = "explain", "trial.json"
PLOTS = ("importance.png", "curves.png", "beeswarm.png", "segments.png")
NAMED = {"direct": "direct", "encoder": "through the encoder", "random": "random order"}
COLOURS = {"direct": ORANGE, "encoder": BLUE, "random": GREY}


def explain_run(
    run: Path | str, *, users: int = 100, seed: int = 0, progress: Progress | None = None
) -> dict[str, Any]:
    """Hold the explanations of a run against its model on a sample of users, see `trial.try_explanations`.

    Models of the run's other seeds, where they are trained, say whether explanations depend on the seed. Writes into the run
    `explain/trial.json`, `importance.png`, `curves.png`, `beeswarm.png` and `segments.png`. Raises `InputError` when the
    folder is no run, or has no trained refined model yet.
    """
    explainer = Explainer.open(run)
    others = [Explainer.open(run, seed=other) for other in _other_seeds(explainer)]
    found = try_explanations(explainer, users=users, seed=seed, others=others, progress=progress)
    found = {"model": explainer.about, "weights": _weights(explainer), **found}
    folder = explainer.folder.root / FOLDER
    draw_importance(found, folder / PLOTS[0])
    draw_curves(found, folder / PLOTS[1])
    draw_beeswarm(found, folder / PLOTS[2])
    draw_segments(found, folder / PLOTS[3])
    # Last, so that it never stands beside plots of another trial.
    write_json(folder / ANSWER, found)
    return found


def _other_seeds(explainer: Explainer) -> list[int]:
    folder = explainer.folder
    return [
        seed
        for seed in explainer.config.all_seeds
        if seed != explainer.seed
        and (folder.unit(explainer.backbone, "refined", seed) / "model.safetensors").exists()
    ]


def read_trial(explainer: Explainer) -> dict[str, Any] | None:
    """What `explain_run` left, where it is of the weights that the run has now; else None.

    Raises `InputError` where the file is damaged.
    """
    path = explainer.folder.root / FOLDER / ANSWER
    if not path.is_file():
        return None
    again = f"guided-refine explain {shlex.quote(str(explainer.folder.root))}"
    found = read_json(path, made_by=again)
    weights = found.get("weights") if isinstance(found, dict) else None
    if isinstance(weights, str) and weights != _weights(explainer):
        return None
    fault = trial_fault(found)
    if fault is not None:
        raise InputError(
            f"{path} is damaged, or of another version ({fault} is not what a trial writes); make it anew with: {again}"
        )
    return dict(found)


def users_tried(run: Path | str) -> int | None:
    """Of how many users the trial is that lies in a run, whatever weights it is of; None where none can be read."""
    path = Path(run) / FOLDER / ANSWER
    try:
        users = read_json(path)["sample"]["users"]
    except (InputError, KeyError, TypeError, IndexError):
        return None
    return users if isinstance(users, int) else None


def _weights(explainer: Explainer) -> str:
    unit = RunFolder(explainer.folder.root).unit(explainer.backbone, "refined", explainer.seed)
    return sha256_file(unit / "model.safetensors")


def verdict(found: dict[str, Any]) -> str:
    """Whether the explanations beat random ones, in one sentence with its numbers.

    >>> entry = {"mean": 0.2, "lower": 0.1, "upper": 0.3, "holds": True}
    >>> other = {"mean": 0.1, "lower": -0.1, "upper": 0.3, "holds": False}
    >>> curves = {"direct": {"deletion": other}, "encoder": {"deletion": entry}}
    >>> verdict({"curves": curves, "sample": {"users": 50, "of": 900}}).partition("random order ")[2]
    '(50 of 900 users): through the encoder by 0.200 [0.100, 0.300]; direct NOT shown, 0.100 [-0.100, 0.300].'
    """
    told = []
    for view in sorted(VIEWS, key=lambda view: not found["curves"][view]["deletion"]["holds"]):
        entry = found["curves"][view]["deletion"]
        if entry["mean"] is None:
            raise InputError("the trial holds no user; explain more users")
        numbers = f"{entry['mean']:.3f} [{entry['lower']:.3f}, {entry['upper']:.3f}]"
        told.append(f"{NAMED[view]} {'by ' if entry['holds'] else 'NOT shown, '}{numbers}")
    sample = found["sample"]
    return (
        "Taking attributes away in the order the explanation names them lowers the score faster than in random order "
        f"({sample['users']} of {sample['of']} users): {'; '.join(told)}."
    )


def format_trial(found: dict[str, Any]) -> str:
    """The trial as lines for a terminal."""
    rows = sorted(found["importance"], key=lambda row: -row["encoder"]["share"])
    monotone = {row["attribute"]: row for row in found["monotone"]}
    space = max(len(label(row["attribute"], 40)) for row in rows)
    lines = [
        verdict(found),
        "",
        f"{'':{space}}  {'share of what attributes do':^27}   one deviation more of it in the user's scores",
        f"{'attribute':{space}}  {'direct':>8} {'through the encoder':>18}   moves its mean in the top 10 by (deviations)",
    ]
    for row in rows:
        response = monotone[row["attribute"]]
        lines.append(
            f"{label(row['attribute'], 40):{space}}  {row['direct']['share']:8.1%} {row['encoder']['share']:18.1%}   "
            f"{_number(response)}{'' if response['holds'] else '  (not shown)'}"
        )
    lines += ["", *findings(found)]
    return "\n".join(
        part for line in lines for part in textwrap.wrap(line, 110, drop_whitespace=False) or [""]
    )


def findings(found: dict[str, Any]) -> list[str]:
    """What else the trial found, beside `verdict` and what has a row per attribute: sentences with their intervals."""
    put_back = ", ".join(
        f"{NAMED[view]} {_number(entry)}{'' if entry['holds'] else ' (not shown)'}"
        for view in VIEWS
        for entry in [found["curves"][view]["insertion"]]
    )
    return [
        f"Put back in that order they raise the score faster than in random order: by {put_back}.",
        f"The two views rank the attributes alike: correlation {_number(found['agreement'])}.",
        "After one event of the history is left out, explanations keep their order: correlation "
        + ", ".join(f"{NAMED[view]} {_number(found['stability'][view])}" for view in VIEWS)
        + "; random ones would have 0.",
        _seeds_line(found["stability"]["seeds"]),
        *_metadata_lines(found["metadata"]),
        *_pair_lines(found["interactions"]),
        f"Background: {found['background']}. "
        + ("Shapley values are exact." if found["exact"] else "Shapley values are of ten random orders."),
    ]


def _seeds_line(seeds: dict[str, Any] | None) -> str:
    if seeds is None:
        return "This run has one seed, so whether explanations depend on it is not known."
    told = ", ".join(f"{NAMED[view]} {_number(seeds[view])}" for view in VIEWS)
    return f"Models of {len(seeds['seeds'])} seeds explain the same item alike: correlation {told}."


def _metadata_lines(metadata: dict[str, Any] | None) -> list[str]:
    if metadata is None:
        return ["The catalog has no labels (genres, categories) that explanations could be held against."]
    told = ", ".join(
        f"{NAMED[view]} {_number(metadata['mean'][view])}{'' if metadata['mean'][view]['holds'] else ' (not shown)'}"
        for view in VIEWS
        if view in metadata["mean"]
    )
    links = ", ".join(
        f"{label(row['attribute'], 40)} with {row['label']} ({row['auc']:.2f})" for row in metadata["links"]
    )
    return [
        "Users with more of a label in their history are drawn more by the attribute that goes with it: correlation over "
        f"users, mean over attributes, {told}; random explanations would have 0.",
        f"Labels and how well the scores tell them (area under the curve, half of the items): {links}.",
    ]


def _pair_lines(pairs: list[dict[str, Any]] | None) -> list[str]:
    if not pairs:
        return []
    first = pairs[0]
    one, other = (label(name, 40) for name in first["attributes"])
    return [
        f"Most is done together by {one} and {other}: {_number(first)} of the score beyond what each does alone."
    ]


def _number(entry: dict[str, Any]) -> str:
    if entry["mean"] is None:
        return "unknown"
    return f"{entry['mean']:+.2f} [{entry['lower']:+.2f}, {entry['upper']:+.2f}]"


# ------------------------------------------------------------------------------------------------ plots


@styled
def draw_importance(found: dict[str, Any], path: Path) -> Path:
    """Mean absolute contribution of each attribute with its interval, both views."""
    rows = sorted(found["importance"], key=lambda row: row["encoder"]["mean"])
    figure, ((axes,),) = new_figure(1, 1, (6.4, 0.9 + 0.36 * len(rows)))
    places = np.arange(len(rows))
    shown = {}
    for view, shift in (("encoder", 0.2), ("direct", -0.2)):
        mean = np.array([row[view]["mean"] for row in rows])
        ends = np.array([[row[view]["lower"], row[view]["upper"]] for row in rows]).T
        bars = axes.barh(places + shift, mean, 0.36, color=COLOURS[view])
        axes.errorbar(mean, places + shift, xerr=np.abs(ends - mean), fmt="none", ecolor=BLACK, lw=0.8)
        shown[NAMED[view]] = bars
    axes.set_yticks(places, [label(row["attribute"]) for row in rows])
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("mean absolute contribution to the score")
    legend_above(figure, list(shown.values()), list(shown))
    return save(figure, path)


@styled
def draw_curves(found: dict[str, Any], path: Path) -> Path:
    """Mean score while attributes are taken away, or put back, in the order of an explanation or at random."""
    figure, (panels,) = new_figure(1, 2, (7.2, 3.0), sharey=True)
    shown: dict[str, Any] = {}
    for axes, kind, title in zip(
        panels,
        ("deletion", "insertion"),
        ("taken away (lower is better)", "put back (higher is better)"),
        strict=True,
    ):
        for name in ("random", "direct", "encoder"):
            curve = found["curve_means"][f"{kind}_{name}"]
            shown[NAMED[name]] = axes.plot(curve, "o-", ms=3, color=COLOURS[name])[0]
        axes.set_title(f"Attributes {title}")
        axes.set_xlabel("how many")
    panels[0].set_ylabel("mean score of the first item")
    legend_above(figure, list(shown.values()), list(shown))
    return save(figure, path)


@styled
def draw_beeswarm(found: dict[str, Any], path: Path) -> Path:
    """What each attribute did (Shapley value) for each user of the sample, coloured by the item's score."""
    order = np.argsort([row["encoder"]["mean"] for row in found["importance"]])
    values = np.array(found["points"]["encoder"])
    scores = np.array(found["points"]["item_score"], dtype=np.float64)
    figure, ((axes,),) = new_figure(1, 1, (6.8, 0.9 + 0.36 * len(order)))
    points = None
    for place, column in enumerate(order):
        height = place + spread_out(values[:, column])
        points = axes.scatter(
            values[:, column],
            height,
            c=scores[:, column],
            cmap="viridis",
            vmin=0,
            vmax=1,
            s=9,
            lw=0,
            plotnonfinite=True,
        )
    axes.axvline(0, color=GREY, lw=0.8)
    axes.set_yticks(range(len(order)), [label(found["importance"][a]["attribute"]) for a in order])
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("what the attribute did to the score of the first item, through the encoder")
    if points is not None:
        figure.colorbar(points, ax=axes, label="the item's score")
    return save(figure, path)


@styled
def draw_segments(found: dict[str, Any], path: Path) -> Path:
    """Share of each attribute in what attributes do through the encoder, for groups of users with enough of them."""
    rows = [row for row in found["segments"] if row["encoder"] is not None]
    names = [row["attribute"] for row in sorted(found["importance"], key=lambda row: -row["encoder"]["mean"])]
    shares = np.array([[row["encoder"][name]["share"] for name in names] for row in rows])
    shares = shares.reshape(len(rows), len(names))
    figure, ((axes,),) = new_figure(1, 1, (2.6 + 0.42 * len(names), 1.5 + 0.3 * len(rows)))
    image = axes.imshow(100 * shares, cmap="cividis", vmin=0, aspect="auto")
    axes.set_xticks(range(len(names)), [label(name) for name in names], rotation=45, ha="right")
    axes.set_yticks(range(len(rows)), [f"{group_name(row)} ({row['users']})" for row in rows])
    axes.grid(visible=False)
    figure.colorbar(image, ax=axes, label="share of what attributes do, %")
    return save(figure, path)


def group_name(row: dict[str, Any], width: int = 24) -> str:
    """A group of users as people read it, in lines of `width` characters.

    >>> group_name({"kind": "label", "name": "genres: Drama"}), group_name({"kind": "history", "name": "short"})
    ('Drama', 'short history')
    """
    if row["kind"] == "label":
        return label(str(row["name"]).partition(": ")[2], width)
    return f"{row['name']} history" if row["kind"] == "history" else f"{row['name']} item"


def spread_out(values: np.ndarray, bins: int = 40) -> np.ndarray:
    """Heights from -0.35 to 0.35 such that points of nearly the same value stand side by side.

    >>> spread_out(np.array([0.0, 0.0, 0.0, 1.0])).round(3).tolist()
    [0.0, 0.117, -0.117, 0.0]
    """
    heights = np.zeros(len(values))
    if not len(values) or values.min() == values.max():
        cells = np.zeros(len(values), dtype=int)
    else:
        cells = np.digitize(values, np.linspace(values.min(), values.max(), bins))
    most = max(np.bincount(cells).max(initial=1), 1)
    for cell in np.unique(cells):
        inside = np.flatnonzero(cells == cell)
        steps = np.array([(n + 1) // 2 * (1 if n % 2 else -1) for n in range(len(inside))])
        heights[inside] = 0.35 * steps / most
    return heights
