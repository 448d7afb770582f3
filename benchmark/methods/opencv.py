"""Each frame by itself, continued into the hole from its border, by OpenCV.

Telea 2004, "An image inpainting technique based on the fast marching method"; Bertalmio et al. 2001, "Navier-Stokes,
fluid dynamics, and image and video inpainting".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from benchmark.methods.port import Kind, Prompts
from benchmark.results import Frames
from vpdata.inpaint.any_length import Masks

Algorithm = Literal["telea", "navier-stokes"]
_FLAGS = {"telea": cv2.INPAINT_TELEA, "navier-stokes": cv2.INPAINT_NS}


@dataclass(frozen=True, slots=True, kw_only=True)
class OpencvSettings:
    """Of `cv2.inpaint`."""

    algorithm: Algorithm = "telea"
    radius_px: float = 3.0
    """How far around a pixel known ones count."""

    def __post_init__(self) -> None:
        if self.radius_px <= 0:
            raise ValueError(f"got radius_px {self.radius_px}, wanted more than 0")


class Opencv:
    """A `Method`."""

    def __init__(self, settings: OpencvSettings) -> None:
        self._settings = settings

    def inpaint(self, frames: Frames, masks: Masks, prompts: Prompts) -> Frames:
        return continue_inwards(frames, masks, algorithm=self._settings.algorithm, radius_px=self._settings.radius_px)


def continue_inwards(frames: Frames, masks: Masks, *, algorithm: Algorithm = "telea", radius_px: float = 3.0) -> Frames:
    """Fill the holes of uint8 `[T, H, W, 3]`; a frame without a known pixel stays as it is."""
    flag = _FLAGS[algorithm]
    filled = [
        cv2.inpaint(frame, mask.astype(np.uint8), radius_px, flag) if mask.any() and not mask.all() else frame
        for frame, mask in zip(frames, masks, strict=True)
    ]
    return np.stack(filled).astype(np.uint8)


KIND = Kind(settings=OpencvSettings, load=Opencv)
