"""Is a difference more than luck of the draw: paired bootstrap over users, paired t over seeds, Holm correction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

# Below this many users Student's t also has a say in p. The percentile interval of n values is short by the factor
# sqrt((n - 1) / n) and by what a normal quantile lacks of t's: where the share says .05, t says .15 for 5 users and .064
# for 30. From 100 on it says .054 or less, nearer than the chance in a share of 2,000 samples (deviation .007).
FEW = 100


@dataclass(frozen=True)
class Interval:
    """A mean (or another statistic) with its percentile interval and two-sided bootstrap p."""

    mean: float
    lower: float
    upper: float
    p: float


@dataclass(frozen=True)
class PairedT:
    """Student's paired t over a few differences; t and p are NaN where the differences cannot tell."""

    mean: float
    sd: float
    standard_error: float
    t: float
    df: int
    p: float


def resampling_weights(n: int, samples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each of `n` rows occurs in bootstrap samples: blocks of shape (block, n), `samples` rows in all.

    Every row sums to `n`. Weights instead of drawn rows let one matrix product, or one sort, serve all samples.
    """
    rng = np.random.default_rng(seed)
    block = max(1, min(samples, (1 << 22) // max(n, 1)))
    for start in range(0, samples, block):
        rows = min(block, samples - start)
        drawn = rng.integers(n, size=(rows, n)) + np.arange(rows)[:, None] * n
        yield np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)


def summarise(observed: float, resampled: np.ndarray, n: int, confidence: float = 0.95) -> Interval:
    """Percentile interval of statistics over resamplings of `n` users (or items), and the p that belongs to it.

    p is twice the share of samples on the far side of zero, (1 + their number) / (1 + samples). It is 1 - confidence or
    more wherever the interval holds zero. Where the interval leaves zero out it is below 1 - confidence, but for an end
    that is interpolated between a sample beyond zero and the first one that is not: of 2,000 samples 50 are then beyond
    and p is .05097. A claim asks for both.

    Where no sample is on the far side the share only says "less than 2 / (samples + 1)", too coarse to be corrected for
    many comparisons: then p is that of Student's t with n - 1 degrees of freedom and the samples' deviation. Below `FEW`
    users it is never less than that, for a share of resampled users is too sure of itself where there are few; users who
    all have the same value count as in a sign test, 2 ** (1 - n). Samples without a value (NaN) are left out.

    >>> summarise(1.0, np.array([-0.5, 0.5, 1.0, 1.5]), n=30).p
    0.8
    """
    kept = resampled[~np.isnan(resampled)]
    if np.isnan(observed) or not len(kept):
        return Interval(float(observed), float("nan"), float("nan"), float("nan"))
    tail = (1 - confidence) / 2
    lower, upper = np.quantile(kept, [tail, 1 - tail])
    beyond = int(min(np.count_nonzero(kept <= 0), np.count_nonzero(kept >= 0)))
    p = float(min(1.0, 2 * (1 + beyond) / (1 + len(kept))))
    if not beyond or n < FEW:
        p = _p_by_t(p, beyond, float(observed), float(kept.std()), n)
    return Interval(float(observed), float(lower), float(upper), p)


def _p_by_t(share: float, beyond: int, observed: float, deviation: float, n: int) -> float:
    from scipy.special import stdtr  # scipy.stats has it too, and takes half a second to come

    if n < 2:
        return float("nan")
    # Resampling n values spreads their mean by sqrt((n - 1) / n) of its standard error.
    error = deviation * (n / (n - 1)) ** 0.5
    # Without any spread but that of rounding t has no value.
    if error <= 1e-9 * abs(observed):
        return max(share, 2.0 ** (1 - n))
    p = float(2 * stdtr(n - 1, -abs(observed) / error))
    return max(share, p) if beyond else p


def bootstrap_means(
    values: np.ndarray, *, samples: int = 2000, confidence: float = 0.95, seed: int = 0
) -> list[Interval]:
    """Intervals of the column means of paired differences, resampling users.

    `values`: (users, columns), one row per user, so all columns share the drawn users. Values of several seeds
    are averaged per user before: users are what is sampled, seeds of one user are not independent of each other.

    >>> gain = bootstrap_means(np.array([[0.1], [0.3], [0.2], [0.2]]), samples=500)[0]
    >>> round(gain.mean, 3), 0.1 <= gain.lower < gain.mean < gain.upper <= 0.3, round(gain.p, 2)
    (0.2, True, 0.02)
    """
    values = np.asarray(values, np.float64)
    n = len(values)
    if n == 0:
        raise ValueError("no users to resample")
    means = np.concatenate([w @ values / n for w in resampling_weights(n, samples, seed)])
    return [summarise(v.mean(), means[:, c], n, confidence) for c, v in enumerate(values.T)]


def paired_t(deltas: np.ndarray) -> PairedT:
    """Student's t of paired differences, one per seed.

    NaN for t and p where there are fewer than two differences, and where all are equal but for rounding: a deviation of
    zero over a few seeds is no knowledge of how much training varies. Such a p is no comparison to `holm`. Differences
    that are all zero have p = 1.

    >>> result = paired_t(np.array([.02, .01, .03, .02, .02]))
    >>> f"t = {result.t:.1f}, df {result.df}, p = {result.p:.3f}"
    't = 6.3, df 4, p = 0.003'
    """
    from scipy.special import stdtr

    deltas = np.asarray(deltas, np.float64)
    n = len(deltas)
    mean = float(deltas.mean()) if n else float("nan")
    if n < 2:
        nan = float("nan")
        return PairedT(mean, nan, nan, nan, max(n - 1, 0), nan)
    sd = float(deltas.std(ddof=1))
    error = sd / n**0.5
    if error > 1e-9 * abs(mean):
        t = mean / error
    else:
        t = 0.0 if mean == 0 else float("nan")
    return PairedT(mean, sd, error, t, n - 1, float(2 * stdtr(n - 1, -abs(t))))


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's step-down correction: holds the chance of any false claim among all of them at the level.

    Scandinavian Journal of Statistics 6 (1979). NaN stays NaN and does not count as a comparison.

    >>> holm(np.array([0.01, 0.04, 0.03])).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p, np.float64)
    out = np.full(p.shape, np.nan)
    kept = np.flatnonzero(~np.isnan(p))
    order = kept[np.argsort(p[kept], kind="stable")]
    steps = np.arange(len(order), 0, -1)
    out[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * steps))
    return out
