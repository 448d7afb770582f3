"""A sum and how many values are in it: what every metric gives, so that a mean is never a mean of means by accident."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Region = Literal["frame", "known", "hole"]
"""The whole frame, the pixels that a method was given, and those that it had to fill."""
REGIONS: tuple[Region, ...] = ("frame", "known", "hole")


@dataclass(frozen=True, slots=True)
class Sums:
    """Adds up over frames and clips; with a count of 0 there was nothing to measure."""

    sum: float = 0.0
    count: int = 0
    num_capped: int = 0
    """Of the count, values that were more than their metric gives, mostly infinite, and were taken for the most."""

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.sum + other.sum, self.count + other.count, self.num_capped + other.num_capped)

    def __sub__(self, part: Sums) -> Sums:
        return Sums(self.sum - part.sum, self.count - part.count, self.num_capped - part.num_capped)

    @property
    def mean(self) -> float | None:
        """None where nothing was measured."""
        return self.sum / self.count if self.count else None


NOTHING = Sums()
"""Nothing measured."""


def total(sums: Iterable[Sums]) -> Sums:
    """Of any number; nothing for none."""
    return sum(sums, NOTHING)
