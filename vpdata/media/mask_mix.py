"""The masks of training: drawn from an object's own masks and from moving shapes, in a mix that is set."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from vpdata.media.moving_shapes import (
    BOX,
    ELLIPSE,
    INNER_ELLIPSE,
    Boxes,
    blob,
    boxes_around,
    draw_filled,
    draw_strokes,
    scaled,
    strokes,
    wandering_boxes,
)

BoolArray = NDArray[np.bool_]
Kind = Literal["track", "tracks", "all_tracks", "box", "ellipse", "brush", "davis", "inverted", "full_frame"]

_REFERENCE_HEIGHT_PX = 480


@dataclass(frozen=True, slots=True, kw_only=True)
class KindWeights:
    """How often each kind of mask is drawn, relative to the others."""

    track: float = 0.35
    """One object."""
    tracks: float = 0.1
    """Two or more objects, but not always all."""
    all_tracks: float = 0.1
    """Every object."""
    box: float = 0.1
    """A rectangle."""
    ellipse: float = 0.1
    """An ellipse."""
    brush: float = 0.1
    """Brush strokes."""
    davis: float = 0.1
    """A smooth random shape on a path of its own, as in the literature on video completion."""
    inverted: float = 0.03
    """All but one object: the background is to be painted."""
    full_frame: float = 0.02
    """Everything."""

    def __post_init__(self) -> None:
        weights = [getattr(self, item.name) for item in fields(self)]
        if min(weights) < 0 or not sum(weights) > 0:
            raise ValueError(f"got the weights {weights}, wanted none below 0 and one above")


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskMix:
    """What masks are drawn. Pixels are those of a frame 480 px high; at other heights they scale with it."""

    weights: KindWeights = field(default_factory=KindWeights)
    own_path_frac: float = 0.3
    """Share of the boxes, ellipses and brush strokes that move on a path of their own and not with an object."""
    shape_scale: tuple[float, float] = (1.05, 1.5)
    """Sides of a box or ellipse that moves with an object, over those of the object's bounding box."""
    dilate_px: tuple[int, int] = (0, 32)
    """Radius by which an object's own mask is dilated, drawn once per mask."""
    erode_px: tuple[int, int] = (1, 6)
    """Radius by which it is eroded instead."""
    erode_frac: float = 0.15
    """Share of the objects' own masks that are eroded and not dilated."""
    continued_frac: float = 0.25
    """Share of the masks that leave some whole latent frames at the start known, as where `vpdata inpaint` goes on from
    the window before. A model that never saw such masks does not go on from what it is given: the learning study's
    PSNR fell by 2 dB at the border."""

    def __post_init__(self) -> None:
        for name in ("own_path_frac", "erode_frac", "continued_frac"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"got {name} {getattr(self, name)}, wanted 0 to 1")
        for name, least in (("shape_scale", 1.0), ("dilate_px", 0), ("erode_px", 0)):
            low, high = getattr(self, name)
            if not least <= low <= high:
                raise ValueError(f"got {name} [{low}, {high}], wanted two rising numbers from {least} on")


