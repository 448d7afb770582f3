"""One case as all methods are compared with it; what only the truth decides is computed once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from benchmark.metrics.regions import Frames, Masks, composited, grown
from benchmark.metrics.table import Output
from benchmark.metrics.temporal import Motion, motions

if TYPE_CHECKING:
    from benchmark.bench import Case


@dataclass(frozen=True, kw_only=True)
class Truth:
    """A case, sampled."""

    case: Case
    frames: Frames
    holes: Mapping[int, Masks]
    """Dilation in pixels to the holes, grown by it."""

    @classmethod
    def of(cls, case: Case, frames: Frames, masks: Masks, *, dilate_px: tuple[int, ...]) -> Truth:
        return cls(case=case, frames=frames, holes={radius: grown(masks, radius) for radius in dilate_px})

    @cached_property
    def motions(self) -> list[Motion]:
        return motions(self.frames)

    def outputs(self, output: Frames) -> Iterator[tuple[Output, tuple[int, ...], Frames]]:
        """The raw output for all dilations, then for each of them the output with the known pixels put back."""
        yield "raw", tuple(self.holes), output
        for radius, holes in self.holes.items():
            yield "composited", (radius,), composited(output, self.frames, holes)
