"""Between the video's size and the size that the model works at."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

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
    """`[F, H, W, 3]` at another size: pixels averaged when it shrinks, cubic when it grows."""
    if frames.shape[1:3] == (size.height_px, size.width_px):
        return frames
    shrinks = size.height_px * size.width_px < frames.shape[1] * frames.shape[2]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.stack([cv2.resize(frame, (size.width_px, size.height_px), interpolation=method) for frame in frames])


def scale_masks(masks: Masks, size: Size) -> Masks:
    """`[F, H, W]` at another size: a pixel is masked if any pixel that it covers is."""
    if masks.shape[1:] == (size.height_px, size.width_px):
        return masks
    shrinks = size.height_px * size.width_px < masks.shape[1] * masks.shape[2]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    scaled = [
        cv2.resize(mask.astype(np.float32), (size.width_px, size.height_px), interpolation=method) for mask in masks
    ]
    return np.stack(scaled) > 0
