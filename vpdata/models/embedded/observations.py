"""What can be measured of a clip's camera and objects on a few key frames, for the captioner to put into words.

Lengths are in frame diagonals, so that they do not depend on the size at which the key frames were handed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vpdata.media.masks import decode_mask
from vpdata.models.embedded.camera import Affine, affine_of_images, apply, compose, scale_of
from vpdata.models.embedded.colours import main_colours
from vpdata.models.ports import CaptionRequest, Frames
from vpdata.records import Record, Track

STILL_CAMERA = 0.004
"""A `camera_motion` below this many diagonals per second is a camera that stands."""
MIN_SHIFT = 0.03
"""Diagonals; a net displacement below it is no direction."""
MIN_ABSENCE_S = 0.25
"""A shorter absence is not told: a mask that starts a frame late is no entrance."""
NUM_POSITIONS = 32
"""Frames on which the place of an object is looked up, evenly spread over those that hold it."""

Masks = NDArray[np.bool_]
"""bool [N, H, W]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraCourse:
    """How the camera moved over the key frames."""

    to_first: tuple[Affine, ...] | None
    """Per key frame the map to the first one's coordinates; None where the scene could not be matched."""
    shift: tuple[float, float]
    """Net displacement of the view to the right and down; zero where unknown."""
    zoom: float
    """How much larger the scene is at the end than at the start; 1.0 where unknown."""
    is_still: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectCourse:
    """What one object looks like and does."""

    label: str
    colours: tuple[str, ...]
    mean_area_frac: float
    places: tuple[tuple[float, float], ...]
    """Its centre from first to last sight, as shares of the frame's width and height."""
    shift: tuple[float, float] | None
    """Net displacement to the right and down against the scene; None where the camera's motion is not known."""
    extent: float
    """Largest distance between two of its positions against the scene; 0.0 where the camera's motion is not known."""
    span_s: float
    """Time that `shift` took."""
    growth: float
    """Area near the end of its presence over that near the start."""
    enters_s: float | None
    leaves_s: float | None
    """Time in the clip at which it is first and last seen; None where that is the clip's own start or end."""
    hidden_s: float
    """Longest time in between in which it is not seen."""
    stability: float


def observe_camera(record: Record, frames: Frames, masks: Masks) -> CameraCourse:
    """The camera over key frames; `masks` says where objects hide the scene."""
    height, width = frames.shape[1:3]
    speed = {score.name: score.value for score in record.scores}.get("camera_motion")
    if speed is not None and speed < STILL_CAMERA:
        to_first = (np.eye(2, 3),) * len(frames)
    else:
        to_first = _chain([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames], masks)
    if to_first is None:
        return CameraCourse(to_first=None, shift=(0.0, 0.0), zoom=1.0, is_still=False)
    middle = np.array([width / 2, height / 2])
    shifts = np.array([apply(one, *middle) - middle for one in to_first]) / np.hypot(width, height)
    return CameraCourse(
        to_first=to_first,
        shift=(float(shifts[-1, 0]), float(shifts[-1, 1])),
        zoom=1 / scale_of(to_first[-1]),
        is_still=bool(np.linalg.norm(shifts, axis=1).max() < MIN_SHIFT / 4 and abs(1 - scale_of(to_first[-1])) < 0.02),
    )


def observe_object(
    track: Track, *, record: Record, frames: Sequence[int], images: Frames, masks: Masks
) -> ObjectCourse | None:
    """One object on the key frames that hold it (`masks` bool [N, H, W] is its mask on each); None if none does."""
    shown = [row for row, mask in enumerate(masks) if mask.any()]
    if not shown:
        return None
    frames, images, masks = [frames[row] for row in shown], images[shown], masks[shown]
    camera = observe_camera(record, images, masks)
    seen = np.flatnonzero(np.array(track.area_frac) > 0)
    sampled = seen[np.linspace(0, len(seen) - 1, min(len(seen), NUM_POSITIONS)).round().astype(int)]
    clip = record.clip
    places = [
        _centre(decode_mask(track.masks[frame], height_px=clip.height_px, width_px=clip.width_px)) for frame in sampled
    ]
    # Before a standing camera every frame tells the way; else only those on which the camera's motion is known.
    way = np.array(places) if camera.is_still else _against_scene(masks, camera)
    fps, span = float(clip.fps), (sampled[-1] - sampled[0] if camera.is_still else frames[-1] - frames[0])
    if way is not None:
        way = way * (clip.width_px, clip.height_px) / np.hypot(clip.width_px, clip.height_px)
    return ObjectCourse(
        label=track.label,
        colours=main_colours(images[masks]),
        mean_area_frac=track.mean_area_frac,
        places=tuple(places),
        shift=None if way is None else (float(way[-1, 0] - way[0, 0]), float(way[-1, 1] - way[0, 1])),
        extent=0.0 if way is None else float(np.linalg.norm(way[:, None] - way[None], axis=-1).max()),
        span_s=float(span) / fps,
        growth=_growth(track),
        enters_s=seen[0] / fps if seen[0] >= MIN_ABSENCE_S * fps else None,
        leaves_s=(seen[-1] + 1) / fps if len(track.masks) - 1 - seen[-1] >= MIN_ABSENCE_S * fps else None,
        hidden_s=(int(np.diff(seen).max(initial=1)) - 1) / fps,
        stability=track.stability,
    )


def masks_at(track: Track, request: CaptionRequest) -> Masks:
    """bool [N, H, W] of a track on the request's key frames, at the size of its images."""
    clip, (height, width) = request.record.clip, request.images.shape[1:3]
    full = [decode_mask(track.masks[i], height_px=clip.height_px, width_px=clip.width_px) for i in request.frames]
    return np.stack([cv2.resize(mask.astype(np.uint8), (width, height)) > 0 for mask in full])


def _chain(images: Sequence[NDArray], masks: Masks) -> tuple[Affine, ...] | None:
    """For each image the map to the first, matched directly or through the one before; None where neither matches."""
    to_first = [np.eye(2, 3)]
    for index in range(1, len(images)):
        background = cv2.dilate(masks[index].astype(np.uint8), np.ones((9, 9), np.uint8)) == 0
        # Directly first: errors of a chain add up, and a standing camera would seem to drift.
        whole = affine_of_images(images[index], images[0], background)
        if whole is None:
            step = affine_of_images(images[index], images[index - 1], background)
            if step is None:
                return None
            whole = compose(step, to_first[-1])
        to_first.append(whole)
    return tuple(to_first)


def _against_scene(masks: Masks, camera: CameraCourse) -> NDArray[np.float64] | None:
    """float64 [N, 2]: the centre on each key frame, as shares of the first one's width and height."""
    if camera.to_first is None:
        return None
    height, width = masks.shape[1:]
    centres = [_centre(mask) for mask in masks]
    moved = [apply(to_first, x * width, y * height) for to_first, (x, y) in zip(camera.to_first, centres, strict=True)]
    return np.array(moved) / (width, height)


def _centre(mask: NDArray[np.bool_]) -> tuple[float, float]:
    """The centroid as shares of the width and height."""
    rows, columns = np.nonzero(mask)
    return (float(columns.mean()) + 0.5) / mask.shape[1], (float(rows.mean()) + 0.5) / mask.shape[0]


def _growth(track: Track) -> float:
    areas = np.array([area for area in track.area_frac if area > 0])
    tail = max(1, len(areas) // 5)
    return float(areas[-tail:].mean() / areas[:tail].mean())
