"""How far tastes must move until an item enters, or leaves, the top k of scores that are linear in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Beyond the point of a tie, so that the rank is reached whatever the rounding.
BEYOND = 1e-6
ROUNDS = 50
CHOICES = 5


@dataclass(frozen=True)
class Reach:
    """An item against its rivals: rival r leads by `lead[r] + slope[r] @ shift` after a shift of the taste.

    `lead`: (rivals,); `slope`: (rivals, attributes); `unit`: (attributes,), the length that a shift of each is measured
    in. The item is in the top `k` when fewer than `k` rivals lead by more than nothing; wanted is that it is there, with
    `out` that it is not.
    """

    lead: np.ndarray
    slope: np.ndarray
    unit: np.ndarray
    k: int
    out: bool

    def done(self, shift: np.ndarray) -> bool:
        """True when the shift (attributes,) does what is wanted."""
        return bool(self.enough((self.lead + self.slope @ shift > 0).sum()))

    def enough(self, above: np.ndarray) -> np.ndarray:
        """True where so many rivals above the item are what is wanted."""
        return above >= self.k if self.out else above < self.k


def reach_alone(race: Reach, attribute: int) -> np.ndarray | None:
    """The smallest shift of one attribute, in either direction, that does it; zeros elsewhere.

    None where none does it, or none is needed.

    >>> race = Reach(np.array([1.0, 3.0]), np.array([[-2.0], [-1.0]]), np.ones(1), k=2, out=False)
    >>> reach_alone(race, 0).round(3).tolist()
    [0.5]
    """
    nothing = np.zeros(race.slope.shape[1])
    if race.done(nothing):
        return None
    found = []
    for sign in (1.0, -1.0):
        distance = _first(race, sign * race.slope[:, attribute])
        if distance is not None:
            shift = nothing.copy()
            shift[attribute] = sign * distance
            found.append(shift)
    return min(found, key=lambda shift: abs(float(shift[attribute])), default=None)


def _first(race: Reach, slope: np.ndarray) -> float | None:
    """The smallest distance at which few (or many) enough rivals lead: a sweep over the points where one draws level."""
    meets = np.where(slope != 0, -race.lead / np.where(slope != 0, slope, 1.0), -1.0)
    falls = (race.lead > 0) & (slope < 0)
    rises = (race.lead <= 0) & (slope > 0)
    at = np.flatnonzero(falls | rises)
    if not len(at):
        return None
    at = at[np.argsort(meets[at], kind="stable")]
    times = np.maximum(meets[at], 0.0)
    above = int((race.lead > 0).sum()) + np.cumsum(np.where(rises[at], 1, -1))
    # Rivals that draw level at the same point count together.
    last = np.append(times[1:] > times[:-1], True)
    good = np.flatnonzero(last & race.enough(above))
    if not len(good):
        return None
    time = float(times[good[0]])
    room = float(times[good[0] + 1] - time) if good[0] + 1 < len(times) else 1.0
    return time + min(BEYOND * max(1.0, time), room / 2)


def reach_together(race: Reach, lowest: np.ndarray, highest: np.ndarray) -> np.ndarray | None:
    """A small shift of all attributes, each between `lowest` and `highest`, that does it.

    For a fixed choice of rivals the smallest shift is a least distance problem (Lawson and Hanson, "Solving Least Squares
    Problems", 1974, chapter 23), solved with only those rivals as conditions that turn out to matter. Then those are chosen
    anew that are nearest there. It starts from where the taste is and from the best shift of one attribute, so it is never
    longer than that. None where none was found, or none is needed.
    """
    m = len(race.unit)
    nothing = np.zeros(m)
    if race.done(nothing):
        return None
    alone = [shift for a in range(m) if (shift := reach_alone(race, a)) is not None]
    alone = [shift for shift in alone if ((shift >= lowest) & (shift <= highest)).all()]
    best = min(alone, key=lambda shift: _length(shift, race), default=None)
    for start in [nothing] if best is None else [nothing, best]:
        best = _improved(race, start, best, lowest, highest)
    return best


def _improved(
    race: Reach, around: np.ndarray, best: np.ndarray | None, lowest: np.ndarray, highest: np.ndarray
) -> np.ndarray | None:
    for _ in range(CHOICES):
        lead = race.lead + race.slope @ around
        order = np.argsort(-lead, kind="stable")
        # To leave, the nearest k must lead; to enter, all must fall behind but the k - 1 that are furthest ahead.
        chosen = order[: race.k] if race.out else order[race.k - 1 :]
        sign = 1.0 if race.out else -1.0
        shift = _least(sign * race.slope[chosen], -sign * race.lead[chosen], race.unit, lowest, highest)
        if shift is None or not race.done(shift):
            break
        if best is not None and _length(shift, race) >= _length(best, race) - 1e-9:
            break
        best = around = shift
    return best


def _length(shift: np.ndarray, race: Reach) -> float:
    return float(np.linalg.norm(shift / race.unit))


def _least(
    g: np.ndarray, h: np.ndarray, unit: np.ndarray, lowest: np.ndarray, highest: np.ndarray
) -> np.ndarray | None:
    """The shortest x (in `unit`) with g x >= h and lowest <= x <= highest; None where there is none."""
    from scipy.optimize import nnls

    m = len(unit)
    size = np.abs(g * unit).max(axis=1) if len(g) else np.zeros(0)
    margin = BEYOND * np.maximum(1.0, np.abs(h)) * np.maximum(size, 1e-12)
    rows = np.vstack([np.eye(m), -np.eye(m)])
    # In units: y = x / unit.
    bounds_g, bounds_h = rows, np.concatenate([lowest / unit, -highest / unit])
    active: list[int] = []
    y = np.zeros(m)
    for _ in range(ROUNDS):
        lack = h + margin - (g * unit) @ y
        worst = int(np.argmax(lack)) if len(lack) else -1
        if worst < 0 or lack[worst] <= margin[worst] / 2:
            return y * unit
        if worst in active:
            return None
        active.append(worst)
        all_g = np.vstack([(g * unit)[active], bounds_g])
        all_h = np.concatenate([(h + margin)[active], bounds_h])
        solution, left = nnls(np.vstack([all_g.T, all_h]), np.append(np.zeros(m), 1.0))
        residual = np.vstack([all_g.T, all_h]) @ solution - np.append(np.zeros(m), 1.0)
        if left < 1e-9 or abs(residual[-1]) < 1e-12:
            return None
        y = -residual[:-1] / residual[-1]
    return None
