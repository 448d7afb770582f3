"""The regions of a frame, and the output with the known pixels put back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vpdata.media.mask_mix import dilate

Frames = NDArray[np.uint8]
"""[T, H, W, 3] RGB, 0 to 255."""
Frame = NDArray[np.uint8]
"""[H, W, 3] RGB, 0 to 255."""
Masks = NDArray[np.bool_]
"""[T, H, W]; True in the hole."""
Mask = NDArray[np.bool_]
"""[H, W]; True in the hole."""


def check_shapes(output: Frames, truth: Frames, holes: Masks) -> None:
    """ValueError unless the three fit each other: uint8 `[T, H, W, 3]` twice and bool `[T, H, W]`.

    NaN cannot occur in uint8, so a method's floats are checked where they become pixels.
    """
    for name, frames in (("output", output), ("truth", truth)):
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
            raise ValueError(f"the {name}: got {frames.dtype} {list(frames.shape)}, wanted uint8 [T, H, W, 3] RGB")
    if output.shape != truth.shape:
        raise ValueError(f"the output: got {_named(output.shape)}, wanted {_named(truth.shape)}")
    if holes.dtype != np.bool_ or holes.shape != truth.shape[:3]:
        raise ValueError(f"the holes: got {holes.dtype} {list(holes.shape)}, wanted bool {list(truth.shape[:3])}")


def grown(holes: Masks, dilate_px: int) -> Masks:
    """The holes with every pixel within `dilate_px` (Euclidean) of them."""
    return dilate(holes, dilate_px)


def composited(output: Frames, truth: Frames, holes: Masks) -> Frames:
    """The output inside the holes, the truth outside, with a hard edge."""
    return np.where(holes[..., None], output, truth)


def _named(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} frames of {shape[2]}x{shape[1]} px"
