"""The pictures that a vision-language model is shown for a caption."""

from __future__ import annotations

import cv2
import numpy as np

from vpdata.media.masks import Mask, bounding_box
from vpdata.models.ports import CaptionRequest, Image

OUTLINE_RGB = (255, 0, 0)
"""Such models look where something is marked in red (Shtedritski et al. 2023, https://arxiv.org/abs/2304.06712)."""
MIN_VIEW_PX = 64
"""Smallest side of a picture of an object alone, where the frame is that large: models refuse or blur smaller ones."""
_MARGIN = 1.2


def shown_images(request: CaptionRequest) -> list[Image]:
    """For the clip its key frames; for a track its key frames with the object outlined, then as many of it alone.

    Alone means black outside the mask, as VideoPainter's own prompt for object descriptions has it, here cut out
    around the object: a picture of black costs a model as much as any other.
    """
    if request.masks is None:
        return list(request.images)
    pairs = list(zip(request.images, request.masks, strict=True))
    return [*(outlined(image, mask) for image, mask in pairs), *(alone(image, mask) for image, mask in pairs)]


def outlined(image: Image, mask: Mask) -> Image:
    """A copy with a red line around the mask, which covers no pixel of it."""
    width_px = max(2, min(image.shape[:2]) // 160)
    kernel = np.ones((2 * width_px + 1, 2 * width_px + 1), np.uint8)
    line = cv2.dilate(mask.astype(np.uint8), kernel).astype(np.bool_) & ~mask
    shown = image.copy()
    shown[line] = OUTLINE_RGB
    return shown


def alone(image: Image, mask: Mask) -> Image:
    """The object on black, cut out with a margin; the whole frame, all black, for an empty mask."""
    black = np.where(mask[..., None], image, np.uint8(0))
    box = bounding_box(mask)
    if box is None:
        return black
    x0, y0, x1, y1 = box
    return np.ascontiguousarray(black[_view(y0, y1, limit=image.shape[0]), _view(x0, x1, limit=image.shape[1])])


def _view(start: int, stop: int, *, limit: int) -> slice:
    """The span with its margin, moved into the picture."""
    size = min(limit, max(MIN_VIEW_PX, round(_MARGIN * (stop - start))))
    first = min(max(0, (start + stop - size) // 2), limit - size)
    return slice(first, first + size)
