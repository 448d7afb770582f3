"""A real clip, a fill of a hole in it by OpenCV, and the hole; the footage is part of gradio's wheel."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmark.footage import read_video

NUM_FRAMES, HEIGHT_PX, WIDTH_PX = 6, 144, 256


@cache
def real_clip(name: str = "world.mp4") -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.bool_]]:
    """Output and truth, uint8 [T, H, W, 3] RGB, and the moving hole, bool [T, H, W]; the output is a little dim too."""
    spec = find_spec("gradio")
    assert spec is not None
    assert spec.origin is not None
    frames = read_video(Path(spec.origin).parent / "media_assets/videos" / name, stop=NUM_FRAMES)
    truth = np.stack([cv2.resize(one, (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_AREA) for one in frames])
    holes = np.zeros(truth.shape[:3], np.bool_)
    for index, hole in enumerate(holes):
        cv2.circle(canvas := np.zeros(hole.shape, np.uint8), (90 + 6 * index, 70), 30, 1, -1)
        hole |= canvas > 0
    fills = [
        cv2.inpaint(one, hole.astype(np.uint8), 3, cv2.INPAINT_TELEA) for one, hole in zip(truth, holes, strict=True)
    ]
    return (np.stack(fills) * 0.95).astype(np.uint8), truth, holes
