"""Sums become rows of the score table; what could not be measured is a row with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmark.bench import Case
from benchmark.metrics.networks import Networks
from benchmark.metrics.settings import Protocol
from benchmark.metrics.sums import NOTHING, Sums
from benchmark.metrics.table import METRICS, Key, ScoreRow, Status, planned
from benchmark.metrics.truth import Truth
from benchmark.results import Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class RowMaker:
    """For the results of one method on one case."""

    method: str
    first_frame_given: bool
    case: Case
    shape: Shape
    """Of the case and its results."""
    protocol: Protocol
    dilate_px: tuple[int, ...]
    networks: Networks

    def measured(self, found: Mapping[Key, Sums], truth: Truth) -> tuple[ScoreRow, ...]:
        """A row for each planned key: its sums, or why there are none."""
        rows: list[ScoreRow] = []
        for key in planned(self.protocol, self.dilate_px):
            sums = found.get(key, NOTHING)
            why = self._why_not(key, sums, truth)
            rows.append(self._row(key, NOTHING if why else sums, status="n/a" if why else "ok", reason=why))
        return tuple(rows)

    def failed(self, reason: str) -> tuple[ScoreRow, ...]:
        """The same rows for a result that has no usable frames."""
        keys = planned(self.protocol, self.dilate_px)
        return tuple(self._row(key, NOTHING, status="failed", reason=reason) for key in keys)

    def _why_not(self, key: Key, sums: Sums, truth: Truth) -> str | None:
        metric, place, _, radius = key
        case, about = self.case, METRICS[metric]
        if metric in self.networks.missing:
            return self.networks.missing[metric]
        if self.protocol == "clean" and case.is_edit and about.needs_truth and place != "known":
            return "an edit has no truth inside its hole"
        if sums.count:
            return None
        if not len(truth.frames):
            return "the case has one frame alone, the first, which is not measured"
        if about.has_neighbours and len(truth.frames) < 2:
            return "a single frame has no neighbours"
        if metric == "clip_similarity" and not (case.prompt if place == "frame" else case.object_prompt).strip():
            return "the case has no text for it"
        holes = truth.holes[radius]
        if not holes.any():
            return "the hole is empty on every frame that is measured"
        if holes.all():
            return "the hole is the whole frame"
        return "no pixel of this region is on a frame, or on two neighbours, that can be compared"

    def _row(self, key: Key, sums: Sums, *, status: Status, reason: str | None) -> ScoreRow:
        metric, place, output, radius = key
        num_frames, height_px, width_px = self.shape
        return ScoreRow(
            method=self.method,
            case=self.case.id,
            subset=self.case.subset,
            protocol=self.protocol,
            metric=metric,
            region=place,
            output=output,
            dilate_px=radius,
            sum=sums.sum if sums.count and metric != "fvid" else None,
            count=sums.count,
            num_capped=sums.num_capped,
            unit=METRICS[metric].unit,
            model=self.networks.models.get(metric),
            status=status,
            reason=reason,
            first_frame_given=self.first_frame_given,
            num_frames=num_frames,
            height_px=height_px,
            width_px=width_px,
        )
