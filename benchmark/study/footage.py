"""What people see: small mp4 files of results, of the case as it was, and of copies broken for attention checks."""

from __future__ import annotations

import hashlib
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from vpdata.inpaint.fit import Size, scale_frames
from vpdata.inpaint.paste import paste
from vpdata.inpaint.run import OutputSettings
from vpdata.media.clips import ClipSettings, ClipWriter, scaled_size
from vpdata.media.mask_mix import dilate

_SETTINGS = ClipSettings(crf=20)
_LIT, _DARK = (255, 214, 10), (0, 0, 0)
"""Of the outline: yellow with a black edge, seen on any ground."""
_NUM_TILES = 6
"""To a side."""


def encode(frames: NDArray[np.uint8], *, fps: Fraction, short_side_px: int) -> bytes:
    """uint8 [T, H, W, 3] RGB as H.264 in mp4, made smaller where the short side is longer; equal input, equal bytes.

    Sizes are rounded down to even ones, which 4:2:0 needs.
    """
    width, height = scaled_size(frames.shape[2], frames.shape[1], short_side_px)
    size = Size(height_px=height // 2 * 2, width_px=width // 2 * 2)
    writer = ClipWriter(width_px=size.width_px, height_px=size.height_px, fps=fps, settings=_SETTINGS)
    for frame in frames:
        writer.write(scale_frames(frame[None], size)[0])
    return writer.finish()


def put_back(
    made: NDArray[np.uint8], frames: NDArray[np.uint8], masks: NDArray[np.bool_], *, dilate_px: int
) -> NDArray[np.uint8]:
    """A method's frames with the known pixels put back, as `vpdata inpaint` does it: uint8 [T, H, W, 3] RGB.

    `dilate_px` is how far the hole that the method was given reaches around the masks. What has the known pixels in it
    already stays as it is.
    """
    holes = dilate(masks, max(0, dilate_px))
    return paste(frames, made, holes, feather_px=OutputSettings().feather_px)


def outlined(frames: NDArray[np.uint8], masks: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The frames with a line around the region, uint8 [T, H, W, 3] RGB; what is inside stays visible."""
    drawn = frames.copy()
    thickness = max(1, round(min(frames.shape[1:3]) / 160))
    for frame, mask in zip(drawn, masks, strict=True):
        contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(frame, contours, -1, _DARK, 3 * thickness)
        cv2.drawContours(frame, contours, -1, _LIT, thickness)
    return drawn


def broken(frames: NDArray[np.uint8], *, case_id: str, variant: int) -> NDArray[np.uint8]:
    """The frames cut into tiles that changed places, in wrong colours, uint8 [T, H', W', 3] RGB.

    All frames are cut alike: a new order every frame would flicker, which can cause seizures.
    """
    rng = np.random.default_rng(list(hashlib.sha256(f"{case_id}.{variant}".encode()).digest()))
    num, height, width, _ = frames.shape
    tall, wide = height // _NUM_TILES, width // _NUM_TILES
    tiles = frames[:, : tall * _NUM_TILES, : wide * _NUM_TILES].reshape(num, _NUM_TILES, tall, _NUM_TILES, wide, 3)
    tiles = tiles.transpose(1, 3, 0, 2, 4, 5).reshape(_NUM_TILES**2, num, tall, wide, 3)
    mixed = tiles[rng.permutation(len(tiles))].reshape(_NUM_TILES, _NUM_TILES, num, tall, wide, 3)
    joined = mixed.transpose(2, 0, 3, 1, 4, 5).reshape(num, tall * _NUM_TILES, wide * _NUM_TILES, 3)
    return np.ascontiguousarray(255 - joined[..., ::-1])
