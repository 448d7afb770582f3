"""Dense optical flow by OpenCV, on pictures of any size."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

MIN_SIDE_PX = 32
"""Patches of 8 px at a quarter of the size, where the quicker presets end: on less OpenCV 4.14 raises or crashes."""


def dense_flow(dis: cv2.DISOpticalFlow, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Where each pixel of a grey image uint8 [H, W] went in another: float32 [H, W, 2], (x, y) in pixels.

    Dense inverse search (Kroeger et al., ECCV 2016). Images under `MIN_SIDE_PX` go on as their last row and column.
    """
    height, width = first.shape
    below, beside = max(0, MIN_SIDE_PX - height), max(0, MIN_SIDE_PX - width)
    if below or beside:
        padded = (cv2.copyMakeBorder(image, 0, below, 0, beside, cv2.BORDER_REPLICATE) for image in (first, second))
        first, second = (np.asarray(image, dtype=np.uint8) for image in padded)
    flow = dis.calc(first, second, None)  # pyright: ignore
    return np.asarray(flow[:height, :width], dtype=np.float32)
