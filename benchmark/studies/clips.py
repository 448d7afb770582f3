"""Clips of low resolution to learn from and to measure on: drawn scenes, objects over real footage, real footage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmark.footage import KINDS, read_video, scene
from vpdata.errors import ConfigError

Split = Literal["train", "test"]
Origin = Literal["drawn", "composited", "real"]
ORIGINS: tuple[Origin, ...] = ("drawn", "composited", "real")
FILMS: dict[Split, tuple[str, ...]] = {
    "train": ("bigbuckbunny.mp4", "bikes.mp4", "film.mp4"),
    "test": ("carphone.mp4",),
}
"""Real footage is held out by video, drawn footage by seed."""
WINDOW_FRAMES = 13
CLIP_FRAMES = 2 * WINDOW_FRAMES
_FIRST_SEED: dict[Split, int] = {"train": 1_000_000, "test": 0}
_MAX_FILM_FRAMES = 1000
_FILM_SCALE = 2
"""Films are kept at this many times the side of a clip, and crops of them are scaled down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """Two windows in a row."""

    name: str
    origin: Origin
    frames: NDArray[np.uint8]
    """uint8 [26, side, side, 3] RGB."""
    tracks: NDArray[np.bool_]
    """bool [K, 26, side, side]: the visible part of each object; one empty track for real footage."""

    @property
    def shows_object_twice(self) -> bool:
        """Whether the first object covers at least 1 % of either window."""
        first = self.tracks[0]
        return bool(min(first[:WINDOW_FRAMES].mean(), first[WINDOW_FRAMES:].mean()) >= 0.01)


def read_films(footage: Path, *, split: Split, side_px: int) -> list[NDArray[np.uint8]]:
    """The real videos of a split, scaled down: uint8 [T, 2 * side, W, 3] each."""
    films = []
    for name in FILMS[split]:
        if not (footage / name).is_file():
            raise ConfigError(f"{footage} has no {name}; run `python -m tools.demo_footage {footage}` first")
        frames = read_video(footage / name, stop=_MAX_FILM_FRAMES)
        height_px = _FILM_SCALE * side_px
        width_px = round(frames.shape[2] * height_px / frames.shape[1])
        scaled = [cv2.resize(frame, (width_px, height_px), interpolation=cv2.INTER_AREA) for frame in frames]
        films.append(np.stack(scaled).astype(np.uint8))
    return films


def make_clips(films: Sequence[NDArray[np.uint8]], *, split: Split, num_clips: int, side_px: int) -> Iterator[Clip]:
    """Clips of the three origins in turn, equal for equal arguments."""
    for index in range(num_clips):
        seed = _FIRST_SEED[split] + index
        origin = ORIGINS[index % len(ORIGINS)]
        rng = np.random.default_rng((seed, 7))
        name = f"{split}-{origin}-{index:05d}"
        if origin == "real":
            frames = _window_of(rng, films, side_px=side_px)
            yield Clip(name=name, origin=origin, frames=frames, tracks=np.zeros((1, *frames.shape[:3]), dtype=np.bool_))
            continue
        backdrop = _window_of(rng, films, side_px=side_px) if origin == "composited" else None
        footage = scene(
            KINDS[rng.integers(len(KINDS))],
            seed=seed,
            num_frames=CLIP_FRAMES,
            height_px=side_px,
            width_px=side_px,
            is_panning=backdrop is None and rng.random() < 0.5,
            backdrop=backdrop,
            size_frac=rng.uniform(0.3, 0.5),
        )
        yield Clip(name=name, origin=origin, frames=footage.frames, tracks=footage.masks)


def _window_of(rng: np.random.Generator, films: Sequence[NDArray[np.uint8]], *, side_px: int) -> NDArray[np.uint8]:
    """A square of a film over 26 frames, with every or every second frame taken."""
    film = films[int(rng.integers(len(films)))]
    step = int(rng.integers(1, 3))
    start = int(rng.integers(0, len(film) - CLIP_FRAMES * step + 1))
    crop_px = int(rng.integers(side_px, film.shape[1] + 1))
    y, x = (int(rng.integers(0, film.shape[axis] - crop_px + 1)) for axis in (1, 2))
    window = film[start : start + CLIP_FRAMES * step : step, y : y + crop_px, x : x + crop_px]
    scaled = [cv2.resize(frame, (side_px, side_px), interpolation=cv2.INTER_AREA) for frame in window]
    return np.stack(scaled).astype(np.uint8)
