"""What was made, put into the video's own pixels."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vpdata.inpaint.any_length import Frames, Masks


def paste(video: Frames, made: Frames, mask: Masks, *, feather_px: int) -> Frames:
    """`made` in the hole, `video` elsewhere, and a mixture that falls off over `feather_px` around the hole.

    All of one size: frames `[F, H, W, 3]` uint8, mask `[F, H, W]` bool. Pixels further than `feather_px` from the hole
    keep every bit.
    """
    weights = [_weight(one, feather_px=feather_px)[..., None] for one in mask]
    return np.stack(
        [
            np.rint(own + (new.astype(np.float32) - own) * weight).astype(np.uint8)
            for own, new, weight in zip(video, made, weights, strict=True)
        ]
    )


def _weight(mask: Masks, *, feather_px: int) -> NDArray[np.float32]:
    """1 in the hole, and around it falling evenly to 0 at a distance of `feather_px + 1` pixels."""
    if not mask.any():
        return np.zeros(mask.shape, np.float32)
    distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.clip(1 - distance / (feather_px + 1), 0, 1).astype(np.float32)
