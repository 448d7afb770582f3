"""Between the video's size and the size that the model works at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vpdata.backbones.spec import BackboneSpec
from vpdata.errors import ConfigError
from vpdata.inpaint.any_length import Frames, Masks


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Of a frame."""

    height_px: int
    width_px: int


def model_size(video: Size, spec: BackboneSpec, *, area_px: int) -> Size:
    """The size nearest to the video's aspect, of about `area_px`, whose sides divide into the backbone's tokens.

    ConfigError where a side would be less than one token.
    """
    scale = (area_px / (video.height_px * video.width_px)) ** 0.5
    step_height, step_width = spec.stride_px * spec.patch[1], spec.stride_px * spec.patch[2]
    height = round(video.height_px * scale / step_height) * step_height
    width = round(video.width_px * scale / step_width) * step_width
    if not height or not width:
        raise ConfigError(
            f"got a video of {video.width_px} x {video.height_px} px, which at {area_px} px in all is narrower than a "
            f"token of {step_width} x {step_height} px; give a larger area, or crop the video"
        )
    return Size(height_px=height, width_px=width)


def scale_frames(frames: Frames, size: Size) -> Frames:
    """`[F, H, W, 3]` at another size: pixels averaged along a side that shrinks, cubic along one that grows."""
    if frames.shape[1:3] == (size.height_px, size.width_px):
        return frames
    return np.stack([_resized(frame, size, growing=cv2.INTER_CUBIC) for frame in frames]).astype(np.uint8)


def scale_masks(masks: Masks, size: Size) -> Masks:
    """`[F, H, W]` at another size: a pixel is masked if any pixel that it covers is."""
    if masks.shape[1:] == (size.height_px, size.width_px):
        return masks
    return np.stack([_resized(mask.astype(np.float32), size, growing=cv2.INTER_LINEAR) for mask in masks]) > 0


def _resized(image: NDArray[Any], size: Size, *, growing: int) -> NDArray[Any]:
    """`[H, W]` or `[H, W, C]`, sides that shrink first: OpenCV's averaging skips pixels where the other side grows."""
    height, width = min(image.shape[0], size.height_px), min(image.shape[1], size.width_px)
    if (height, width) != image.shape[:2]:
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    if (height, width) != (size.height_px, size.width_px):
        image = cv2.resize(image, (size.width_px, size.height_px), interpolation=growing)
    return image
