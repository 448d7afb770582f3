"""One picture of a clip: frames in a grid with their masks, and a legend."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vpdata.dataset.reader import Sample
from vpdata.errors import ConfigError
from vpdata.media.clips import ClipReader
from vpdata.records import Track
from vpdata.report.drawing import colour_of, draw_chip, draw_tracks, fit
from vpdata.storage import Folder

_PAPER = (24, 23, 22)
_PALE = (226, 222, 214)
_GAP_PX = 6
_NUM_CELLS = 12
_ROW_PX = 26


def spread_frames(num_frames: int, *, count: int) -> list[int]:
    """Up to `count` indices spread over a clip, the first and the last among them."""
    return sorted({int(index) for index in np.linspace(0, num_frames - 1, min(count, num_frames)).round()})


def contact_sheet(
    frames: NDArray[np.uint8],
    tracks: Sequence[Track],
    *,
    indices: Sequence[int],
    columns: int = 4,
    cell_px: int = 240,
) -> NDArray[np.uint8]:
    """A sheet uint8 [H, W, 3] RGB of some frames of a clip with every track tinted, outlined and numbered.

    `frames` is uint8 [N, H, W, 3] RGB at the clip's size, the frames of the N `indices` (at least one). `cell_px` is
    the short side of a cell.
    """
    if not len(frames) or len(frames) != len(indices):
        raise ValueError(f"got {len(frames)} frames for {len(indices)} indices, wanted one for each, and at least one")
    height, width = frames.shape[1:3]
    cells = [fit(frame, short_side_px=cell_px) for frame in frames]
    cell_height, cell_width = cells[0].shape[:2]
    columns = min(columns, len(frames))
    rows = -(-len(frames) // columns)
    grid_width = columns * (cell_width + _GAP_PX) + _GAP_PX
    legend = _legend(tracks, width_px=grid_width)
    sheet = np.empty((rows * (cell_height + _GAP_PX) + _GAP_PX + len(legend), grid_width, 3), dtype=np.uint8)
    sheet[:] = _PAPER
    for cell, (index, image) in enumerate(zip(indices, cells, strict=True)):
        draw_tracks(image, tracks, frame=index, clip_size_px=(width, height))
        draw_chip(image, f"frame {index}", at=(0, cell_height), colour=_PALE)
        y = _GAP_PX + cell // columns * (cell_height + _GAP_PX)
        x = _GAP_PX + cell % columns * (cell_width + _GAP_PX)
        sheet[y : y + cell_height, x : x + cell_width] = image
    sheet[len(sheet) - len(legend) :] = legend
    return sheet


def write_sheet(sample: Sample, path: str | Path) -> None:
    """Write a contact sheet of twelve frames of a sample; ConfigError where `path` ends in neither .png nor .jpg."""
    path = Path(path)
    if path.suffix not in (".png", ".jpg"):
        raise ConfigError(f"{path}: got the suffix {path.suffix!r}, wanted .png or .jpg")
    clip = sample.record.clip
    indices = spread_frames(sample.num_frames, count=_NUM_CELLS)
    frames = ClipReader(sample.mp4, sha256=clip.sha256).read(indices)
    sheet = contact_sheet(frames, sample.record.tracks or (), indices=indices)
    Folder(path.parent).write(path.name, encode_image(sheet, suffix=path.suffix))


def encode_image(image: NDArray[np.uint8], *, suffix: str, quality: int = 90) -> bytes:
    """The `.png` or `.jpg` file of a uint8 [H, W, 3] RGB image; `quality` (0 to 100) is for `.jpg`."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix == ".jpg" else []
    _, data = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    return data.tobytes()


def _legend(tracks: Sequence[Track], *, width_px: int) -> NDArray[np.uint8]:
    """One row per track, uint8 [H, W, 3] RGB."""
    legend = np.empty((len(tracks) * _ROW_PX + _GAP_PX, width_px, 3), dtype=np.uint8)
    legend[:] = _PAPER
    for row, track in enumerate(tracks):
        y = row * _ROW_PX + _GAP_PX
        line = legend[y : y + _ROW_PX]
        right = draw_chip(line, str(track.id), at=(_GAP_PX, 0), colour=colour_of(track.id))
        text = f"{track.label}   on {track.coverage_frac:.0%} of frames, {track.mean_area_frac:.1%} of the area"
        cv2.putText(line, text, (right + 8, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.4, _PALE, 1, cv2.LINE_AA)
    return legend
