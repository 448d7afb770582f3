"""DAVIS as VPBench was published with it: its folder `data/davis`, with random masks and captions of its own.

JPEGImages_432_240/<name>/*.jpg  frames
test_masks/<name>/00000.png      the mask of each frame by its number, black outside
davis_caption.csv                captions by the place, from 1, of a name among those in test_masks
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmark.bench import Bench, Case
from benchmark.davis import davis_case
from benchmark.published import SAMPLING
from vpdata.errors import ConfigError, RunError
from vpdata.inpaint.fit import Size

_FRAMES, _MASKS, _CAPTIONS = "JPEGImages_432_240", "test_masks", "davis_caption"
_COLUMNS = ("Video_Index", "Video_Caption", "Masked_Target_Caption")
_WIDTH_PX, _HEIGHT_PX = 720, 480
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
_NUM_DILATIONS = 4
_FPS = Fraction(8)
"""What the published code takes them for, so that no frame is left out; DAVIS is filmed at 24."""


@dataclass(frozen=True, slots=True)
class PublishedDavisMedia:
    """As VideoPainter's evaluation opens them: stretched to 720x480 px, then masks grown by a 3x3 cross four times."""

    frames_of: Mapping[str, tuple[Path, ...]]
    """By case id."""
    masks_of: Mapping[str, tuple[Path, ...]]

    def frames(self, case: Case, indices: Sequence[int]) -> NDArray[np.uint8]:
        paths = self.frames_of[case.id]
        return np.stack([_frame(paths[index]) for index in indices])

    def masks(self, case: Case, indices: Sequence[int]) -> NDArray[np.bool_]:
        paths = self.masks_of[case.id]
        return np.stack([_mask(paths[index]) for index in indices])


def open_published_davis(root: str | Path) -> Bench:
    """A case for every folder in `test_masks`. `root` is the folder `data/davis` of the published code.

    ConfigError where a frame has no mask, a sequence no caption, or the folder another layout.
    """
    root = Path(root)
    names = sorted(path.name for path in (root / _MASKS).glob("*") if path.is_dir())
    if not names:
        raise ConfigError(f"{root}: got no {_MASKS}/<name>/, wanted the published folder data/davis")
    captions = _captions(root)
    cases: list[Case] = []
    frames_of: dict[str, tuple[Path, ...]] = {}
    masks_of: dict[str, tuple[Path, ...]] = {}
    for number, name in enumerate(names, start=1):
        frames = tuple(sorted((root / _FRAMES / name).glob("*.jpg")))
        masks = tuple(root / _MASKS / name / f"{index:05d}.png" for index in range(len(frames)))
        if not frames or not all(path.is_file() for path in masks):
            raise ConfigError(
                f"{root}: got {len(frames)} frames of {name}, wanted some, each with a mask in {_MASKS}/{name}"
            )
        if number not in captions:
            raise ConfigError(f"{root}/{_CAPTIONS}: got no row {number}, wanted the captions of {name}")
        caption, object_caption = captions[number]
        case = davis_case(
            name,
            frames=frames,
            masks=masks,
            size=Size(height_px=_HEIGHT_PX, width_px=_WIDTH_PX),
            fps=_FPS,
            caption=caption,
            object_caption=object_caption,
        )
        if case.id in frames_of:
            raise ConfigError(f"{root}: got two sequences {name!r}, by letters and digits alone; rename one of them")
        cases.append(case)
        frames_of[case.id], masks_of[case.id] = frames, masks
    return Bench(
        name="davis-published",
        cases=tuple(sorted(cases, key=lambda case: case.id)),
        sampling=SAMPLING,
        media=PublishedDavisMedia(frames_of, masks_of),
    )


def _captions(root: Path) -> dict[int, tuple[str, str]]:
    """Of the video and of what is under its mask, by number."""
    found = [path for path in (root / f"{_CAPTIONS}.csv", *(root / _CAPTIONS).glob("*.csv")) if path.is_file()]
    if len(found) != 1:
        raise ConfigError(f"{root}: got {len(found)} tables of captions, wanted {_CAPTIONS}.csv")
    try:
        with found[0].open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return {int(row[_COLUMNS[0]]): (row[_COLUMNS[1]], row[_COLUMNS[2]]) for row in rows}
    except (csv.Error, UnicodeDecodeError, KeyError, ValueError, TypeError) as error:
        raise ConfigError(f"{found[0]}: got {error!r}, wanted a CSV with {', '.join(_COLUMNS)}") from error


def _frame(path: Path) -> NDArray[np.uint8]:
    pixels = cv2.resize(_read(path, cv2.IMREAD_COLOR), (_WIDTH_PX, _HEIGHT_PX), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _mask(path: Path) -> NDArray[np.bool_]:
    # The published code's Pillow takes the pixel nearest to the middle, as only the exact variant does here.
    nearest = cv2.INTER_NEAREST_EXACT
    mask = cv2.resize(_read(path, cv2.IMREAD_GRAYSCALE), (_WIDTH_PX, _HEIGHT_PX), interpolation=nearest)
    return np.asarray(cv2.dilate((mask > 0).astype(np.uint8), _CROSS, iterations=_NUM_DILATIONS), dtype=np.bool_)


def _read(path: Path, flags: int) -> NDArray[np.uint8]:
    pixels = cv2.imread(str(path), flags)
    if pixels is None:
        raise RunError(f"{path} is no picture that can be read")
    return np.asarray(pixels, dtype=np.uint8)
