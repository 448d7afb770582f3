"""The user's mask in one of the forms that tools write, made to agree with the video frame by frame."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from vpdata.errors import ConfigError
from vpdata.inpaint.any_length import Masks
from vpdata.inpaint.fit import Size, scale_masks
from vpdata.inpaint.input_video import VideoInput
from vpdata.inpaint.mask_files import MaskFile, open_mask_file
from vpdata.media.masks import bounding_box

logger = logging.getLogger(__name__)

Fit = Literal["size", "length", "rate"]
Shape = Literal["as_is", "hull", "box"]
_MAX_ASPECT_ERROR_FRAC = 0.02
_MAX_RATE_ERROR_FRAC = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskSettings:
    """How the mask is read."""

    fit: tuple[Fit, ...] = ()
    """In what the mask may differ from the video. `size`: it is scaled. `length`: the last mask is held, or what is
    too much is dropped. `rate`: each frame gets the mask that is shown at its time."""
    invert: bool = False
    """Make everything but the object anew."""
    shape: Shape = "as_is"
    """What each connected part of a frame's mask becomes, before it is inverted or grown: its convex hull or its
    bounding box hides an outline that would tell the model which object to draw again."""
    dilate_px: int = 0
    """How far the hole grows on all sides, after it was inverted, in pixels of the video."""
    allow_whole: bool = False
    """Whether the mask may cover every frame wholly."""

    def __post_init__(self) -> None:
        if self.dilate_px < 0:
            raise ValueError(f"got dilate_px {self.dilate_px}, wanted 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskInput:
    """A mask that was looked through once."""

    frames: Callable[[], Iterator[Masks]]
    """bool `[height, width]` of the video's size, one per frame of the video; each call begins anew."""
    num_holes: int
    """Frames with a hole. 0: there is nothing to do."""
    sha256: str
    """Of all masks."""

    @classmethod
    def of(cls, frames: Callable[[], Iterator[Masks]], *, allow_whole: bool = False) -> MaskInput:
        """Of masks that agree with the video. ConfigError where they cover every frame wholly and that is not asked."""
        digest = hashlib.sha256()
        num_holes, is_whole = 0, True
        for mask in frames():
            digest.update(np.packbits(mask).tobytes())
            num_holes += bool(mask.any())
            is_whole = is_whole and bool(mask.all())
        if is_whole and not allow_whole:
            raise ConfigError(
                "the mask covers every frame wholly, so nothing of the video would be left; give the mask of an "
                "object, check invert, or give --set mask.allow_whole=true"
            )
        return cls(frames=frames, num_holes=num_holes, sha256=digest.hexdigest())


def open_mask(path: Path, video: VideoInput, settings: MaskSettings | None = None) -> MaskInput:
    """The union of all objects in a file that `open_mask_file` knows.

    ConfigError says in what it differs from the video, and which setting mends it.
    """
    settings = settings or MaskSettings()
    masks = open_mask_file(path, size_if_empty=video.size)
    differs = _differences(masks, video)
    refused = [text for fit, text in differs.items() if fit not in settings.fit]
    if refused:
        raise ConfigError("\n  ".join([f"the mask {path} does not agree with the video {video.path}:", *refused]))
    if "size" in differs:
        _check_aspect(masks.size, video, path)
    picks = _shown_at(masks, video) if "rate" in differs else np.arange(video.num_frames)
    frames = partial(_fitted, masks, np.minimum(picks, masks.num_frames - 1), video.size, settings)
    return MaskInput.of(frames, allow_whole=settings.allow_whole)


