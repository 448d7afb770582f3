"""One shot at a time: objects that move, hide, leave and come back before a still or a panning camera."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmark.footage.backdrops import clutter, look, pan
from benchmark.footage.objects import COLOURS, Sprite, make_sprite

Kind = Literal["plain", "pillar", "crossing", "exit", "late"]
KINDS: tuple[Kind, ...] = ("plain", "pillar", "crossing", "exit", "late")
"""One object in sight; behind a pillar; two that cross; gone and back again; one that enters after a third."""
_PAN_ROOM = 1.5
"""Width and height of what a panning camera looks at, in frames."""
_NOISE = 2.0
"""Standard deviation of the sensor's noise, in grey levels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Footage:
    """Frames with everything that is known of them."""

    frames: NDArray[np.uint8]
    """uint8 [T, H, W, 3] RGB."""
    masks: NDArray[np.bool_]
    """bool [K, T, H, W]: the visible part of each object."""
    labels: tuple[str, ...]
    """Per object its colour and shape."""
    cuts: tuple[int, ...] = ()
    """Frames on which a new shot begins at once."""
    gradual: tuple[tuple[int, int], ...] = ()
    """Half-open spans of fades and dissolves."""

    def boxes(self, frame: int) -> list[tuple[int, int, int, int] | None]:
        """Per object the half-open box (x0, y0, x1, y1) around what is seen of it; None where it is hidden."""
        found: list[tuple[int, int, int, int] | None] = []
        for mask in self.masks[:, frame]:
            x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
            found.append((x, y, x + width, y + height) if width else None)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Actor:
    sprite: Sprite
    centres: NDArray[np.float32]
    """[T, 2] (x, y) in pixels of the frame."""
    poses: NDArray[np.float32]
    """[T, 3]: angle in radians, scale, shear."""


def scene(
    kind: Kind,
    *,
    seed: int,
    num_frames: int = 50,
    height_px: int = 180,
    width_px: int = 320,
    is_panning: bool = False,
    backdrop: NDArray[np.uint8] | None = None,
    size_frac: float = 0.3,
    is_camouflaged: bool = False,
) -> Footage:
    """A shot of `kind`; objects are about `size_frac` of the frame's height across.

    `backdrop` is a picture uint8 [H', W', 3] RGB that the camera looks at (scaled to fit), or frames
    uint8 [>= T, H, W, 3] that bring their own camera; None draws one. A camouflaged object has the dull colours of
    a drawn background instead of one bright colour.
    """
    rng = np.random.default_rng((seed, KINDS.index(kind), is_panning))
    frames, corners = _backdrop_frames(rng, backdrop, num_frames, height_px, width_px, is_panning)
    size_px = round(size_frac * height_px)
    colours = [str(colour) for colour in rng.permutation(sorted(COLOURS))]
    sprite = make_sprite(rng, size_px=size_px, colour=None if is_camouflaged else colours[0])
    actors = [_Actor(sprite=sprite, **_walk(rng, kind, frames, size_px))]
    if kind == "crossing":
        # A walk from right to left at the same height meets the first object in the middle of the shot.
        other = make_sprite(rng, size_px=round(size_px * 1.3), colour=colours[1])
        back = actors[0]
        mirrored = np.array([width_px, 0]) + back.centres * np.array([-1, 1])
        actors.append(_Actor(sprite=other, centres=mirrored.astype(np.float32), poses=_poses(rng, num_frames)))
    masks = [_draw(frames, actor) for actor in actors]
    covers = masks[1:] if kind == "crossing" else []
    if kind == "pillar":
        covers = [_draw_pillar(rng, frames, corners, pillar_px=round(1.5 * size_px), colour=colours[2])]
    for cover in covers:
        masks[0] &= ~cover
    _expose(rng, frames)
    labels = tuple(actor.sprite.label for actor in actors)
    return Footage(frames=frames, masks=np.stack(masks), labels=labels)


