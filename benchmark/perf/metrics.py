"""What PSNR, SSIM, MSE and MAE of three regions cost: one pass of ours, torchmetrics call by call, and decoding.

python -m benchmark.perf.metrics
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.functional import mean_absolute_error, mean_squared_error
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from benchmark.footage import scene
from benchmark.metrics.pixels import SSIM_BORDER_PX, frame_errors
from benchmark.metrics.sums import REGIONS
from vpdata.media.clips import ClipReader, ClipSettings, ClipWriter

WIDTH_PX, HEIGHT_PX, NUM_FRAMES, FPS = 720, 480, 49, Fraction(8)
METRICS = ("psnr", "ssim", "mse", "mae")
Values = NDArray[np.float64]
"""[metric, region] of one frame."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="times that each way is measured, in turn")
    parser.add_argument("--frames", type=int, default=NUM_FRAMES)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    mp4, output, holes = make_clip(args.frames)
    truth = ClipReader(mp4).read()
    ways: dict[str, Callable[[], Any]] = {
        "ours, one pass": lambda: [ours(*frame) for frame in zip(output, truth, holes, strict=True)],
        "torchmetrics, 12 calls": lambda: [theirs(*frame) for frame in zip(output, truth, holes, strict=True)],
        "decoding both videos": lambda: (ClipReader(mp4).read(), ClipReader(mp4).read()),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    values: dict[str, Any] = {}
    for _ in range(args.runs):
        for name, way in ways.items():
            start = time.process_time()
            values[name] = way()
            seconds[name].append(time.process_time() - start)
    medians = {name: statistics.median(of_runs) for name, of_runs in seconds.items()}
    ours_s = medians["ours, one pass"]
    print("| way | CPU ms a frame | / ours |\n| --- | ---: | ---: |")
    for name, median in medians.items():
        print(f"| {name} | {1000 * median / args.frames:.1f} | {median / ours_s:.2f} |")
    first, second = (np.array(values[name]) for name in list(ways)[:2])
    print(f"largest difference of the {first.size} values: {np.abs(first - second).max():.1e}")


def make_clip(num_frames: int) -> tuple[bytes, NDArray[np.uint8], NDArray[np.bool_]]:
    """An mp4 of drawn footage, the same with its object filled by OpenCV, and where the object is."""
    footage = scene("plain", seed=1, num_frames=num_frames, height_px=HEIGHT_PX, width_px=WIDTH_PX, size_frac=0.4)
    writer = ClipWriter(width_px=WIDTH_PX, height_px=HEIGHT_PX, fps=FPS, settings=ClipSettings())
    for frame in footage.frames:
        writer.write(frame)
    holes = footage.masks[0]
    pairs = zip(footage.frames, holes, strict=True)
    filled = [cv2.inpaint(frame, hole.astype(np.uint8), 3, cv2.INPAINT_TELEA) for frame, hole in pairs]
    return writer.finish(), np.stack(filled).astype(np.uint8), holes


def ours(output: NDArray[np.uint8], truth: NDArray[np.uint8], hole: NDArray[np.bool_]) -> Values:
    """All twelve values from one pass."""
    found = frame_errors(output, truth, hole)
    sums = [(errors.psnr, errors.ssim, errors.squared, errors.absolute) for errors in map(found.__getitem__, REGIONS)]
    return np.array([[one.sum / one.count for one in of_region] for of_region in sums]).T


def theirs(output: NDArray[np.uint8], truth: NDArray[np.uint8], hole: NDArray[np.bool_]) -> Values:
    """The same values, each from a call of its own; the frames become floats once."""
    floats = [torch.from_numpy(frame).permute(2, 0, 1)[None].contiguous().float() / 255 for frame in (output, truth)]
    everything = torch.ones(hole.shape, dtype=torch.bool)
    masks = {"frame": everything, "known": torch.from_numpy(~hole), "hole": torch.from_numpy(hole)}
    return np.array([[_one(metric, floats[0], floats[1], masks[region]) for region in REGIONS] for metric in METRICS])


def _one(metric: str, output: torch.Tensor, truth: torch.Tensor, mask: torch.Tensor) -> float:
    if metric == "ssim":
        _, full = structural_similarity_index_measure(output, truth, data_range=1.0, return_full_image=True)
        border = SSIM_BORDER_PX
        inside = slice(border, -border), slice(border, -border)
        return float(full[0][:, *inside][:, mask[inside]].mean())
    chosen = (output, truth) if mask.all() else (output[0][:, mask], truth[0][:, mask])
    if metric == "psnr":
        return float(peak_signal_noise_ratio(*chosen, data_range=1.0))
    return float((mean_squared_error if metric == "mse" else mean_absolute_error)(*chosen))


if __name__ == "__main__":
    main()