def _differences(masks: MaskFile, video: VideoInput) -> dict[Fit, str]:
    differs: dict[Fit, str] = {}
    own, wanted = masks.size, video.size
    if own != wanted:
        differs["size"] = (
            f"size: {own.width_px} x {own.height_px} px, the video {wanted.width_px} x {wanted.height_px}; "
            "--set mask.fit=[size] scales it"
        )
    has_other_rate = masks.fps is not None and abs(masks.fps / video.average_fps - 1) > _MAX_RATE_ERROR_FRAC
    if masks.num_frames == video.num_frames:
        if has_other_rate:
            logger.warning("mask and video have as many frames at different rates: mask k is taken for frame k")
        return differs
    num_wanted = video.num_frames
    if masks.fps and has_other_rate:
        differs["rate"] = (
            f"rate: {float(masks.fps):g} frames a second, the video {float(video.average_fps):g}; "
            "--set mask.fit=[rate] gives each frame the mask that is shown at its time"
        )
        # The masks that would be shown while the video lasts.
        num_wanted = round(video.num_frames / video.average_fps * masks.fps)
        if abs(masks.num_frames - num_wanted) <= 1:
            return differs
    what = "holds the last" if masks.num_frames < num_wanted else "drops those at the end"
    differs["length"] = f"length: {masks.num_frames} masks, wanted {num_wanted}; --set mask.fit=[length] {what}"
    return differs


def _check_aspect(own: Size, video: VideoInput, path: Path) -> None:
    aspects = {size.width_px / size.height_px for size in (video.size, video.shown_size)}
    error_frac = min(abs(own.width_px / own.height_px / aspect - 1) for aspect in aspects)
    if error_frac > _MAX_ASPECT_ERROR_FRAC:
        raise ConfigError(
            f"the mask {path} has another shape than the video ({own.width_px} x {own.height_px} and "
            f"{video.size.width_px} x {video.size.height_px} px): crop or pad it to the same view first"
        )


def _shown_at(masks: MaskFile, video: VideoInput) -> NDArray[np.int64]:
    """Per frame of the video the mask that is shown at its time, both beginning at 0."""
    assert masks.seconds is not None, "only a video has a rate"
    seconds = (video.stamps - video.stamps[0]) * float(video.time_base)
    return np.searchsorted(masks.seconds - masks.seconds[0], seconds + 1e-6, side="right") - 1


def _fitted(masks: MaskFile, picks: NDArray[np.int64], size: Size, settings: MaskSettings) -> Iterator[Masks]:
    """Mask `picks[k]` for frame k, in one pass over the masks."""
    coming = iter(masks.frames())
    index, mask = 0, next(coming)
    ready = _finished(mask, size, settings)
    for pick in picks:
        if pick > index:
            while pick > index:
                index, mask = index + 1, next(coming)
            ready = _finished(mask, size, settings)
        yield ready


def _finished(mask: Masks, size: Size, settings: MaskSettings) -> Masks:
    mask = _shaped(scale_masks(mask[None], size)[0], settings.shape) != settings.invert
    return _grown(mask, settings.dilate_px) if settings.dilate_px else mask


def _shaped(mask: Masks, shape: Shape) -> Masks:
    """Of each part whose pixels touch, corners too, the hull or the box; they may overlap."""
    if shape == "as_is":
        return mask
    shaped = mask.astype(np.uint8)
    # A part inside of another one has no outer contour of its own: the other's hull and box cover it.
    for contour in cv2.findContours(shaped, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]:
        if shape == "hull":
            cv2.fillConvexPoly(shaped, cv2.convexHull(contour), 1)
        else:
            left, top, width, height = cv2.boundingRect(contour)
            shaped[top : top + height, left : left + width] = 1
    return shaped > 0


def _grown(mask: Masks, px: int) -> Masks:
    """By a disc, in whose reach most of a frame is not: to grow the whole of 4K by 100 px takes 2 s."""
    box = bounding_box(mask)
    if box is None:
        return mask
    left, top, right, bottom = box
    near = np.s_[max(top - px, 0) : bottom + px, max(left - px, 0) : right + px]
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * px + 1,) * 2)
    grown = np.zeros_like(mask)
    grown[near] = cv2.dilate(mask[near].astype(np.uint8), kernel) > 0
    return grown
