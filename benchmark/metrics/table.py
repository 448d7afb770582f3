"""The rows of a score table, and what its metrics are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from benchmark.metrics.settings import Protocol

Output = Literal["raw", "composited"]
"""As the method gave it, or with the known pixels put back."""
Place = Literal["frame", "known", "hole", "one_sided"]
"""A region of `benchmark.metrics.sums`; `one_sided` is the published code's: the whole truth against the output with
its hole blackened, so that the hole itself counts as error."""
Status = Literal["ok", "n/a", "failed"]
"""`n/a`: it cannot be measured here; `failed`: the method has no usable result."""
Key = tuple[str, Place, Output, int]
"""Metric, place, output and dilation in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """What a number means."""

    unit: str
    range: str
    """Of the pixels that it is computed from, or of the value."""
    is_higher_better: bool
    needs_truth: bool = True
    """Whether it compares with the true pixels, which an edit does not have inside its hole."""
    has_neighbours: bool = False
    """Whether it compares neighbouring frames."""
    ranks: bool = True
    """Whether the best value is of the best method. What looks at change alone is best for a blur that stands still,
    better than the truth."""


METRICS = {
    "psnr": Metric(unit="dB", range="pixels in [0, 1]; at most 100", is_higher_better=True),
    "ssim": Metric(unit="1", range="pixels in [0, 1]; value in [-1, 1]", is_higher_better=True),
    "lpips": Metric(unit="1", range="pixels in [-1, 1]; value from 0", is_higher_better=False),
    "mse": Metric(unit="1", range="pixels in [0, 1]; value in [0, 1]", is_higher_better=False),
    "mae": Metric(unit="1", range="pixels in [0, 1]; value in [0, 1]", is_higher_better=False),
    "clip_similarity": Metric(
        unit="100 x cosine", range="value in [-100, 100]", is_higher_better=True, needs_truth=False
    ),
    "masked_clip_similarity": Metric(
        unit="100 x cosine", range="value in [-100, 100]", is_higher_better=True, needs_truth=False
    ),
    "temporal_consistency": Metric(
        unit="cosine",
        range="value in [-1, 1]",
        is_higher_better=True,
        needs_truth=False,
        has_neighbours=True,
        ranks=False,
    ),
    "warping_error": Metric(
        unit="1", range="pixels in [0, 1]; value in [0, 1]", is_higher_better=False, has_neighbours=True, ranks=False
    ),
    "flicker": Metric(unit="1", range="pixels in [0, 1]; value in [0, 2]", is_higher_better=False, has_neighbours=True),
    "seam": Metric(unit="1", range="pixels in [0, 1]; value in [0, 2]", is_higher_better=False),
    "fvid": Metric(unit="squared Frechet distance", range="value from 0", is_higher_better=False, needs_truth=False),
}
_PIXELS = ("psnr", "ssim", "lpips", "mse", "mae")
_REGIONS: tuple[Place, ...] = ("frame", "known", "hole")
_WHOLE_AND_HOLE: tuple[Place, ...] = ("frame", "hole")
_WHOLE_AND_ONE_SIDED: tuple[Place, ...] = ("frame", "one_sided")
PLACES: dict[Protocol, dict[str, tuple[Place, ...]]] = {
    "clean": {
        **dict.fromkeys((*_PIXELS, "warping_error", "flicker"), _REGIONS),
        **dict.fromkeys(("clip_similarity", "temporal_consistency"), _WHOLE_AND_HOLE),
        "seam": ("hole",),
        "fvid": ("frame",),
    },
    "paper": {
        **dict.fromkeys(_PIXELS, _WHOLE_AND_ONE_SIDED),
        **dict.fromkeys(("clip_similarity", "temporal_consistency"), _WHOLE_AND_HOLE),
        "masked_clip_similarity": ("hole",),
        "fvid": ("frame",),
    },
}
"""What each protocol measures, and where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRow:
    """One metric of one output of one case. The mean over cases is the sum of the sums over the sum of the counts."""

    method: str
    case: str
    subset: str
    protocol: Protocol
    metric: str
    region: Place
    output: Output
    dilate_px: int
    sum: float | None
    """None where nothing was measured, and for `fvid`, whose features are in a file of their own."""
    count: int
    num_capped: int
    """Of the count, values of PSNR over 100 dB, mostly infinite ones of exact copies, which count as 100 dB."""
    unit: str
    model: str | None
    """Network and revision, or what else was used; None for plain arithmetic."""
    status: Status
    reason: str | None
    """Why it is not ok."""
    first_frame_given: bool
    """Whether the method was given the true first frame."""
    num_frames: int
    height_px: int
    width_px: int


def planned(protocol: Protocol, dilate_px: tuple[int, ...]) -> list[Key]:
    """Every row that a case gets, whatever becomes of it."""
    outputs: tuple[Output, ...] = ("raw", "composited")
    return [
        (metric, place, output, radius)
        for metric, places in PLACES[protocol].items()
        for place in places
        for output in outputs
        for radius in dilate_px
    ]
