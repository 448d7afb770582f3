"""What lies behind an object: the background as it was last seen, carried along with the camera."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vpdata.media.masks import Mask
from vpdata.models.embedded.tracker_motion import Flow

_SAME_LEVELS = 8
"""Two blurred pixels closer than this (of 255, worst channel) may show the same thing under noise and compression."""


class BackgroundPlate:
    """The last look at each place of the scene that the object did not cover."""

    def __init__(self, image: NDArray[np.uint8], covered: Mask) -> None:
        self._image = image.copy()
        self._is_known = ~covered

    def carry(self, camera: Flow) -> None:
        """Follow the camera to the next frame; what was out of the frame is unknown."""
        if float(np.abs(camera).max()) < 0.1:
            return
        rows, columns = np.mgrid[: camera.shape[0], : camera.shape[1]].astype(np.float32)
        x, y = columns - camera[..., 0], rows - camera[..., 1]
        self._image = np.asarray(cv2.remap(self._image, x, y, cv2.INTER_LINEAR), dtype=np.uint8)
        self._is_known = cv2.remap(self._is_known.astype(np.uint8), x, y, cv2.INTER_NEAREST) > 0

    def learn(self, image: NDArray[np.uint8], covered: Mask) -> None:
        """Take in what is seen around the object."""
        cv2.copyTo(image, (~covered).astype(np.uint8), self._image)
        self._is_known |= ~covered

    def evidence(self, image: NDArray[np.uint8], window: tuple[slice, slice]) -> NDArray[np.float32]:
        """In [-1, 1] per pixel of the window: -1 shows the known background, 1 something else, 0 unknown."""
        seen, plate = image[window], self._image[window]
        red, green, blue = cv2.split(cv2.absdiff(seen, plate))
        difference = np.maximum(np.maximum(red, green), blue).astype(np.float32)
        # An edge that is half a pixel off differs by half its height.
        grey = plate[..., 1]
        edge = cv2.morphologyEx(grey, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)).astype(np.float32)
        excess = difference / (_SAME_LEVELS + 0.3 * edge) - 1
        return np.where(self._is_known[window], np.clip(2 * excess, -1, 1), 0).astype(np.float32)
