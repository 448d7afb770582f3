"""What a benchmark is made of: sizes, lengths, and how much of a run it may hold out."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from benchmark.bench import Sampling
from benchmark.published import SAMPLING
from vpdata.config import ModelChoice
from vpdata.records import is_valid_id


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedSampling(Sampling):
    """The published frames and size, each where nothing else is set."""

    fps: Fraction | None = SAMPLING.fps
    height_px: int | None = SAMPLING.height_px
    width_px: int | None = SAMPLING.width_px
    num_frames: int | None = SAMPLING.num_frames


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSettings:
    """One YAML file such as `configs/vpbench.yaml`. The defaults are the published sizes and sampling."""

    name: str = "vpbench"
    """Of the benchmark, and of its file in the run's `splits/`."""
    seed: int = 0
    num_short: int = 100
    """Cases of VPBench-S."""
    short_s: float = 6.125
    """Length of a short case: 49 frames at 8 fps, of which the published 6 s give only 48."""
    num_long: int = 16
    """Cases of VPBench-L, cut again from the sources."""
    long_min_s: float = 30.0
    """Shortest shot of a long case."""
    long_max_s: float = 40.0
    """A longer shot is used up to here: a tracker holds all frames of a case."""
    num_short_edits: int = 45
    """Cases of VPBench-Edit on clips of VPBench-S."""
    num_long_edits: int = 9
    """The same on clips of VPBench-L."""
    max_held_out_frac: float = 0.25
    """Largest share of the run's clips that the videos of the benchmark may have: a small run keeps the rest to train
    on. Look-alikes come on top."""
    look_alike_frac: float = 0.2
    """Clips at most so far, by perceptual hash, from a clip of a held-out video are held out too. Twice what makes a
    near-duplicate of a build: a crop of 2 % is at 0.09, unrelated clips are at 0.44 and more."""
    look_alike_cosine: float = 0.9
    """And clips whose embedding is at least so near, where the run has embeddings: other pictures of one subject are
    near 0.8."""
    captioner: ModelChoice | None = None
    """Writes the edits' instructions and target captions; None: the run's own, and templates where that is the embedded
    one, which follows no instruction."""
    sampling: PublishedSampling = field(default_factory=PublishedSampling)
    """Which frames, and what size, methods and metrics use."""

    def __post_init__(self) -> None:
        if not is_valid_id(self.name):
            raise ValueError(f"got name {self.name!r}, wanted lower-case letters, digits and hyphens")
        for name in ("num_short", "num_long", "num_short_edits", "num_long_edits"):
            if getattr(self, name) < 0:
                raise ValueError(f"got {name} {getattr(self, name)}, wanted 0 or more")
        if self.num_short_edits > self.num_short or self.num_long_edits > self.num_long:
            raise ValueError(
                f"got {self.num_short_edits} and {self.num_long_edits} edits of {self.num_short} short and "
                f"{self.num_long} long cases, wanted at most one edit of each"
            )
        if self.short_s <= 0 or not 0 < self.long_min_s <= self.long_max_s:
            raise ValueError(
                f"got short_s {self.short_s}, long_min_s {self.long_min_s} and long_max_s {self.long_max_s}, wanted "
                "more than 0, and long_min_s at most long_max_s"
            )
        for name in ("max_held_out_frac", "look_alike_frac", "look_alike_cosine"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"got {name} {getattr(self, name)}, wanted a number from 0 to 1")
