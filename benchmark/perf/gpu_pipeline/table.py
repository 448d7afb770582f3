"""The figures as tables, with targets where a GPU gave them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vpdata.config import fill

ROWS = ("plain", "batched", "ours")
STAGES = ("detect", "track", "caption")
VPDATA_H, CLIP_S = 866.7, 10
"""Hours of video in VPData, and the length that its clips are taken to have."""
MIN_SPEED_UP = {"plain": 3.0, "batched": 1.3}
MIN_BUSY_FRAC = {"track": 0.85, "caption": 0.85}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one stage cost one row."""

    row: str
    stage: str
    clips_per_s: float | None
    """None: the GPU's memory did not hold it."""
    busy_frac: float | None
    peak_gb: float | None
    num_clips: int
    num_workers: int
    """Processes that shared the GPU."""
    device: str
    """What the GPU is called, or "CPU"."""
    is_tiny: bool


def read_results(file: Path) -> list[Measured]:
    """What `--results` wrote."""
    return [fill(Measured, one) for one in json.loads(file.read_text(encoding="utf-8"))]


def tables(measured: Sequence[Measured]) -> str:
    """All that is to be told of one device, as Markdown."""
    lines = [
        *sorted({f"On {one.device}:" for one in measured}),
        "",
        "| stage | row | processes | clips | clips/s | GPU busy | peak GB |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
        *(line(one) for one in sorted(measured, key=lambda one: (STAGES.index(one.stage), ROWS.index(one.row)))),
        "",
        *_whole_path(measured),
    ]
    if any(one.is_tiny for one in measured):
        return "\n".join(
            [*lines, "", "Tiny models on the CPU: this shows that every row runs, and no figure means more."]
        )
    return "\n".join([*lines, "", *_targets(measured)])


def line(one: Measured) -> str:
    """A row of the first table."""
    rate = "out of memory" if one.clips_per_s is None else f"{one.clips_per_s:.3f}"
    busy = "" if one.busy_frac is None else f"{one.busy_frac:.0%}"
    peak = "" if one.peak_gb is None else f"{one.peak_gb:.1f}"
    return f"| {one.stage} | {one.row} | {one.num_workers} | {one.num_clips} | {rate} | {busy} | {peak} |"


def whole_path_clips_per_s(measured: Sequence[Measured], row: str) -> float | None:
    """Of one GPU that runs the stages one after another; None where a stage is missing."""
    rates = {one.stage: one.clips_per_s for one in measured if one.row == row}
    seconds = [1 / rate for stage in STAGES if (rate := rates.get(stage))]
    return 1 / sum(seconds) if len(seconds) == len(STAGES) else None


def _whole_path(measured: Sequence[Measured]) -> list[str]:
    lines = [f"| whole path | clips/s | ours / it | GPU-hours for {VPDATA_H} h |", "| --- | ---: | ---: | ---: |"]
    ours = whole_path_clips_per_s(measured, "ours")
    is_tiny = any(one.is_tiny for one in measured)
    for row in ROWS:
        if rate := whole_path_clips_per_s(measured, row):
            gpu_h = "" if is_tiny else f"{VPDATA_H / CLIP_S / rate:,.0f}"
            ratio = f"{ours / rate:.2f}" if ours else ""
            lines.append(f"| {row} | {rate:.3f} | {ratio} | {gpu_h} |")
    return lines


def _targets(measured: Sequence[Measured]) -> list[str]:
    """A line for each target, also for one of which nothing is known."""
    lines = []
    ours = whole_path_clips_per_s(measured, "ours")
    for row, wanted in MIN_SPEED_UP.items():
        theirs = whole_path_clips_per_s(measured, row)
        got = ours / theirs if ours and theirs else None
        lines.append(_verdict(f"ours / {row}", got, wanted, ".2f"))
    busy_fracs = {one.stage: one.busy_frac for one in measured if one.row == "ours"}
    for stage, wanted in MIN_BUSY_FRAC.items():
        lines.append(_verdict(f"GPU busy in {stage}", busy_fracs.get(stage), wanted, ".0%"))
    return lines


def _verdict(what: str, got: float | None, wanted: float, form: str) -> str:
    if got is None:
        return f"OPEN  {what}: not measured, wanted {wanted:{form}}"
    return f"{'PASS' if got >= wanted else 'FAIL'}  {what}: got {got:{form}}, wanted {wanted:{form}}"