def around_an_object(mix: MaskMix) -> MaskMix:
    """The same mix without what need not hide the object that a mask is drawn for; at least its own mask is left.

    For ID pairs, in which one object is hidden in the target and looked up in the source.
    """
    kept = {kind: getattr(mix.weights, kind) for kind in ("track", "box", "ellipse", "brush")}
    if not any(kept.values()):
        kept["track"] = 1.0
    nothing = {item.name: 0.0 for item in fields(KindWeights)}
    return replace(mix, weights=KindWeights(**(nothing | kept)), own_path_frac=0.0, continued_frac=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnMask:
    """One mask and where it came from."""

    mask: BoolArray
    """bool [F, H, W], True = hole."""
    kind: Kind
    tracks: tuple[int, ...]
    """Which of the tracks given it was made of, rising; empty for shapes on their own path and for the full frame."""


def draw_mask(tracks: Sequence[BoolArray], mix: MaskMix, *, stride_t: int, seed: int, key: str) -> DrawnMask:
    """A mask for a window with these tracks, each bool `[F, H, W]`: a pure function of all its arguments.

    Kinds that need an object, or several, are drawn only where so many are seen in the window. The mask is empty only
    if no object is seen and the mix has no kind that does without; a frame of it also where its object is absent, and
    where the mask is of a window that goes on from another. `stride_t` is of the codec, in frames per latent frame.
    """
    if not len(tracks):
        raise ValueError(f"{key}: got no tracks, wanted one or more")
    rng = np.random.default_rng(list(hashlib.sha256(f"{seed}.{key}".encode()).digest()))
    drawn = _drawn(rng, tracks, mix)
    if rng.uniform() < mix.continued_frac:
        return replace(drawn, mask=continued(rng, drawn.mask, stride_t=stride_t))
    return drawn


def continued(rng: np.random.Generator, mask: BoolArray, *, stride_t: int) -> BoolArray:
    """The mask `[F, H, W]` without its first `stride_t * k + 1` frames, k drawn; as it is if nothing would be left."""
    last = (len(mask) - 2) // stride_t
    known = stride_t * int(rng.integers(0, last + 1)) + 1 if last >= 0 else 0
    left = mask.copy()
    left[:known] = False
    return left if left.any() else mask


def _drawn(rng: np.random.Generator, tracks: Sequence[BoolArray], mix: MaskMix) -> DrawnMask:
    """A mask of the whole window."""
    present = [index for index, track in enumerate(tracks) if track.any()]
    kind, is_on_own_path = _drawn_kind(rng, mix, num_present=len(present))
    if kind is None:
        return DrawnMask(mask=np.zeros_like(tracks[0]), kind="track", tracks=())
    if kind == "full_frame":
        return DrawnMask(mask=np.ones_like(tracks[0]), kind=kind, tracks=())
    if kind in ("box", "ellipse", "brush", "davis"):
        chosen = [] if is_on_own_path else [present[rng.integers(len(present))]]
        mask = _shape(rng, kind, tracks[chosen[0]] if chosen else None, mix, shape=tracks[0].shape)
    else:
        chosen = _drawn_tracks(rng, kind, present)
        mask = _resized(rng, np.logical_or.reduce([tracks[index] for index in chosen]), mix)
        mask = ~mask if kind == "inverted" else mask
    return DrawnMask(mask=mask, kind=kind, tracks=tuple(chosen))


def dilate(mask: BoolArray, radius_px: float) -> BoolArray:
    """Every pixel within `radius_px` (Euclidean) of the mask, on each frame of bool `[F, H, W]`."""
    if radius_px < 1:
        return mask
    # A distance transform costs the same for every radius; cv2.dilate costs 4 times as much at 32 px.
    return np.stack([_distance_px(~one) <= radius_px if one.any() else one for one in mask])


def erode(mask: BoolArray, radius_px: float) -> BoolArray:
    """Pixels farther than `radius_px` from the outside; a frame that would lose the whole object keeps it as it is."""
    if radius_px < 1:
        return mask
    eroded = np.stack([_distance_px(one) > radius_px if not one.all() else one for one in mask])
    return np.where(eroded.any(axis=(1, 2), keepdims=True), eroded, mask)


def _distance_px(inside: BoolArray) -> NDArray[np.float32]:
    """For pixels inside, the distance to the nearest one outside."""
    distance = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distance, dtype=np.float32)


def _drawn_kind(rng: np.random.Generator, mix: MaskMix, *, num_present: int) -> tuple[Kind | None, bool]:
    """A kind, and whether it moves on its own path; None where no kind can be drawn."""
    is_on_own_path = rng.uniform() < mix.own_path_frac or (num_present == 0 and mix.own_path_frac > 0)
    num_needed: dict[Kind, int] = {"davis": 0, "full_frame": 0, "tracks": 2}
    num_needed |= dict.fromkeys(("box", "ellipse", "brush"), 0 if is_on_own_path else 1)
    kinds: list[Kind] = [item.name for item in fields(mix.weights)]  # type: ignore[misc]
    weights = np.array(
        [getattr(mix.weights, kind) if num_present >= num_needed.get(kind, 1) else 0.0 for kind in kinds]
    )
    if not weights.any():
        return None, False
    kind = kinds[rng.choice(len(kinds), p=weights / weights.sum())]
    return kind, is_on_own_path or kind == "davis"


def _drawn_tracks(rng: np.random.Generator, kind: Kind, present: list[int]) -> list[int]:
    if kind == "all_tracks":
        return present
    num_chosen = rng.integers(2, len(present) + 1) if kind == "tracks" else 1
    return sorted(int(index) for index in rng.choice(present, size=num_chosen, replace=False))


def _resized(rng: np.random.Generator, mask: BoolArray, mix: MaskMix) -> BoolArray:
    scale = mask.shape[1] / _REFERENCE_HEIGHT_PX
    if rng.uniform() < mix.erode_frac:
        return erode(mask, scale * rng.uniform(*mix.erode_px))
    return dilate(mask, scale * rng.uniform(*mix.dilate_px))


def _shape(
    rng: np.random.Generator, kind: Kind, track: BoolArray | None, mix: MaskMix, *, shape: tuple[int, ...]
) -> BoolArray:
    num_frames, height_px, width_px = shape
    if track is None:
        boxes: Boxes = wandering_boxes(rng, num_frames=num_frames, height_px=height_px, width_px=width_px)
    else:
        boxes = scaled(boxes_around(track), rng.uniform(*mix.shape_scale))
    if kind == "brush":
        return draw_strokes(
            strokes(rng), boxes, width_frac=rng.uniform(0.15, 0.35), height_px=height_px, width_px=width_px
        )
    if kind == "davis":
        outline = blob(rng)
    elif kind == "box":
        outline = BOX
    else:
        outline = ELLIPSE if track is not None else INNER_ELLIPSE
    return draw_filled(outline, boxes, height_px=height_px, width_px=width_px)