def _backdrop_frames(
    rng: np.random.Generator,
    backdrop: NDArray[np.uint8] | None,
    num_frames: int,
    height_px: int,
    width_px: int,
    is_panning: bool,
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Frames without objects, and where the camera's top-left corner is in what it looks at: float32 [T, 2]."""
    corners = np.zeros((num_frames, 2), dtype=np.float32)
    if backdrop is not None and backdrop.ndim == 4:
        if len(backdrop) < num_frames or backdrop.shape[1:3] != (height_px, width_px) or is_panning:
            raise ValueError(
                f"got backdrop frames {backdrop.shape}, wanted at least {num_frames} of {width_px}x{height_px} px "
                "and is_panning=False, since they bring their own camera"
            )
        return backdrop[:num_frames].copy(), corners
    zoom = _PAN_ROOM if is_panning else 1.0
    world_height, world_width = round(height_px * zoom), round(width_px * zoom)
    if backdrop is None:
        world = clutter(rng, height_px=world_height, width_px=world_width)
    else:
        resized = cv2.resize(backdrop, (world_width, world_height), interpolation=cv2.INTER_AREA)
        world = np.asarray(resized, dtype=np.uint8)
    if is_panning:
        corners = pan(rng, num_frames=num_frames, room_px=(world_width - width_px, world_height - height_px))
    return look(world, corners, height_px=height_px, width_px=width_px), corners


def _walk(
    rng: np.random.Generator, kind: Kind, frames: NDArray[np.uint8], size_px: int
) -> dict[str, NDArray[np.float32]]:
    num_frames, height_px, width_px = frames.shape[:3]
    time = np.linspace(0, 1, num_frames, dtype=np.float32)
    margin = 0.6 * size_px
    left, right, outside = margin, width_px - margin, width_px + 1.2 * size_px
    if kind == "exit":
        x = np.interp(time, (0, 0.35, 0.65, 1), (0.5 * width_px, outside, outside, 0.5 * width_px))
    elif kind == "late":
        x = np.interp(time, (0, 0.33, 1), (outside, outside, 0.3 * width_px))
    else:
        x = left + (right - left) * time
    if kind != "crossing" and rng.random() < 0.5:
        x = width_px - x
    middle = rng.uniform(0.4, 0.6) * height_px
    sway = 0.08 * height_px * np.sin(time * rng.uniform(4, 9) + rng.uniform(0, 6))
    return {"centres": np.stack([x, middle + sway], axis=1).astype(np.float32), "poses": _poses(rng, num_frames)}


def _poses(rng: np.random.Generator, num_frames: int) -> NDArray[np.float32]:
    time = np.linspace(0, 1, num_frames, dtype=np.float32)
    angle, scale, shear = (np.sin(time * rng.uniform(3, 8) + rng.uniform(0, 6)) for _ in range(3))
    return np.stack([0.25 * angle, 1 + 0.1 * scale, 0.12 * shear], axis=1).astype(np.float32)


def _draw(frames: NDArray[np.uint8], actor: _Actor) -> NDArray[np.bool_]:
    num_frames, height_px, width_px = frames.shape[:3]
    masks = np.zeros((num_frames, height_px, width_px), dtype=np.bool_)
    source_mask = actor.sprite.mask.astype(np.float32)
    middle = np.array(actor.sprite.image.shape[:2]) / 2
    for frame, (centre, (angle, scale, shear)) in enumerate(zip(actor.centres, actor.poses, strict=True)):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        linear = scale * turn @ np.array([[1, shear], [0, 1]])
        warp = np.hstack([linear, (centre - linear @ middle)[:, None]])
        size = (width_px, height_px)
        masks[frame] = cv2.warpAffine(source_mask, warp, size) > 0.5
        image = cv2.warpAffine(actor.sprite.image, warp, size, borderMode=cv2.BORDER_REPLICATE)
        frames[frame][masks[frame]] = image[masks[frame]]
    return masks


def _draw_pillar(
    rng: np.random.Generator,
    frames: NDArray[np.uint8],
    corners: NDArray[np.float32],
    *,
    pillar_px: int,
    colour: str,
) -> NDArray[np.bool_]:
    """A dull pillar before the middle of the scene, wide enough to hide the object whole."""
    num_frames, height_px, width_px = frames.shape[:3]
    tone = np.array(COLOURS[colour]) * 0.3 + rng.uniform(20, 60)
    grain = cv2.resize(rng.normal(scale=8, size=(height_px // 3, 6)).astype(np.float32), (pillar_px, height_px))
    pillar = np.clip(tone + grain[..., None], 0, 255).astype(np.uint8)
    cover = np.zeros((num_frames, height_px, width_px), dtype=np.bool_)
    left = np.round((width_px - pillar_px) / 2 + corners[:, 0].mean() - corners[:, 0]).astype(int)
    for frame, x0 in enumerate(np.clip(left, 0, width_px - pillar_px)):
        frames[frame, :, x0 : x0 + pillar_px] = pillar
        cover[frame, :, x0 : x0 + pillar_px] = True
    return cover


def _expose(rng: np.random.Generator, frames: NDArray[np.uint8]) -> None:
    """Adds what a sensor adds: noise, and light that wanders by 4 %."""
    height_px, width_px = frames.shape[1:3]
    phase = rng.uniform(0, 6)
    # One field of noise, seen at another place on every frame, is ten times cheaper than a new one.
    field = rng.standard_normal((height_px + 64, width_px + 64, 3), dtype=np.float32) * np.float32(_NOISE)
    for index, (y, x) in enumerate(rng.integers(0, 64, size=(len(frames), 2))):
        light = np.float32(1 + 0.04 * np.sin(0.1 * index + phase))
        noise = field[y : y + height_px, x : x + width_px]
        frames[index] = np.clip(frames[index] * light + noise, 0, 255).astype(np.uint8)
