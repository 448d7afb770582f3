"""What was made, put into the video's own pixels."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vpdata.inpaint.any_length import Frames, Masks
from vpdata.media.masks import bounding_box


def paste(video: Frames, made: Frames, mask: Masks, *, feather_px: int) -> Frames:
    """`made` in the hole, `video` elsewhere, and a mixture that falls off over `feather_px` around the hole.

    All of one size: frames `[F, H, W, 3]` uint8, mask `[F, H, W]` bool. Pixels whose distance from the hole is
    `feather_px + 1` or more keep every bit.
    """
    return np.stack([_pasted(*one, feather_px=feather_px) for one in zip(video, made, mask, strict=True)])


def _pasted(video: Frames, made: Frames, mask: Masks, *, feather_px: int) -> Frames:
    out = video.copy()
    box = bounding_box(mask)
    if box is not None:
        left, top, right, bottom = box
        # Most of a frame is far from the hole, and weighing it costs more than coding it.
        near = np.s_[max(top - feather_px, 0) : bottom + feather_px, max(left - feather_px, 0) : right + feather_px]
        weight = _weight(mask[near], feather_px=feather_px)[..., None]
        own = video[near]
        out[near] = np.rint(own + (made[near].astype(np.float32) - own) * weight)
    return out


def _weight(mask: Masks, *, feather_px: int) -> NDArray[np.float32]:
    """1 in the hole, and around it falling evenly to 0 at a distance of `feather_px + 1` pixels."""
    distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.clip(1 - distance / (feather_px + 1), 0, 1).astype(np.float32)
