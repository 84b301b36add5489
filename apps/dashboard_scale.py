"""Where numbers lie on a track or an axis that is drawn in HTML."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


def signs(number: str) -> str:
    """A number as it is printed, with a minus that is as wide as a plus."""
    return number.replace("-", "−")


@dataclass(frozen=True)
class Scale:
    """From numbers to per cent of a track's width."""

    low: float
    high: float

    @classmethod
    def over(cls, numbers: Iterable[float]) -> Scale:
        """A scale that holds these numbers and zero."""
        every = [0.0, *numbers]
        low, high = min(every), max(every)
        return cls(low, high if high > low else low + 1.0)

    @classmethod
    def between(cls, numbers: Iterable[float], room: float = 0.0) -> Scale:
        """A scale from the smallest to the largest of these numbers, with a share of that as room on both sides."""
        every = list(numbers)
        low, high = min(every), max(every)
        edge = room * (high - low)
        return cls(low - edge, high + edge) if high > low else cls(low - 0.5, low + 0.5)

    def at(self, value: float) -> float:
        """Place of a number, 0 to 100."""
        return round(100 * (value - self.low) / (self.high - self.low), 3)

    def span(self, one: float, other: float) -> str:
        """Style of what lies between two numbers."""
        left, right = sorted((self.at(one), self.at(other)))
        return f"left:{left:.4g}%;width:{right - left:.4g}%"

    def ticks(self) -> list[float]:
        """Three to seven round numbers within the scale."""
        power = 10.0 ** np.ceil(np.log10(self.high - self.low))
        for step in (power, power / 2, power / 5, power / 10, power / 20, power / 50):
            first, last = np.ceil(self.low / step - 1e-9), np.floor(self.high / step + 1e-9)
            if last - first >= 2:
                break
        return [float(n * step) + 0.0 for n in np.arange(first, last + 1)]
