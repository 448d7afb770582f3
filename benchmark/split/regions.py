"""Masks of cases: the union of tracks, or a region that is drawn and moves on a path of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from vpdata.media.masks import Mask, decode_mask
from vpdata.media.moving_shapes import blob, draw_filled, wandering_boxes
from vpdata.records import Track
from vpdata.stages.track import seed_of

_CLEARANCE_FRAC = 0.02
"""A drawn region keeps so far from objects, as a share of the frame's height: masks miss the last pixels of an edge."""


def union_of(tracks: Sequence[Track], frames: range, *, height_px: int, width_px: int) -> Iterator[Mask]:
    """bool [H, W] per frame: where any of the tracks is. ValueError for damaged run lengths."""
    for frame in frames:
        union = np.zeros((height_px, width_px), dtype=np.bool_)
        for track in tracks:
            if track.masks[frame] is not None:
                union |= decode_mask(track.masks[frame], height_px=height_px, width_px=width_px)
        yield union


def moving_region(key: str, *, num_frames: int, height_px: int, width_px: int) -> Iterator[Mask]:
    """bool [H, W] per frame: a smooth random shape on a random path, as in the literature on video inpainting.

    Shape and path follow from `key`; see `vpdata.media.moving_shapes`. The shape never leaves the frame.
    """
    rng = np.random.default_rng(seed_of(key))
    outline = blob(rng)
    size = {"height_px": height_px, "width_px": width_px}
    boxes = wandering_boxes(rng, num_frames=num_frames, height_px=height_px, width_px=width_px)
    for frame in range(num_frames):
        yield draw_filled(outline, boxes[frame : frame + 1], **size)[0]


def background_region(
    key: str, tracks: Sequence[Track], *, num_frames: int, height_px: int, width_px: int
) -> Iterator[Mask]:
    """bool [H, W] per frame: what a moving region covers of the background, clear of all tracks."""
    size = {"height_px": height_px, "width_px": width_px}
    clearance_px = max(1, round(_CLEARANCE_FRAC * height_px))
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * clearance_px + 1, 2 * clearance_px + 1))
    regions = moving_region(key, num_frames=num_frames, **size)
    for region, objects in zip(regions, union_of(tracks, range(num_frames), **size), strict=True):
        yield region & ~cv2.dilate(objects.astype(np.uint8), disk).astype(np.bool_)
