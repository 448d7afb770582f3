"""What moves between neighbouring frames: dense optical flow, the camera's part of it, and an object's."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vpdata.media.masks import Mask
from vpdata.models.embedded.dense_flow import dense_flow

Flow = NDArray[np.float32]
"""float32 [H, W, 2]: where each pixel goes, (x, y) in pixels."""
_GRID_PX = 8
"""Flow is sampled this far apart to fit the camera's motion."""


def flow_between(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> Flow:
    """Dense flow from one grey image uint8 [H, W] to another."""
    return dense_flow(cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST), first, second)


def camera_flow(flow: Flow) -> Flow:
    """The flow that a similarity transform fitted to most of the frame (RANSAC) would have."""
    height, width = flow.shape[:2]
    y, x = np.mgrid[_GRID_PX // 2 : height : _GRID_PX, _GRID_PX // 2 : width : _GRID_PX]
    start = np.stack([x, y], axis=-1).reshape(-1, 2).astype(np.float32)
    stop = start + flow[y, x].reshape(-1, 2)
    matrix, _ = cv2.estimateAffinePartial2D(start, stop, ransacReprojThreshold=1.0, maxIters=200)
    if matrix is None:
        return np.zeros_like(flow)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    shift_x = (matrix[0, 0] - 1) * columns + matrix[0, 1] * rows + matrix[0, 2]
    shift_y = matrix[1, 0] * columns + (matrix[1, 1] - 1) * rows + matrix[1, 2]
    return np.stack([shift_x, shift_y], axis=-1).astype(np.float32)


def carry(mask: NDArray[np.float32], flow: Flow) -> NDArray[np.float32]:
    """A mask float32 [H, W] in [0, 1] moved along the flow of its own pixels.

    Flow is smeared where two motions meet, so the object's is taken from its inside and spread outwards
    (normalised convolution) before the mask is pulled back along it.
    """
    inside = (mask > 0.5).astype(np.uint8)
    core = cv2.erode(inside, np.ones((3, 3), np.uint8), iterations=2)
    weight = (core if core.sum() >= 0.25 * inside.sum() else inside).astype(np.float32)
    reach = 2 * max(2, round(0.2 * float(np.sqrt(inside.sum())))) + 1
    blurred = _blur(weight, reach)
    field = _blur(flow * weight[..., None], reach) / np.maximum(blurred, 1e-4)[..., None]
    field[blurred < 1e-3] = median_flow(flow, weight > 0)
    rows, columns = np.mgrid[: mask.shape[0], : mask.shape[1]].astype(np.float32)
    # The field lives where the pixels start; one step of fixed-point iteration finds where they came from.
    back = cv2.remap(field, columns - field[..., 0], rows - field[..., 1], cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE)
    return np.asarray(cv2.remap(mask, columns - back[..., 0], rows - back[..., 1], cv2.INTER_LINEAR), dtype=np.float32)


def _blur(image: NDArray[np.float32], size_px: int) -> NDArray[np.float32]:
    once = cv2.blur(image, (size_px, size_px), borderType=cv2.BORDER_CONSTANT)
    return np.asarray(cv2.blur(once, (size_px, size_px), borderType=cv2.BORDER_CONSTANT), dtype=np.float32)


def median_flow(flow: Flow, mask: Mask) -> NDArray[np.float32]:
    """Median (x, y) of the flow in a mask, from at most about 2,000 of its pixels; zero for an empty one."""
    rows, columns = np.nonzero(mask)
    if not rows.size:
        return np.zeros(2, dtype=np.float32)
    step = 1 + rows.size // 2000
    return np.median(flow[rows[::step], columns[::step]], axis=0).astype(np.float32)


def motion_evidence(own: Flow, typical: NDArray[np.float32]) -> NDArray[np.float32]:
    """In [-1, 1] per pixel: whether it moves as the object does (1) or as the background (-1).

    `own` is the flow without the camera's part, `typical` the object's (x, y). Zero everywhere where the object hardly
    moves against the background (0.7 px), since motion says nothing then.
    """
    gap = float(typical @ typical)
    if gap < 0.5:
        return np.zeros(own.shape[:2], dtype=np.float32)
    along = own[..., 0] * typical[0] + own[..., 1] * typical[1]
    # (|own|^2 - |own - typical|^2) / |typical|^2, written out.
    return np.clip(2 * along / gap - 1, -1, 1).astype(np.float32)
