"""The tables of the quality benchmark: cases measured, gathered into rows and set against their targets."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from benchmark.quality.cases import Case
from benchmark.quality.end_to_end import score_stages
from benchmark.quality.masks import MaskScore, score_tracker
from benchmark.quality.shots import CutCounts, count_cuts, detected_cuts
from vpdata.models.ports import MaskTracker, ShotDetector

MIN_CUT_F1 = 0.97
MIN_J_AND_F = {"still": 0.75, "panning": 0.60}
"""Per camera, over all kinds of shots."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table for people and whether its targets are met."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    is_met: bool

    def markdown(self) -> str:
        """The table in Markdown under its title."""
        lines = (self.header, ("---",) * len(self.header), *self.rows)
        return "\n".join([f"### {self.title}", "", *(f"| {' | '.join(line)} |" for line in lines)])


def cut_table(cases: Iterable[Case], detector: ShotDetector) -> Table:
    """Hard cuts found and missed per kind of film."""
    groups: dict[str, CutCounts] = defaultdict(CutCounts)
    for case in cases:
        found = detected_cuts(case.footage, detector, fps=Fraction(25))
        groups[case.group] += count_cuts(found, cuts=case.footage.cuts, gradual=case.footage.gradual)
    total = sum(groups.values(), CutCounts())
    rows = [
        (
            group,
            f"{counts.num_right + counts.num_missed}",
            f"{counts.num_missed}",
            f"{counts.num_wrong}",
            f"{counts.f1:.3f}",
        )
        for group, counts in [*groups.items(), (f"**all, wanted >= {MIN_CUT_F1}**", total)]
    ]
    header = ("films", "hard cuts", "missed", "made up", "F1")
    return Table(title="Hard cuts", header=header, rows=tuple(rows), is_met=total.f1 >= MIN_CUT_F1)


def mask_table(cases: Iterable[Case], tracker: MaskTracker) -> Table:
    """J, F and identity switches per kind of shot, from true boxes."""
    groups: dict[str, list[MaskScore]] = defaultdict(list)
    for case in cases:
        groups[case.group] += score_tracker(case.footage, tracker)
    rows = [_mask_row(group, scores) for group, scores in groups.items()]
    is_met = not any(score.is_switched for scores in groups.values() for score in scores)
    for camera, wanted in MIN_J_AND_F.items():
        scores = [score for group, members in groups.items() if group.startswith(camera) for score in members]
        rows.append(_mask_row(f"**{camera} camera, wanted >= {wanted:.2f} and no switch**", scores))
        is_met &= float(np.mean([score.j_and_f for score in scores])) >= wanted
    header = ("shots", "objects", "J", "F", "J&F", "worst J&F", "switched")
    return Table(title="Masks from true boxes", header=header, rows=tuple(rows), is_met=is_met)


def stage_table(cases: Iterable[Case]) -> Table:
    """J&F per kind of shot when the boxes, too, come from the embedded detector; it has no target."""
    groups: dict[str, list[float]] = defaultdict(list)
    for case in cases:
        with tempfile.TemporaryDirectory() as scratch:
            groups[case.group] += score_stages(case.footage, Path(scratch))
    rows = [
        (group, f"{len(scores)}", f"{np.mean([score > 0.5 for score in scores]):.2f}", f"{np.mean(scores):.3f}")
        for group, scores in groups.items()
    ]
    header = ("shots", "objects", "share with J&F over 0.5", "J&F")
    return Table(title="Masks from the video file: cut, detect, track", header=header, rows=tuple(rows), is_met=True)


def _mask_row(name: str, scores: Sequence[MaskScore]) -> tuple[str, ...]:
    j, f = np.mean([score.j for score in scores]), np.mean([score.f for score in scores])
    worst = min(score.j_and_f for score in scores)
    num_switched = sum(score.is_switched for score in scores)
    return name, f"{len(scores)}", f"{j:.3f}", f"{f:.3f}", f"{(j + f) / 2:.3f}", f"{worst:.3f}", f"{num_switched}"
