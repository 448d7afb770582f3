"""The films and shots that quality is measured on; equal from run to run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmark.footage import KINDS, Footage, Transition, film, read_video, scene

HEIGHT_PX, WIDTH_PX = 180, 320
STILLS = (
    ("bigbuckbunny.mp4", 10),
    ("bigbuckbunny.mp4", 100),
    ("bikes.mp4", 20),
    ("bikes.mp4", 130),
    ("bikes.mp4", 160),
    ("bikes.mp4", 225),
    ("carphone.mp4", 60),
)
"""Frames of the demo's real videos to put objects on."""
LIVE = (
    ("bigbuckbunny.mp4", 0, 132),
    ("bikes.mp4", 76, 136),
    ("bikes.mp4", 138, 186),
    ("bikes.mp4", 188, 241),
    ("carphone.mp4", 0, 120),
)
"""Single shots of them, half-open, with motion and cameras of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One film or shot with its truth."""

    group: str
    """Row of the table."""
    footage: Footage


def mask_cases(real: Path | None, *, num_seeds: int, num_frames: int = 50) -> Iterator[Case]:
    """Every kind of shot, still and panning, on drawn backgrounds and, where `real` is given, on its frames."""
    for camera, name, folder in product(
        ("still", "panning"), (*KINDS, "camouflaged"), (None, real) if real else (None,)
    ):
        for seed in range(num_seeds):
            shot = scene(
                "plain" if name == "camouflaged" else name,
                seed=seed,
                is_panning=camera == "panning",
                is_camouflaged=name == "camouflaged",
                backdrop=_still(folder, seed) if folder else None,
                num_frames=num_frames,
                height_px=HEIGHT_PX,
                width_px=WIDTH_PX,
            )
            yield Case(group=f"{camera}, {name}, {'real frame' if folder else 'drawn'}", footage=shot)
    for seed, frames in enumerate(_live(real) if real else ()):
        shot = scene(
            "plain", seed=seed, num_frames=len(frames), height_px=HEIGHT_PX, width_px=WIDTH_PX, backdrop=frames
        )
        yield Case(group="live, plain, real video", footage=shot)


def film_cases(real: Path | None, *, num_seeds: int) -> Iterator[Case]:
    """Films of eight shots: hard cuts alone, cuts among fades and dissolves, and real shots joined by cuts."""
    mixed: list[Transition] = ["cut", "fade", "cut", "dissolve", "cut", "cut", "dissolve"]
    cuts: list[Transition] = ["cut"] * 7
    for group, transitions in (("cuts", cuts), ("cuts, fades, dissolves", mixed)):
        for seed in range(num_seeds):
            rng = np.random.default_rng(seed)
            shots = [
                scene(
                    KINDS[rng.integers(len(KINDS))],
                    seed=100 * seed + number,
                    num_frames=int(rng.integers(30, 75)),
                    height_px=HEIGHT_PX,
                    width_px=WIDTH_PX,
                    is_panning=bool(rng.integers(2)),
                    backdrop=_still(real, number) if real and seed % 2 else None,
                )
                for number in range(8)
            ]
            yield Case(group=group, footage=film(shots, [transitions[i] for i in rng.permutation(7)]))
    live = _live(real) if real else []
    for seed in range(num_seeds if live else 0):
        shots = [_bare(live[i]) for i in np.random.default_rng(seed).permutation(len(live))]
        yield Case(group="real shots, cuts", footage=film(shots, cuts[: len(shots) - 1]))


def _bare(frames: NDArray[np.uint8]) -> Footage:
    return Footage(frames=frames, masks=np.zeros((0, *frames.shape[:3]), dtype=np.bool_), labels=())


def _still(real: Path, number: int) -> NDArray[np.uint8]:
    name, frame = STILLS[number % len(STILLS)]
    return read_video(real / name, start=frame, stop=frame + 1)[0]


def _live(real: Path) -> list[NDArray[np.uint8]]:
    size = (WIDTH_PX, HEIGHT_PX)
    shots = [read_video(real / name, start=start, stop=stop) for name, start, stop in LIVE]
    return [np.stack([np.asarray(cv2.resize(frame, size)) for frame in frames]) for frames in shots]
