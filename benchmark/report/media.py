"""One small video a case in which truth, hole and every method's output lie side by side.

A browser plays one video and draws each part of its frames where it belongs, so that all players show the same frame by
construction: several videos would have to be kept together by a clock. What is played is H.264, scaled down; what was
measured is lossless.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from benchmark.bench import Bench, Case
from benchmark.metrics.regions import Frame, Frames, composited, grown
from benchmark.results import BadResult, Results
from vpdata.report.drawing import TRACK_COLOURS, fit
from vpdata.report.loops import encode_pictures
from vpdata.report.sheet import encode_image

_MAX_WIDTH_PX = 4096
"""What decoders of H.264 in browsers take."""
_CRF = 18
"""Hard to tell from the original, of which faults are to be seen."""
TRUTH, HOLE = "truth", "hole"


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseMedia:
    """What the page shows of one case."""

    video: bytes
    """mp4 of a grid of tiles of one size."""
    poster: bytes
    """JPEG of the truth's middle frame with the hole tinted."""
    tiles: Mapping[str, tuple[int, int]]
    """Column and row: of `truth` and `hole`, and for methods with usable frames of `raw/<method>` and
    `composited/<method>`."""
    size_px: tuple[int, int]
    """Width and height of a tile."""
    fps: Fraction
    num_frames: int


def case_media(
    bench: Bench, results: Results, case: Case, *, methods: Sequence[str], dilate_px: int, side_px: int
) -> CaseMedia:
    """Equal input gives equal bytes; results that cannot be used have no tile. RunError or StorageError where the case
    cannot be read.
    """
    sampled = bench.sampled(case)
    num_frames, height_px, width_px = sampled.masks.shape
    small = min(side_px, height_px, width_px)
    holes = grown(sampled.masks, dilate_px)
    videos: dict[str, Frames] = {
        TRUTH: _shrunk(sampled.frames, small),
        HOLE: _shrunk(_tinted(sampled.frames, holes), small),
    }
    for method in methods:
        try:
            output = results.frames(method, case.id, shape=(num_frames, height_px, width_px))
        except BadResult:
            continue
        videos[f"raw/{method}"] = _shrunk(output, small)
        videos[f"composited/{method}"] = _shrunk(composited(output, sampled.frames, holes), small)
    tile_height, tile_width = videos[TRUTH].shape[1:3]
    num_columns = max(1, min(len(videos), _MAX_WIDTH_PX // tile_width))
    return CaseMedia(
        video=encode_pictures(_grids(list(videos.values()), num_columns), sampled.fps, crf=_CRF),
        poster=encode_image(videos[HOLE][num_frames // 2], suffix=".jpg", quality=80),
        tiles={name: (index % num_columns, index // num_columns) for index, name in enumerate(videos)},
        size_px=(tile_width, tile_height),
        fps=sampled.fps,
        num_frames=num_frames,
    )


def _shrunk(frames: Frames, short_side_px: int) -> Frames:
    """With even sides, so that 4:2:0 mixes no colours of neighbouring tiles."""
    small = np.stack([fit(frame, short_side_px=short_side_px) for frame in frames])
    height, width = small.shape[1] // 2 * 2, small.shape[2] // 2 * 2
    return small[:, :height, :width]


def _tinted(frames: Frames, holes: np.ndarray) -> Frames:
    colour = np.array(TRACK_COLOURS[0])
    return np.where(holes[..., None], frames * 0.4 + colour * 0.6, frames).astype(np.uint8)


def _grids(videos: list[Frames], num_columns: int) -> Iterator[Frame]:
    """One picture a frame; places behind the last tile are black."""
    num_rows = -(-len(videos) // num_columns)
    num_frames, height, width, _ = videos[0].shape
    for index in range(num_frames):
        grid = np.zeros((num_rows * height, num_columns * width, 3), np.uint8)
        for place, video in enumerate(videos):
            y, x = place // num_columns * height, place % num_columns * width
            grid[y : y + height, x : x + width] = video[index]
        yield grid
