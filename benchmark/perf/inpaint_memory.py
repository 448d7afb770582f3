"""Peak memory of inpainting files of growing length, each in a process of its own.

python -m benchmark.perf.inpaint_memory
python -m benchmark.perf.inpaint_memory --width 1280 --height 720 --seconds 5 20
python -m benchmark.perf.inpaint_memory --width 1280 --height 720 --seconds 20 600 --fps 24 --model tiny
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, get_args

import av
import numpy as np
import torch
from numpy.typing import NDArray

from benchmark.footage import scene
from benchmark.perf.inpaint_overhead import BACKBONE, save_new_encoder
from vpdata.backbones.identity_adapter import IdentityAdapter, IdentitySettings
from vpdata.backbones.identity_saving import save_id_adapter
from vpdata.backbones.loading import load_backbone
from vpdata.config import fill, to_plain
from vpdata.inpaint.any_length import Frames, Request, WindowModel
from vpdata.inpaint.fit import Size
from vpdata.inpaint.inpainter import Inpainter
from vpdata.inpaint.input_mask import open_mask
from vpdata.inpaint.input_video import VideoInput, open_video
from vpdata.inpaint.run import inpaint_file
from vpdata.inpaint.settings import InpaintSettings
from vpdata.inpaint.windows import Window, plan_windows

ModelName = Literal["grey", "tiny"]
WINDOW_FRAMES, OVERLAP_FRAMES, STRIDE_T = 49, 9, 4
MODEL_SIZES = {(240, 320): Size(height_px=240, width_px=320)}
FULL_SIZE = Size(height_px=448, width_px=784)
"""Of the model for 16:9 at the area that CogVideoX and Wan work at."""
TINY_AREA_PX = 64 * 112
"""Its VAE takes a minute of CPU for a window of the full size."""
NUM_DISTINCT = 120
"""Frames of footage, which are shown forth and back."""


class Grey:
    """A `WindowModel` that makes the hole grey."""

    def inpaint(self, request: Request) -> Frames:
        """See `WindowModel`."""
        return np.where(request.mask[..., None], np.uint8(128), request.frames)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """How a video is made."""

    model: WindowModel
    size: Size
    windows: list[Window]


def main() -> None:
    """Print the table, or be the process that one of its rows measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, nargs="+", default=[5, 40, 150], help="lengths of the videos")
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--height", type=int, default=240)
    parser.add_argument("--fps", type=int, default=30)
    parser.add_argument("--model", choices=get_args(ModelName), default="grey", help="grey costs nothing")
    parser.add_argument("--measured", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measured:
        print(measured_row(args.measured, args.model))
        return
    print("| video | frames | windows | peak MB | the run's own MB | wall s | CPU s | work folder at most MB |")
    print("|" + " ---: |" * 8)
    for seconds in args.seconds:
        with tempfile.TemporaryDirectory() as scratch:
            write_inputs(
                Path(scratch),
                num_frames=seconds * args.fps,
                fps=args.fps,
                height_px=args.height,
                width_px=args.width,
            )
            command = [sys.executable, "-m", "benchmark.perf.inpaint_memory", "--measured", scratch]
            row = subprocess.run([*command, "--model", args.model], check=True, stdout=subprocess.PIPE, text=True)
        print(f"| {seconds} s of {args.width}x{args.height} | {row.stdout.strip()} |", flush=True)


def measured_row(folder: Path, model: ModelName) -> str:
    """Inpaint the folder's video, and tell what this process took beyond its imports and the loaded model."""
    torch.set_num_threads(1)
    inpainter = new_inpainter(folder) if model == "tiny" else None
    before_mb = _peak_mb()
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    video = open_video(folder / "video.mp4")
    mask = open_mask(folder / "mask.mp4", video)
    job = grey_job(video) if inpainter is None else tiny_job(inpainter, video)
    work_mb = [0.0]

    def on_window(window: Window) -> None:
        files = (folder / ".out.mp4.work").iterdir()
        work_mb.append(sum(file.stat().st_size for file in files) / 1e6)

    inpaint_file(
        job.model,
        video,
        mask,
        folder / "out.mp4",
        size=job.size,
        windows=job.windows,
        made_by={},
        on_window=on_window,
    )
    wall_s, cpu_s = time.perf_counter() - start_s, time.process_time() - start_cpu_s
    made = open_video(folder / "out.mp4")
    assert (made.num_frames, made.size) == (video.num_frames, video.size)
    columns: list[Any] = [video.num_frames, len(job.windows), f"{_peak_mb():.0f}", f"{_peak_mb() - before_mb:.0f}"]
    return " | ".join(map(str, [*columns, f"{wall_s:.0f}", f"{cpu_s:.0f}", f"{max(work_mb):.0f}"]))


def grey_job(video: VideoInput) -> Job:
    """Windows of the size that published backbones work at."""
    size = MODEL_SIZES.get((video.size.height_px, video.size.width_px), FULL_SIZE)
    windows = plan_windows(
        video.num_frames, window_frames=WINDOW_FRAMES, overlap_frames=OVERLAP_FRAMES, stride_t=STRIDE_T
    )
    return Job(model=Grey(), size=size, windows=windows)


def tiny_job(inpainter: Inpainter, video: VideoInput) -> Job:
    """What `vpdata inpaint` does."""
    return Job(
        model=inpainter.window_model("a red ball"),
        size=inpainter.model_size(video.shown_size),
        windows=inpainter.windows(video.num_frames),
    )


def new_inpainter(folder: Path) -> Inpainter:
    """The tiny backbone with an untrained context encoder and ID adapter."""
    save_new_encoder(folder / "encoder")
    save_id_adapter(folder / "id_adapter", IdentityAdapter(load_backbone(BACKBONE), IdentitySettings()))
    settings = {
        "backbone": to_plain(BACKBONE),
        "context_encoder": str(folder / "encoder"),
        "id_adapter": str(folder / "id_adapter"),
        "sampling": {"num_steps": 2, "guidance": 1.0},
        "windows": {"num_frames": WINDOW_FRAMES, "overlap_frames": OVERLAP_FRAMES, "area_px": TINY_AREA_PX},
    }
    return Inpainter(fill(InpaintSettings, settings))


def write_inputs(folder: Path, *, num_frames: int, fps: int, height_px: int, width_px: int) -> None:
    """`video.mp4` and `mask.mp4`, frame by frame."""
    footage = scene("plain", is_panning=True, seed=0, num_frames=NUM_DISTINCT, height_px=height_px, width_px=width_px)
    white = (footage.masks[0] > 0)[..., None] * np.uint8(255)
    for name, frames in (("video.mp4", footage.frames), ("mask.mp4", np.repeat(white, 3, axis=3))):
        with av.open(str(folder / name), "w") as container:
            stream = container.add_stream("libx264", rate=Fraction(fps), options={"preset": "ultrafast"})
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
