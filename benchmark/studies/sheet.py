"""A picture of truth, holes and fills side by side, to be looked at before a number is believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmark.studies.windows import Window

_FRAMES = (0, 4, 8, 12)
_ENLARGED = 3
_LABEL_PX = 16


def write_sheet(path: Path, windows: Sequence[Window], fills: Mapping[str, Sequence[NDArray[np.uint8]]]) -> None:
    """One column of four frames per window; one line for the truth, for the holes, and for each method by name."""
    lines = {
        "truth": [window.frames for window in windows],
        "known": [np.where(window.hole[..., None], 0, window.frames) for window in windows],
        **{
            f"{name}, in the hole": [
                np.where(window.hole[..., None], fill, window.frames) for window, fill in zip(windows, own, strict=True)
            ]
            for name, own in fills.items()
        },
    }
    picture = np.concatenate([_line(name, columns) for name, columns in lines.items()])
    path.write_bytes(cv2.imencode(".png", picture[..., ::-1])[1].tobytes())


def _line(name: str, columns: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    frames = np.concatenate([frames[index] for frames in columns for index in _FRAMES], axis=1).astype(np.uint8)
    frames = cv2.resize(frames, None, fx=_ENLARGED, fy=_ENLARGED, interpolation=cv2.INTER_NEAREST)
    label = np.full((_LABEL_PX, frames.shape[1], 3), 255, dtype=np.uint8)
    cv2.putText(label, name, (2, _LABEL_PX - 3), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([label, frames]).astype(np.uint8)
