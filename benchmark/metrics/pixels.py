"""PSNR, SSIM, MSE and MAE of all three regions from one pass over a frame, with one SSIM map."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmark.metrics.regions import Frame, Frames, Mask, Masks, check_shapes
from benchmark.metrics.sums import NOTHING, REGIONS, Region, Sums

SSIM_WINDOW_PX, SSIM_SIGMA_PX = 11, 1.5
SSIM_BORDER_PX = SSIM_WINDOW_PX // 2
"""Pixels this near to the frame's edge have no whole window and no SSIM."""
MAX_PSNR_DB = 100.0
"""What an exact copy scores, whose true value is infinite and would drown every mean. One grey level off in one of
150,000 values is as little."""
_WHITE = 255.0
_C1, _C2 = (0.01 * _WHITE) ** 2, (0.03 * _WHITE) ** 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelSums:
    """Errors of one region, of values in [0, 1]; adds up over frames."""

    squared: Sums = NOTHING
    """Over pixels and channels."""
    absolute: Sums = NOTHING
    """Over pixels and channels."""
    ssim: Sums = NOTHING
    """The SSIM map, mean of the channels, over the pixels that have a whole window."""

    def __add__(self, other: PixelSums) -> PixelSums:
        return PixelSums(
            squared=self.squared + other.squared,
            absolute=self.absolute + other.absolute,
            ssim=self.ssim + other.ssim,
        )

    def __sub__(self, part: PixelSums) -> PixelSums:
        return PixelSums(
            squared=self.squared - part.squared, absolute=self.absolute - part.absolute, ssim=self.ssim - part.ssim
        )

    @property
    def psnr(self) -> Sums:
        """Peak signal-to-noise ratio in dB, of the mean squared error of the whole region: one value, or none."""
        mse = self.squared.mean
        return NOTHING if mse is None else psnr_of(mse)


def psnr_of(mse: float) -> Sums:
    """One value, 10 log10(1 / MSE) for values in [0, 1], at most `MAX_PSNR_DB`."""
    decibels = -10 * math.log10(mse) if mse > 0 else math.inf
    return Sums(min(MAX_PSNR_DB, decibels), 1, int(decibels > MAX_PSNR_DB))


def clip_errors(output: Frames, truth: Frames, holes: Masks) -> dict[Region, PixelSums]:
    """Sums over all frames of a clip. ValueError where the arrays do not fit each other."""
    check_shapes(output, truth, holes)
    frames = [frame_errors(*triple) for triple in zip(output, truth, holes, strict=True)]
    return {region: sum((frame[region] for frame in frames), PixelSums()) for region in REGIONS}


def frame_errors(output: Frame, truth: Frame, hole: Mask) -> dict[Region, PixelSums]:
    """Sums over one frame. A region without pixels has counts of 0.

    The three regions share one SSIM map, and the known pixels are the frame less the hole. Near the border of the hole
    a window of SSIM sees pixels of both regions, and is counted where its middle is.
    """
    similarity, border = ssim_map(output, truth), SSIM_BORDER_PX
    inside = hole.view(np.uint8)
    frame = _sums(output, truth, similarity, None, None)
    filled = _sums(output, truth, similarity, inside, np.ascontiguousarray(inside[border:-border, border:-border]))
    return {"frame": frame, "known": frame - filled, "hole": filled}


def ssim_map(output: Frame, truth: Frame) -> NDArray[np.float32]:
    """float32 [H - 10, W - 10, 3]: structural similarity of every pixel with a whole window, in [-1, 1].

    Wang et al. 2004 (https://doi.org/10.1109/TIP.2003.819861), section III.B: a Gaussian window of 11 px and sigma 1.5,
    K1 = 0.01, K2 = 0.03, population statistics. ValueError for a frame smaller than the window.
    """
    if min(output.shape[:2]) < SSIM_WINDOW_PX:
        raise ValueError(f"got a frame of {output.shape[1]}x{output.shape[0]} px, wanted {SSIM_WINDOW_PX} px or more")
    # With s = x + y and d = x - y four filters do for five: 2 E[xy] = (E[ss] - E[dd]) / 2, and so with the others.
    # s is moved to around 0, else float32 has no digits left for the variance of bright flat areas.
    plus = cv2.add(output, truth, dtype=cv2.CV_32F) - np.float32(_WHITE)
    minus = cv2.subtract(output, truth, dtype=cv2.CV_32F)
    mean_plus, mean_minus = _window_mean(plus), _window_mean(minus)
    square_plus, square_minus = _window_mean(plus * plus), _window_mean(minus * minus)
    variance_plus, variance_minus = square_plus - mean_plus * mean_plus, square_minus - mean_minus * mean_minus
    mean_plus += np.float32(_WHITE)
    mean_plus *= mean_plus
    mean_minus *= mean_minus
    above = (mean_plus - mean_minus + np.float32(2 * _C1)) * (variance_plus - variance_minus + np.float32(2 * _C2))
    below = (mean_plus + mean_minus + np.float32(2 * _C1)) * (variance_plus + variance_minus + np.float32(2 * _C2))
    return np.divide(above, below, out=above)


def _window_mean(values: Any) -> NDArray[np.float32]:
    kernel = cv2.getGaussianKernel(SSIM_WINDOW_PX, SSIM_SIGMA_PX, cv2.CV_32F)
    border = SSIM_BORDER_PX
    return np.asarray(cv2.sepFilter2D(values, -1, kernel, kernel), dtype=np.float32)[border:-border, border:-border]


def _sums(output: Frame, truth: Frame, similarity: Any, mask: Any, window_mask: Any) -> PixelSums:
    """Over the pixels where the uint8 masks are not 0; None for all."""
    num_values = 3 * (output.shape[0] * output.shape[1] if mask is None else cv2.countNonZero(mask))
    size = similarity.shape[0] * similarity.shape[1]
    num_windows = size if window_mask is None else cv2.countNonZero(window_mask)
    squared, absolute = (
        # Sums of integers, which OpenCV gives by way of a root.
        round(cv2.norm(output, truth, kind, mask)) / scale
        for kind, scale in ((cv2.NORM_L2SQR, _WHITE**2), (cv2.NORM_L1, _WHITE))
    )
    ssim = sum(cv2.mean(similarity, window_mask)[:3]) / 3 * num_windows
    return PixelSums(
        squared=Sums(squared, num_values), absolute=Sums(absolute, num_values), ssim=Sums(ssim, num_windows)
    )
