"""PSNR inside holes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def hole_psnr(fill: NDArray[np.uint8], truth: NDArray[np.uint8], hole: NDArray[np.bool_]) -> float:
    """Peak signal-to-noise ratio in dB over the pixels of the hole, of all frames together."""
    difference = fill[hole].astype(np.float64) - truth[hole]
    return float(10 * np.log10(255**2 / max(np.square(difference).mean(), 1e-2)))
