"""What neighbouring frames tell: how steady the output is along the motion of the truth, and how much it flickers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmark.metrics.regions import Frames, Masks, check_shapes
from benchmark.metrics.sums import NOTHING, REGIONS, Region, Sums

FLOW = "DIS optical flow of OpenCV, preset medium"
_MAX_FRAME_DISTANCE = 0.5
_MAX_RELATIVE_DISTANCE = 0.01
"""Bounds of the forward-backward check, in squared pixels: Sundaram et al. 2010, equation 5."""
_MAX_GRADIENT = 0.002
_MAX_RELATIVE_GRADIENT = 0.01
"""Bounds of the change of motion from pixel to pixel, in squared pixels: Sundaram et al. 2010, equation 6."""


@dataclass(frozen=True, slots=True)
class Motion:
    """Where each pixel of a frame is in the next one."""

    places: NDArray[np.float32]
    """[H, W, 2]: x and y in the next frame."""
    is_seen: NDArray[np.bool_]
    """[H, W]: whether it can be seen there: inside the frame, not hidden, and not where two motions meet."""


def motions(truth: Frames) -> list[Motion]:
    """Of all T - 1 pairs of neighbours of uint8 [T, H, W, 3] RGB, at full size."""
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in truth]
    return [motion_of(_flow(first, second), _flow(second, first)) for first, second in pairwise(grey)]


def motion_of(forward: NDArray[np.float32], backward: NDArray[np.float32]) -> Motion:
    """Of the flow to the next frame and the flow back, float32 [H, W, 2], x and y in pixels.

    Seen is what `detect_occlusion` in the code of Lai et al. does not call occluded, and is inside the next frame.
    """
    height, width = forward.shape[:2]
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    places = forward + np.stack([columns, rows], axis=2)
    returning = _at(backward, places)
    distance = np.square(forward + returning).sum(axis=2)
    length = np.square(forward).sum(axis=2) + np.square(returning).sum(axis=2)
    x, y = places[..., 0], places[..., 1]
    is_inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    is_seen = is_inside & (distance <= _MAX_RELATIVE_DISTANCE * length + _MAX_FRAME_DISTANCE)
    return Motion(places, is_seen & ~_is_border(forward))


def warping_error(output: Frames, holes: Masks, truth_motions: list[Motion]) -> dict[Region, Sums]:
    """Mean squared difference of each pixel from where the truth moves it to, of values in [0, 1]; lower is steadier.

    Lai et al. 2018 (https://arxiv.org/abs/1808.00449), the warping error of section 4.1, with the flow of the true
    video, so that it is the same for every method. Left out are, as in its code, pixels that are hidden and those where
    two motions meet, whose flow is neither. A pixel is in a region by its place in the first frame of the pair. Counts
    of 0 for a single frame.
    """
    sums = dict.fromkeys(REGIONS, NOTHING)
    for (first, second), motion, hole in zip(pairwise(output), truth_motions, holes[:-1], strict=True):
        squared = _warped_difference(first, second, motion)
        sums["frame"] += _masked(squared, motion.is_seen)
        sums["known"] += _masked(squared, motion.is_seen & ~hole)
        sums["hole"] += _masked(squared, motion.is_seen & hole)
    return sums


def flicker(output: Frames, truth: Frames, holes: Masks) -> dict[Region, Sums]:
    """Mean absolute error of the change from frame to frame, of values in [0, 1]; 0 where it changes as the truth does.

    The temporal gradient error of Erofeev et al. 2015 (dtSSD, https://doi.org/10.5244/C.29.99) with absolute values. A
    pixel is in a region if it is on both frames. Counts of 0 for a single frame.
    """
    check_shapes(output, truth, holes)
    sums = dict.fromkeys(REGIONS, NOTHING)
    errors = output.astype(np.int16) - truth
    for before, after, hole_before, hole_after in zip(errors[:-1], errors[1:], holes[:-1], holes[1:], strict=True):
        change = np.abs(after - before).sum(axis=2) / (3 * 255)
        sums["frame"] += _masked(change, np.ones_like(hole_after))
        sums["known"] += _masked(change, ~hole_before & ~hole_after)
        sums["hole"] += _masked(change, hole_before & hole_after)
    return sums


def _flow(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
    # A new object for each pair: it would start from the last pair's flow, and the result would hang on the order.
    method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return np.asarray(method.calc(first, second, np.zeros((*first.shape, 2), np.float32)), dtype=np.float32)


def _is_border(flow: NDArray[np.float32]) -> NDArray[np.bool_]:
    """[H, W]: where two motions meet: flow [H, W, 2] that changes to the next pixel on the right or below."""
    right, below = (np.diff(flow, axis=axis, append=np.take(flow, [-1], axis=axis)) for axis in (1, 0))
    gradient = (np.square(right) + np.square(below)).sum(axis=2)
    return gradient > _MAX_RELATIVE_GRADIENT * np.square(flow).sum(axis=2) + _MAX_GRADIENT


def _warped_difference(first: NDArray[np.uint8], second: NDArray[np.uint8], motion: Motion) -> NDArray[np.float32]:
    """[H, W]: squared difference, mean of the channels."""
    return np.square((_at(second.astype(np.float32), motion.places) - first) / 255).mean(axis=2)


def _at(values: NDArray[np.float32], places: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bilinear samples of [H, W, C]; beyond the edge its nearest value."""
    x, y = places[..., 0], places[..., 1]
    return np.asarray(cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), dtype=np.float32)


def _masked(values: NDArray[np.floating], where: NDArray[np.bool_]) -> Sums:
    return Sums(float(values[where].sum(dtype=np.float64)), int(where.sum()))
