"""The columns of a table: what the paper's tables show, in its units, and what they do not show."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from benchmark.metrics.settings import Protocol
from benchmark.metrics.table import METRICS, PLACES, Place

PLACE_NAMES: dict[Place, str] = {
    "frame": "whole frame",
    "known": "known pixels",
    "hole": "hole",
    "one_sided": "one-sided, as in the published code",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One metric of one region."""

    name: str
    metric: str
    place: Place
    protocol: Protocol
    """Whose definition it is measured by."""
    factor: float = 1.0
    """What a value is multiplied by to be shown."""
    digits: int = 2
    """After the point."""
    is_published: bool = True
    """Whether the paper's tables have it."""

    @property
    def is_higher_better(self) -> bool:
        return METRICS[self.metric].is_higher_better

    @property
    def head(self) -> str:
        """Name, unit and which way is better."""
        power = {100.0: " x100", 10_000.0: " x10000"}.get(self.factor, "")
        return f"{self.name}{power} {'↑' if self.is_higher_better else '↓'}"


def columns_of(protocol: Protocol, place: Place) -> tuple[Column, ...]:
    """Those of the table of a region: the paper's eight, then what its code or ours measures beside them."""
    measured, column = PLACES[protocol], partial(Column, protocol=protocol)
    published = (
        column(name="PSNR", metric="psnr", place=place),
        column(name="SSIM", metric="ssim", place=place, digits=3),
        column(name="LPIPS", metric="lpips", place=place, factor=100.0),
        column(name="MSE", metric="mse", place=place, factor=100.0),
        column(name="MAE", metric="mae", place=place, factor=100.0),
        column(name="CLIP Sim", metric="clip_similarity", place="frame"),
        column(name="CLIP Sim (M)", metric="clip_similarity", place="hole"),
        column(name="FVID", metric="fvid", place="frame"),
    )
    coded = (
        column(name="CLIP Sim (M, caption)", metric="masked_clip_similarity", place="hole", is_published=False),
        column(name="Temporal consistency", metric="temporal_consistency", place="frame", digits=3, is_published=False),
        column(
            name="Temporal consistency (M)", metric="temporal_consistency", place="hole", digits=3, is_published=False
        ),
    )
    others = (
        column(name="Temporal consistency", metric="temporal_consistency", place=place, digits=3, is_published=False),
        column(name="Warping error", metric="warping_error", place=place, factor=10_000.0, is_published=False),
        column(name="Flicker", metric="flicker", place=place, factor=100.0, is_published=False),
        column(name="Seam", metric="seam", place=place, factor=100.0, is_published=False),
    )
    if protocol == "paper":
        return (*published, *coded)
    return (*published, *(one for one in others if place in measured.get(one.metric, ())))


def places_of(protocol: Protocol) -> tuple[Place, ...]:
    """The regions that have a table."""
    return PLACES[protocol]["psnr"]
