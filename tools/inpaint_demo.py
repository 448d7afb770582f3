"""The demo of inpainting: `python -m tools.inpaint_demo prepare RUN FOLDER`, and `check FOLDER` when it has run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

import vpdata
from vpdata.media.masks import decode_mask
from vpdata.models.object_views import outlined

VIDEO, MASK, OUTPUT, SHEET = "video.mp4", "mask.json", "output.mp4", "sheet.png"
_NUM_ROWS, _CELL_PX, _GAP_PX, _TITLE_PX = 4, 420, 6, 26
_FAR_PX = 60
"""Beyond the mask's dilation and feather, and what a codec smears."""


def prepare(run: str, folder: str) -> int:
    """Take a clip of a run and the mask of its first object."""
    sample = vpdata.open_dataset(run)[0]
    clip, track = sample.record.clip, sample.tracks[0]
    size = [clip.height_px, clip.width_px]
    masks = [None if counts is None else {"size": size, "counts": counts} for counts in track.data.masks]
    target = Path(folder)
    target.mkdir(parents=True)
    (target / VIDEO).write_bytes(sample.mp4)
    (target / MASK).write_text(json.dumps({"tracks": [{"label": track.label, "masks": masks}]}))
    return 0


def check(folder: str) -> int:
    """0 if the output keeps what it must; prints what was found, and draws before and after side by side."""
    root = Path(folder)
    before, after = _frames(root / VIDEO), _frames(root / OUTPUT)
    (track,) = json.loads((root / MASK).read_text())["tracks"]
    size = {"height_px": before.shape[1], "width_px": before.shape[2]}
    masks = np.stack([decode_mask(one and one["counts"], **size) for one in track["masks"]])
    same_shape = before.shape == after.shape
    promises = [(same_shape, f"{len(after)} frames of {after.shape[2]} x {after.shape[1]} px, wanted {len(before)}")]
    if same_shape:
        difference = np.stack([cv2.absdiff(one, other).mean(axis=2) for one, other in zip(before, after, strict=True)])
        far = ~np.stack([cv2.dilate(mask.astype(np.uint8), np.ones((2 * _FAR_PX + 1,) * 2)) > 0 for mask in masks])
        in_hole, outside = difference[masks].mean(), difference[far].mean()
        promises += [
            (in_hole > 10, f"the hole was made anew: grey levels changed by {in_hole:.1f}"),
            (outside < 2, f"the rest is the video's own, encoded anew: {outside:.2f} grey levels"),
        ]
    for is_kept, what in promises:
        print(f"{'ok  ' if is_kept else 'FAIL'} {what}")
    _write_sheet(root / SHEET, before, masks, after)
    print(f"look at {root / SHEET}")
    return 0 if all(is_kept for is_kept, _ in promises) else 1


def _frames(path: Path) -> NDArray[np.uint8]:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]).astype(np.uint8)


def _write_sheet(path: Path, before: NDArray[np.uint8], masks: NDArray[np.bool_], after: NDArray[np.uint8]) -> None:
    height = round(_CELL_PX * before.shape[1] / before.shape[2])
    rows = []
    for frame in np.linspace(0, len(before) - 1, _NUM_ROWS).round().astype(int):
        cells = [outlined(before[frame], masks[frame]), after[min(frame, len(after) - 1)]]
        cells = [cv2.resize(cell, (_CELL_PX, height), interpolation=cv2.INTER_AREA) for cell in cells]
        for cell, title in zip(cells, (f"before, frame {frame}", "after"), strict=True):
            cv2.putText(cell, title, (10, _TITLE_PX), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (0, 0, 0), 4, cv2.LINE_AA)
            cv2.putText(cell, title, (10, _TITLE_PX), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (255, 255, 255), 1, cv2.LINE_AA)
        gap = np.full((height, _GAP_PX, 3), 24, np.uint8)
        rows += [np.hstack([cells[0], gap, cells[1]]), np.full((_GAP_PX, 2 * _CELL_PX + _GAP_PX, 3), 24, np.uint8)]
    cv2.imwrite(str(path), cv2.cvtColor(np.vstack(rows[:-1]), cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    sys.exit({"prepare": prepare, "check": check}[sys.argv[1]](*sys.argv[2:]))
