"""Frames and masks as files, as programs of others take and give them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from benchmark.results import BadResult, Frames
from vpdata.errors import ConfigError
from vpdata.inpaint.any_length import Masks
from vpdata.inpaint.first_frame import read_image
from vpdata.inpaint.input_video import open_video
from vpdata.media.normalise import BT601

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
VIDEOS = (".mp4", ".mkv", ".mov", ".avi", ".webm")


def write_pictures(folder: Path, frames: Frames | Masks) -> None:
    """`00000.png` and so on: RGB of uint8 `[T, H, W, 3]`, or grey, white where True, of bool `[T, H, W]`."""
    folder.mkdir(parents=True)
    for index, frame in enumerate(frames):
        picture = frame.astype(np.uint8) * 255 if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(folder / f"{index:05d}.png"), picture)


def read_frames(path: Path, *, at_most: int) -> Frames:
    """uint8 `[T, H, W, 3]` RGB of a video, of a folder of pictures in the order of their numbers, or of an array.

    An array is a `.npy` `[T, H, W, 3]` of uint8, or of floats in [0, 1]. Of a longer video some frames beyond
    `at_most` are read, so that its length is seen to be wrong. BadResult for what is none of these.
    """
    if not path.exists():
        raise BadResult(f"there is no file or folder {path.name}")
    try:
        if path.is_dir():
            return _stacked(map(read_image, islice(_pictures_in(path), at_most + 1)), path)
        if path.suffix == ".npy":
            return _from_array(path)
        if path.suffix.lower() in VIDEOS:
            # ffmpeg, and so most programs, writes RGB by BT.601 at any size unless told otherwise, and tags nothing.
            return _stacked(islice(open_video(path).frames(untagged_matrix=BT601), at_most + 1), path)
    except ConfigError as error:
        raise BadResult(f"the result is corrupt: {error}") from error
    raise BadResult(f"got {path.name}, wanted a folder of pictures, a .npy, or one of {', '.join(VIDEOS)}")


def _pictures_in(folder: Path) -> list[Path]:
    """By the numbers in their names, whether these have leading zeros or not."""
    pictures = [path for path in folder.iterdir() if path.suffix.lower() in PICTURES]
    return sorted(pictures, key=lambda path: ([int(number) for number in re.findall(r"\d+", path.stem)], path.name))


def _stacked(frames: Iterable[Frames], path: Path) -> Frames:
    stack = list(frames)
    if not stack:
        raise BadResult(f"{path.name} holds no frames")
    if len(shapes := {frame.shape for frame in stack}) > 1:
        raise BadResult(f"{path.name} holds frames of {len(shapes)} sizes")
    return np.stack(stack)


def _from_array(path: Path) -> Frames:
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise BadResult(f"the result is corrupt: {path.name}: {error}") from error
    if not isinstance(values, np.ndarray):
        raise BadResult(f"{path.name}: got an archive of arrays, wanted one array")
    if values.dtype == np.uint8:
        return values
    if not np.issubdtype(values.dtype, np.floating):
        raise BadResult(f"{path.name}: got {values.dtype}, wanted uint8, or floats in [0, 1]")
    if num_bad := int(np.count_nonzero(~np.isfinite(values))):
        raise BadResult(f"{path.name}: {num_bad} values of {values.size} are NaN or infinite")
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        raise BadResult(f"{path.name}: got values from {values.min():g} to {values.max():g}, wanted [0, 1]")
    return np.rint(values * 255).astype(np.uint8)
