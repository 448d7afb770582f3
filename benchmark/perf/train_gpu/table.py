"""The figures as a table, beside the authors' own rate, with targets where a GPU gave them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PEAK_FLOPS = 989e12
"""Dense bfloat16 of an H100, H800 or H200, from the maker's data sheet; that of the column MFU."""
TARGET_BACKBONE = "cogvideox-5b-i2v"
AUTHORS_STEP_S, AUTHORS_MFU = 7.6, 0.12
"""VideoPainter on 8 H800, batch 1 each: 80,000 steps in about a week, by the authors' word (its issue #27)."""
MAX_STEP_S, MIN_MFU = 2.2, 0.40


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one row's steps cost; None where the GPU's memory did not hold it."""

    backbone: str
    row: str
    device: str
    is_tiny: bool
    num_steps: int = 0
    """Measured ones."""
    step_s: float | None = None
    """Median, with the wait for data and the optimizer."""
    slowest_s: float | None = None
    data_wait_frac: float | None = None
    peak_gb: float | None = None
    """Allocated by torch, in 10^9 bytes; on the CPU that of the process."""
    step_flops: float = 0.0
    """Of the model: recomputation is left out."""

    @property
    def mfu(self) -> float | None:
        """Model FLOPs a second over `PEAK_FLOPS`."""
        return self.step_flops / self.step_s / PEAK_FLOPS if self.step_s else None


def table(measured: Sequence[Measured]) -> str:
    """All that is to be told, as Markdown."""
    lines = [
        "| backbone | row | steps | TFLOP a step | s a step | slowest | MFU | peak GB | data wait |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        *(line(one) for one in measured),
    ]
    if any(one.is_tiny for one in measured):
        return "\n".join(
            [*lines, "", "A tiny backbone on the CPU: this shows that every row runs; no figure means more."]
        )
    if any(one.backbone == TARGET_BACKBONE for one in measured):
        lines.append(f"| {TARGET_BACKBONE} | the authors', H800 | | | {AUTHORS_STEP_S} | | {AUTHORS_MFU:.0%} | | |")
    peak = f"MFU is of {PEAK_FLOPS / 1e12:.0f} TFLOP/s, on {measured[0].device}." if measured else ""
    return "\n".join([*lines, "", peak, "", *_targets(measured)]).rstrip()


def line(one: Measured) -> str:
    """A row of the table."""
    if one.step_s is None:
        return f"| {one.backbone} | {one.row} | | | out of memory | | | | |"
    mfu = "" if one.is_tiny or one.mfu is None else f"{one.mfu:.1%}"
    return (
        f"| {one.backbone} | {one.row} | {one.num_steps} | {one.step_flops / 1e12:,.4g} | {one.step_s:.3f} | "
        f"{one.slowest_s:.3f} | {mfu} | {one.peak_gb:.1f} | {one.data_wait_frac:.1%} |"
    )


def _targets(measured: Sequence[Measured]) -> list[str]:
    """Of the fastest row."""
    rates = [(one.step_s, one.mfu) for one in measured if one.backbone == TARGET_BACKBONE and one.step_s]
    if not rates:
        return []
    step_s, mfu = min(rates)
    assert mfu is not None
    return [
        _verdict(f"s a step: got {step_s:.2f}, wanted {MAX_STEP_S} or less", step_s <= MAX_STEP_S),
        _verdict(f"MFU: got {mfu:.1%}, wanted {MIN_MFU:.0%} or more", mfu >= MIN_MFU),
        f"{AUTHORS_STEP_S / step_s:.1f} times the authors' rate",
    ]


def _verdict(what: str, is_met: bool) -> str:
    return f"{'PASS' if is_met else 'FAIL'}  {what}"
