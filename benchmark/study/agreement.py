"""How far raters agree: Krippendorff's alpha for unordered answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence


def krippendorff_alpha(units: Mapping[str, Sequence[Hashable]]) -> float | None:
    """Alpha of nominal data: 1 for perfect agreement, 0 for what chance gives, below 0 for less than that.

    `units`: what was judged, to the answers of all who judged it. Raters may be missing anywhere; a unit with fewer
    than two answers says nothing of agreement and is left out. None where that leaves nothing, or one answer alone.

    K. Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011, section C (nominal data, any number of
    observers, missing data). Chosen over Fleiss' kappa, which wants the same number of raters on every unit.
    """
    counts = [Counter(answers) for answers in units.values() if len(answers) > 1]
    totals: Counter[Hashable] = sum(counts, Counter())
    num_values = totals.total()
    # Pairs of answers that differ: within a unit, and between any two of all answers.
    observed = sum(
        sum(count * (unit.total() - count) for count in unit.values()) / (unit.total() - 1) for unit in counts
    )
    expected = sum(count * (num_values - count) for count in totals.values())
    if not expected:
        return None
    return 1.0 - (num_values - 1) * observed / expected
