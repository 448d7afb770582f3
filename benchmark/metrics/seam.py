"""Whether the border of the hole can be seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmark.metrics.regions import Frames, Masks, check_shapes
from benchmark.metrics.sums import Sums, total


def seam(output: Frames, truth: Frames, holes: Masks) -> Sums:
    """Mean absolute error of the step across the border of the hole, of values in [0, 1]; 0 where no seam is added.

    Over all pairs of pixels side by side or one above the other of which one is in the hole, and over channels: how far
    the difference of the two is from their difference in the truth. The guidance term of Poisson blending (Perez et al.
    2003, https://doi.org/10.1145/882262.882269, equation 3), on the border only. A change of colour of the whole frame
    costs nothing. A count of 0 for a hole that is empty or full.
    """
    check_shapes(output, truth, holes)
    return total(_frame_seam(*triple) for triple in zip(output, truth, holes, strict=True))


def _frame_seam(output: NDArray[np.uint8], truth: NDArray[np.uint8], hole: NDArray[np.bool_]) -> Sums:
    error = output.astype(np.int16) - truth
    return total(_steps(error, hole, *pair) for pair in _NEIGHBOURS)


_NEIGHBOURS = (
    ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
    ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
)


def _steps(
    error: NDArray[np.int16], hole: NDArray[np.bool_], here: tuple[slice, slice], there: tuple[slice, slice]
) -> Sums:
    border = hole[here] != hole[there]
    steps = np.abs(error[here][border] - error[there][border])
    return Sums(float(steps.sum(dtype=np.int64)) / 255, steps.size)
