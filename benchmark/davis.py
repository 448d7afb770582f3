"""DAVIS in its published layout: sequences of JPEGs, under random masks that move or under their own objects."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmark.bench import Bench, Case, Sampling, sha256_of
from benchmark.split.regions import moving_region
from vpdata.errors import ConfigError, RunError
from vpdata.inpaint.fit import Size

DavisMasks = Literal["moving", "objects"]

_FRAMES, _ANNOTATIONS = "JPEGImages", "Annotations"
_RESOLUTIONS = ("480p", "Full-Resolution", "")
"""Folders between the kind and the sequence, the one that results are published on first."""
_FPS = Fraction(24)
_NOT_ID = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class DavisMedia:
    """Sequences below the folder of DAVIS."""

    frames_of: Mapping[str, tuple[Path, ...]]
    """By case id."""
    annotations_of: Mapping[str, tuple[Path, ...]]
    """Empty where masks are drawn."""
    seed: int

    def frames(self, case: Case, indices: Sequence[int]) -> NDArray[np.uint8]:
        return np.stack([_picture(self.frames_of[case.id][index], case) for index in indices])

    def masks(self, case: Case, indices: Sequence[int]) -> NDArray[np.bool_]:
        if case.id in self.annotations_of:
            return np.stack([_annotation(self.annotations_of[case.id][index], case) for index in indices])
        size = {"height_px": case.height_px, "width_px": case.width_px}
        regions = enumerate(moving_region(f"{self.seed} {case.id}", num_frames=case.num_frames, **size))
        wanted = set(indices)
        return np.stack([region for index, region in regions if index in wanted])


def open_davis(
    root: str | Path, *, seed: int = 0, masks: DavisMasks = "moving", sampling: Sampling | None = None
) -> Bench:
    """`JPEGImages/480p/<name>/*.jpg` and, for objects, `Annotations/480p/<name>/*.png` below `root`.

    Random masks follow from seed and name alone. Every file is read once, for its hash: about 1 GB. ConfigError where
    something of that layout is missing.
    """
    root = Path(root)
    folder = next((root / _FRAMES / one for one in _RESOLUTIONS if list((root / _FRAMES / one).glob("*/*.jpg"))), None)
    if folder is None:
        raise ConfigError(f"{root}: got no {_FRAMES}/480p/<name>/*.jpg, wanted the folder of DAVIS")
    frames_of: dict[str, tuple[Path, ...]] = {}
    annotations_of: dict[str, tuple[Path, ...]] = {}
    cases: list[Case] = []
    for sequence in sorted(one for one in folder.iterdir() if one.is_dir()):
        paths = tuple(sorted(sequence.glob("*.jpg")))
        annotations = (
            _annotations(root / _ANNOTATIONS / folder.name / sequence.name, paths) if masks == "objects" else ()
        )
        case = _case(sequence.name, paths, annotations)
        frames_of[case.id] = paths
        if annotations:
            annotations_of[case.id] = annotations
        cases.append(case)
    if len(frames_of) < len(cases):
        raise ConfigError(f"{folder}: two sequences have names that differ only in signs other than letters and digits")
    return Bench(
        name="davis-objects" if masks == "objects" else f"davis-moving-{seed}",
        cases=tuple(sorted(cases, key=lambda case: case.id)),
        sampling=sampling or Sampling(),
        media=DavisMedia(frames_of, annotations_of, seed),
    )


def davis_case(
    name: str,
    *,
    frames: Sequence[Path],
    masks: Sequence[Path],
    size: Size,
    fps: Fraction,
    caption: str,
    object_caption: str,
) -> Case:
    """The case of a sequence; no `masks` where they are drawn. RunError where a file cannot be read."""
    plain = _NOT_ID.sub("-", name.lower()).strip("-")
    return Case(
        id=f"davis-{plain}",
        subset="davis",
        category="any",
        clip_id=plain,
        video_id=plain,
        num_frames=len(frames),
        fps=fps,
        height_px=size.height_px,
        width_px=size.width_px,
        sha256=sha256_of(frames),
        mask_sha256=sha256_of(masks) if masks else None,
        caption=caption,
        object_caption=object_caption,
    )


def _case(name: str, paths: Sequence[Path], annotations: Sequence[Path]) -> Case:
    if not paths:
        raise ConfigError(f"the sequence {name} has no frames, wanted *.jpg")
    first = cv2.imread(str(paths[0]), cv2.IMREAD_COLOR)
    if first is None:
        raise ConfigError(f"{paths[0]} is no picture that can be read")
    words = name.replace("-", " ").replace("_", " ")
    return davis_case(
        name,
        frames=paths,
        masks=annotations,
        size=Size(height_px=first.shape[0], width_px=first.shape[1]),
        fps=_FPS,
        # DAVIS has no captions; its names say what is to be seen.
        caption=f"A video of {words}.",
        object_caption=words,
    )


def _annotations(folder: Path, frames: Sequence[Path]) -> tuple[Path, ...]:
    wanted = tuple(folder / f"{path.stem}.png" for path in frames)
    if missing := next((path for path in wanted if not path.is_file()), None):
        raise ConfigError(f"{missing} is missing; wanted an annotation for every frame, or moving masks")
    return wanted


def _picture(path: Path, case: Case) -> NDArray[np.uint8]:
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None or pixels.shape[:2] != (case.height_px, case.width_px):
        raise RunError(f"{path} is no picture of {case.width_px}x{case.height_px} px as the first of its sequence")
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _annotation(path: Path, case: Case) -> NDArray[np.bool_]:
    """True where any object is: DAVIS's palette has black for the background."""
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None or pixels.shape[:2] != (case.height_px, case.width_px):
        raise RunError(f"{path} is no picture of {case.width_px}x{case.height_px} px as the frames")
    return np.any(pixels, axis=2)
