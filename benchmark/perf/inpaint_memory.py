"""Peak memory of inpainting files of growing length with a model that costs nothing, each in a process of its own.

python -m benchmark.perf.inpaint_memory
python -m benchmark.perf.inpaint_memory --width 1280 --height 720 --seconds 10 600
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from benchmark.footage import scene
from vpdata.inpaint.any_length import Frames, Request
from vpdata.inpaint.fit import Size
from vpdata.inpaint.input_mask import open_mask
from vpdata.inpaint.input_video import open_video
from vpdata.inpaint.run import inpaint_file
from vpdata.inpaint.windows import Window, plan_windows

FPS = 30
WINDOW_FRAMES, OVERLAP_FRAMES, STRIDE_T = 49, 9, 4
MODEL_SIZES = {(240, 320): Size(height_px=240, width_px=320)}
FULL_SIZE = Size(height_px=448, width_px=784)
"""Of the model for 16:9 at the area that CogVideoX and Wan work at."""
NUM_DISTINCT = 120
"""Frames of footage, which are shown forth and back."""


class Grey:
    """A `WindowModel` that makes the hole grey."""

    def inpaint(self, request: Request) -> Frames:
        """See `WindowModel`."""
        return np.where(request.mask[..., None], np.uint8(128), request.frames)


def main() -> None:
    """Print the table, or be the process that one of its rows measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, nargs="+", default=[5, 20, 150], help="lengths of the videos")
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--height", type=int, default=240)
    parser.add_argument("--measured", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measured:
        print(measured_row(args.measured))
        return
    print("| video | frames | windows | peak MB | in windows | wall s | work folder at most MB |")
    print("|" + " ---: |" * 7)
    for seconds in args.seconds:
        with tempfile.TemporaryDirectory() as scratch:
            write_inputs(Path(scratch), num_frames=seconds * FPS, height_px=args.height, width_px=args.width)
            command = [sys.executable, "-m", "benchmark.perf.inpaint_memory", "--measured", scratch]
            row = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        print(f"| {seconds} s of {args.width}x{args.height} | {row} |", flush=True)


def measured_row(folder: Path) -> str:
    """Inpaint the folder's video, and tell what this process took beyond what the imports had taken."""
    before_mb = _peak_mb()
    start_s = time.perf_counter()
    video = open_video(folder / "video.mp4")
    mask = open_mask(folder / "mask.mp4", video)
    size = MODEL_SIZES.get((video.size.height_px, video.size.width_px), FULL_SIZE)
    windows = plan_windows(
        video.num_frames, window_frames=WINDOW_FRAMES, overlap_frames=OVERLAP_FRAMES, stride_t=STRIDE_T
    )
    work_mb = [0.0]

    def on_window(window: Window) -> None:
        files = (folder / ".out.mp4.work").iterdir()
        work_mb.append(sum(file.stat().st_size for file in files) / 1e6)

    inpaint_file(Grey(), video, mask, folder / "out.mp4", size=size, windows=windows, made_by={}, on_window=on_window)
    wall_s = time.perf_counter() - start_s
    window_mb = WINDOW_FRAMES * size.height_px * size.width_px * 3 / 1e6
    taken_mb = _peak_mb() - before_mb
    columns = [video.num_frames, len(windows), f"{_peak_mb():.0f}", f"{taken_mb / window_mb:.1f}"]
    return " | ".join(map(str, [*columns, f"{wall_s:.0f}", f"{max(work_mb):.0f}"]))


def write_inputs(folder: Path, *, num_frames: int, height_px: int, width_px: int) -> None:
    """`video.mp4` and `mask.mp4`, frame by frame."""
    footage = scene("plain", is_panning=True, seed=0, num_frames=NUM_DISTINCT, height_px=height_px, width_px=width_px)
    white = (footage.masks[0] > 0)[..., None] * np.uint8(255)
    for name, frames in (("video.mp4", footage.frames), ("mask.mp4", np.repeat(white, 3, axis=3))):
        with av.open(str(folder / name), "w") as container:
            stream = container.add_stream("libx264", rate=Fraction(FPS), options={"preset": "ultrafast"})
            stream.height, stream.width, stream.pix_fmt = height_px, width_px, "yuv420p"
            for pixels in _forth_and_back(frames, num_frames):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode())


def _forth_and_back(frames: NDArray[np.uint8], num_frames: int) -> Iterator[NDArray[np.uint8]]:
    order = [*range(len(frames)), *range(len(frames) - 2, 0, -1)]
    for index in range(num_frames):
        yield frames[order[index % len(order)]]


def _peak_mb() -> float:
    """Most memory that this process has held so far. `getrusage` would count what its parent held, too."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024 / 1e6


if __name__ == "__main__":
    main()
