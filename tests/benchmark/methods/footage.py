"""Textures that move as is known, under a hole that crosses them."""

from __future__ import annotations

import cv2
import numpy as np

from benchmark.methods.port import Prompts
from benchmark.methods.worker import GREY
from benchmark.results import Frames
from vpdata.inpaint.any_length import Masks

WORDS = Prompts(case_id="s-0", video="a red ball on the grass", region="a red ball")


def panned(step_px: tuple[float, float], *, num_frames: int = 12, height: int = 120, width: int = 160) -> Frames:
    """A smooth coloured texture; from frame to frame the camera moves by so much in x and y."""
    noise = np.random.default_rng(0).integers(0, 256, (2 * height, 3 * width, 3)).astype(np.uint8)
    texture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2.5), None, 0, 255, cv2.NORM_MINMAX)  # type: ignore[call-overload]
    moves = [np.array([[1, 0, -20 - step_px[0] * t], [0, 1, -20 - step_px[1] * t]], float) for t in range(num_frames)]
    return np.stack([cv2.warpAffine(texture, move, (width, height), flags=cv2.INTER_CUBIC) for move in moves])


def crossing(frames: Frames, *, step_px: int = 9) -> Masks:
    """A square of 35 px that goes from left to right."""
    masks = np.zeros(frames.shape[:3], bool)
    for index, mask in enumerate(masks):
        mask[40:75, 10 + step_px * index : 45 + step_px * index] = True
    return masks


def with_hole(frames: Frames, masks: Masks) -> Frames:
    """Frames as a method gets them."""
    return np.where(masks[..., None], np.uint8(GREY), frames)


def psnr(made: Frames, truth: Frames, where: Masks) -> float:
    """In dB, over the pixels where the mask is true."""
    errors = made[where].astype(float) - truth[where]
    return float(10 * np.log10(255**2 / np.mean(errors**2)))
