"""How far tastes must move until an item enters, or leaves, the top k of scores that are linear in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Beyond the point of a tie, so that the rank is reached whatever the rounding.
BEYOND = 1e-6
ROUNDS = 50
CHOICES = 5
EXCHANGES = 10
# Walks from the taste to a bound: against so many rivals on either side of the edge, in so many steps; some go on.
NEAR, STEPS, STARTS = 5, 40, 6
ANYWHERE = 60


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
    Problems", 1974, chapter 23), solved with only those rivals as conditions that turn out to matter. Which rivals to choose
    is a search: from where the taste is, from the best shift of one attribute and from walks towards the bounds, those are
    chosen anew that are nearest there, then one for another. So it is never longer than one attribute alone, and nearly
    always the shortest, which is not proven. None where none was found, or none is needed.
    """
    nothing = np.zeros(len(race.unit))
    if race.done(nothing):
        return None
    alone = [shift for a in range(len(nothing)) if (shift := reach_alone(race, a)) is not None]
    alone = [shift for shift in alone if ((shift >= lowest) & (shift <= highest)).all()]
    open_race = _undecided(race, lowest, highest)
    if open_race is None:
        return None
    arrived, on_the_way = _walks(open_race, lowest, highest)
    starts = sorted([*alone, *arrived], key=lambda shift: _length(shift, race))[:STARTS]
    starts = starts or _corner(open_race, lowest, highest)
    best = starts[0] if starts else None
    for start in [nothing, *(starts or on_the_way)]:
        best = _improved(open_race, start, best, lowest, highest)
    return None if best is None else _exchanged(open_race, best, lowest, highest)


def _undecided(race: Reach, lowest: np.ndarray, highest: np.ndarray) -> Reach | None:
    """The same race without those who lead, or do not, wherever the taste goes; None where it cannot be done at all."""
    ends = race.slope * lowest, race.slope * highest
    least, most = (race.lead + pick(*ends).sum(axis=1) for pick in (np.minimum, np.maximum))
    # A bound may be overstepped by what rounding does.
    margin = BEYOND * np.maximum(1.0, np.abs(race.lead))
    always, never = least > margin, most < -margin
    left = ~always & ~never
    k = race.k - int(always.sum())
    if (k < 1 and not race.out) or (race.out and left.sum() < k):
        return None
    return Reach(race.lead[left], race.slope[left], race.unit, k, race.out)


def _walks(race: Reach, lowest: np.ndarray, highest: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Where walks from here to a bound first do it, and points half way on those that never do.

    They go against each of the nearest rivals, against all of them, and anywhere.
    """
    sign = 1.0 if race.out else -1.0
    order = np.argsort(-race.lead, kind="stable")
    edge = race.k if race.out else race.k - 1
    near = order[max(0, edge - NEAR) : edge + NEAR]
    aims = np.vstack(
        [race.slope[near], race.slope[near].mean(axis=0, keepdims=True), race.slope[order[:edge]]]
    )
    # The shortest way in units, the way to the corner that it points to, and some that point nowhere.
    anywhere = np.random.default_rng(0).standard_normal((ANYWHERE, len(race.unit))) * race.unit
    ways = np.unique(np.vstack([sign * aims * race.unit**2, sign * np.sign(aims), anywhere]), axis=0)
    arrived, on_the_way = [], []
    for direction in ways[ways.any(axis=1)]:
        room = np.where(direction > 0, highest, lowest) / np.where(direction == 0, 1.0, direction)
        last = float(room[direction != 0].max())
        times = np.linspace(0, last, STEPS + 1)[1:]
        shifts = np.clip(times[:, None] * direction, lowest, highest)
        good = np.flatnonzero(race.enough((race.lead + shifts @ race.slope.T > 0).sum(axis=1)))
        if len(good):
            arrived.append(shifts[good[0]])
        else:
            on_the_way.append(shifts[STEPS // 2])
    return arrived, on_the_way


def _corner(race: Reach, lowest: np.ndarray, highest: np.ndarray) -> list[np.ndarray]:
    """A corner of the bounds that does it, found by moving one attribute to its other end at a time; none, or one."""
    edge = min(race.k, len(race.lead)) - 1
    sign = 1.0 if race.out else -1.0

    def gap(corner: np.ndarray) -> float:
        """How far the rival at the edge of the list is on the wrong side."""
        lead = race.lead + race.slope @ np.where(corner, highest, lowest)
        return -sign * float(np.partition(lead, len(lead) - 1 - edge)[len(lead) - 1 - edge])

    order = np.argsort(-race.lead, kind="stable")
    corner = sign * race.slope[order[edge : edge + NEAR]].mean(axis=0) > 0
    least = gap(corner)
    for _ in range(ROUNDS):
        others = [corner ^ (np.arange(len(corner)) == a) for a in range(len(corner))]
        gaps = [gap(other) for other in others]
        if min(gaps) >= least:
            break
        least, corner = min(gaps), others[int(np.argmin(gaps))]
    end = np.where(corner, highest, lowest)
    return [end] if race.done(end) else []


def _improved(
    race: Reach, around: np.ndarray, best: np.ndarray | None, lowest: np.ndarray, highest: np.ndarray
) -> np.ndarray | None:
    """The best shift with those rivals that are nearest around some point, then around what was found, and so on."""
    for _ in range(CHOICES):
        order = np.argsort(-(race.lead + race.slope @ around), kind="stable")
        # To leave, the nearest k must lead; to enter, all must fall behind but the k - 1 that are furthest ahead.
        shift = _with(race, order[: race.k] if race.out else order[race.k - 1 :], lowest, highest)
        if shift is None or not _shorter(shift, best, race):
            break
        best = around = shift
    return best


def _exchanged(race: Reach, best: np.ndarray, lowest: np.ndarray, highest: np.ndarray) -> np.ndarray:
    """The best shift once no rival that holds it back can be let go for the next one in line."""
    for _ in range(EXCHANGES):
        lead = race.lead + race.slope @ best
        order = np.argsort(-lead, kind="stable")
        edge = race.k if race.out else race.k - 1
        if not race.out and edge == 0:
            return best
        # Who is let go when another comes in: the next that need not lead, or the least far ahead that was let be.
        other = order[edge] if race.out and edge < len(order) else order[edge - 1]
        chosen = order[:edge] if race.out else order[edge:]
        tight = chosen[np.argsort(np.abs(lead[chosen]), kind="stable")[: len(race.unit)]]
        shifts = [
            _with(race, np.append(chosen[chosen != held], other), lowest, highest)
            for held in tight
            if held != other
        ]
        shorter = [shift for shift in shifts if shift is not None and _shorter(shift, best, race)]
        if not shorter:
            return best
        best = min(shorter, key=lambda shift: _length(shift, race))
    return best


def _with(race: Reach, chosen: np.ndarray, lowest: np.ndarray, highest: np.ndarray) -> np.ndarray | None:
    """The shortest shift with these rivals ahead (to leave) or behind (to enter), if it does what is wanted."""
    sign = 1.0 if race.out else -1.0
    shift = _least(sign * race.slope[chosen], -sign * race.lead[chosen], race.unit, lowest, highest)
    return shift if shift is not None and race.done(shift) else None


def _shorter(shift: np.ndarray, best: np.ndarray | None, race: Reach) -> bool:
    return best is None or _length(shift, race) < _length(best, race) - 1e-9


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
