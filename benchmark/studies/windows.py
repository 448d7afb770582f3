"""Batches of windows with holes, drawn from clips by seed and ordinal alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.footage import scene
from benchmark.studies.clips import WINDOW_FRAMES, Clip
from benchmark.studies.linear_codec import STRIDE_PX, STRIDE_T, LinearCodec, to_video
from vpdata.backbones.latent_masks import pack, union_over_groups
from vpdata.media.mask_mix import KindWeights, MaskMix, continued, draw_mask
from vpdata.train.batch import Batch, IdSource
from vpdata.train.randomness import seed_of

BoolArray = NDArray[np.bool_]
TEXT_DIM = 8
SHAPES = MaskMix(
    weights=KindWeights(track=0, tracks=0, all_tracks=0, box=1, ellipse=1, brush=1, davis=1, inverted=0, full_frame=0),
    own_path_frac=1.0,
    continued_frac=0.0,
)
OBJECTS = MaskMix(
    weights=KindWeights(track=1, tracks=0, all_tracks=0, box=0, ellipse=0, brush=0, davis=0, inverted=0, full_frame=0),
    erode_frac=0.0,
    continued_frac=0.0,
)
HoleKind = Literal["passer-by", "shape", "object"]
"""passer-by: the outline of an object that crosses another clip, as if it were to be removed, so that the truth is
known and much of what it hides is seen in other frames; shape: a box, ellipse, brush strokes or smooth shape that
wanders slowly; object: an object of the clip with a rim, which is seen nowhere else in the window."""
_KIND_SHARES: dict[HoleKind, float] = {"passer-by": 0.5, "shape": 0.25, "object": 0.25}
_CONTINUED_FRAC = MaskMix().continued_frac
_PASSING_FRAMES = 18
"""In which a passer-by crosses the whole frame."""
_NUM_PASSERS_BY = 2000
"""To train on: drawing one for each window took a third of a step."""


def draw_hole(
    clip_tracks: BoolArray, kind: HoleKind, *, key: str, passers_by: Sequence[BoolArray] | None = None
) -> BoolArray:
    """Bool `[F, H, W]` for a window with these tracks `[K, F, H, W]`; without `passers_by` one is drawn anew."""
    num_frames, height_px, width_px = clip_tracks.shape[1:]
    if kind != "passer-by":
        return draw_mask(
            list(clip_tracks), SHAPES if kind == "shape" else OBJECTS, stride_t=STRIDE_T, seed=0, key=key
        ).mask
    random = np.random.default_rng(list(hashlib.sha256(key.encode()).digest()))
    if passers_by is None:
        passing = draw_passer_by(random, height_px=height_px, width_px=width_px)
    else:
        passing = passers_by[int(random.integers(len(passers_by)))]
    start = int(random.integers(_PASSING_FRAMES - num_frames + 1))
    return passing[start : start + num_frames]


def draw_passer_by(random: np.random.Generator, *, height_px: int, width_px: int) -> BoolArray:
    """Bool `[18, H, W]`: the outline of an object that crosses the frame."""
    footage = scene(
        "plain",
        seed=int(random.integers(2**31)),
        num_frames=_PASSING_FRAMES,
        height_px=height_px,
        width_px=width_px,
        size_frac=random.uniform(0.25, 0.45),
    )
    return footage.masks[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Pixels of a window and its hole."""

    frames: NDArray[np.uint8]
    """uint8 [F, H, W, 3]."""
    hole: BoolArray
    """bool [F, H, W]."""


def packed(masks: Sequence[BoolArray]) -> Tensor:
    """Pixel masks, bool `[F, H, W]` each, as the encoder takes them: `[B, 16, F', h, w]`."""
    unions = np.stack([union_over_groups(mask, stride_t=STRIDE_T) for mask in masks])
    return pack(torch.from_numpy(unions).float(), stride_px=STRIDE_PX)


def to_batch(windows: Sequence[Window], codec: LinearCodec, *, ordinals: Sequence[int]) -> Batch:
    """Latents of the windows, and of the windows with grey in their holes."""
    video = to_video(np.stack([window.frames for window in windows]))
    known = torch.from_numpy(~np.stack([window.hole for window in windows])).unsqueeze(1)
    return Batch(
        video=codec.encode(video),
        masked=codec.encode(video * known),
        packed_mask=packed([window.hole for window in windows]),
        text=no_text(len(windows)),
        ordinals=tuple(ordinals),
        clip_ids=tuple(map(str, ordinals)),
        mask_kinds=("",) * len(windows),
    )


def no_text(batch: int) -> Tensor:
    """One empty token per item: these backbones were trained without captions."""
    return torch.zeros(batch, 1, TEXT_DIM)


class TrainingWindows:
    """Windows of training clips, at random times, mirrored, and played backwards."""

    def __init__(self, clips: Sequence[Clip], codec: LinearCodec, *, batch_size: int, seed: int) -> None:
        self._clips, self._codec = clips, codec
        self._with_objects = [clip for clip in clips if clip.shows_object_twice]
        self._batch_size, self._seed = batch_size, seed
        height_px, width_px = clips[0].frames.shape[1:3]
        random = np.random.default_rng((seed, 11))
        self._passers_by = [
            draw_passer_by(random, height_px=height_px, width_px=width_px)
            for _ in range(min(_NUM_PASSERS_BY, 4 * len(clips)))
        ]

    def latents(self, step: int) -> Tensor:
        """Whole windows, for pretraining: `[B, C, F', h, w]`."""
        frames = [self._drawn(self._clips, ordinal)[0] for ordinal in self.ordinals(step)]
        return self._codec.encode(to_video(np.stack(frames)))

    def batch(self, step: int) -> Batch:
        """Windows with holes."""
        windows, ordinals = [], self.ordinals(step)
        for ordinal in ordinals:
            frames, tracks = self._drawn(self._clips, ordinal)
            kind = self._kind(ordinal, has_object=bool(tracks.any()))
            hole = draw_hole(tracks, kind, key=f"{self._seed}.{ordinal}", passers_by=self._passers_by)
            windows.append(Window(frames=frames, hole=self._continued(hole, ordinal)))
        return to_batch(windows, self._codec, ordinals=ordinals)

    def pairs(self, step: int) -> Batch:
        """Second windows of clips with the object hidden, and the first windows to know it from.

        Colours are swapped, so that they can be known from the first window alone, not from other training clips.
        """
        ordinals = self.ordinals(step)
        drawn = [self._drawn(self._with_objects, ordinal, whole=True) for ordinal in ordinals]
        return pair_batch(drawn, self._codec, ordinals=ordinals)

    def _kind(self, ordinal: int, *, has_object: bool) -> HoleKind:
        draw = np.random.default_rng(seed_of(self._seed, ordinal=ordinal, purpose="variant"))
        kind: HoleKind = draw.choice(list(_KIND_SHARES), p=list(_KIND_SHARES.values()))
        return "passer-by" if kind == "object" and not has_object else kind

    def _continued(self, hole: BoolArray, ordinal: int) -> BoolArray:
        """For some windows, the hole as it is where one goes on from the window before."""
        rng = np.random.default_rng((self._seed, ordinal, 13))
        return continued(rng, hole, stride_t=STRIDE_T) if rng.random() < _CONTINUED_FRAC else hole

    def ordinals(self, step: int) -> list[int]:
        """Of the samples of a step."""
        return list(range(step * self._batch_size, (step + 1) * self._batch_size))

    def _drawn(
        self, clips: Sequence[Clip], ordinal: int, *, whole: bool = False
    ) -> tuple[NDArray[np.uint8], BoolArray]:
        rng = np.random.default_rng(seed_of(self._seed, ordinal=ordinal, purpose="crop"))
        clip = clips[int(rng.integers(len(clips)))]
        start = 0 if whole else int(rng.integers(len(clip.frames) - WINDOW_FRAMES + 1))
        span = slice(start, len(clip.frames) if whole else start + WINDOW_FRAMES)
        frames, tracks = clip.frames[span], clip.tracks[:, span]
        if whole:
            frames = frames[..., rng.permutation(3)]
        if rng.random() < 0.5:
            frames, tracks = frames[:, :, ::-1], tracks[..., ::-1]
        if rng.random() < 0.5:
            frames, tracks = frames[::-1], tracks[:, ::-1]
        return np.ascontiguousarray(frames), np.ascontiguousarray(tracks)


def pair_batch(
    clips: Sequence[tuple[NDArray[np.uint8], BoolArray]], codec: LinearCodec, *, ordinals: Sequence[int]
) -> Batch:
    """Target and source of frames `[26, H, W, 3]` with tracks `[K, 26, H, W]`, by the first object of each."""
    targets = [
        target_of(frames, tracks, ordinal=ordinal) for (frames, tracks), ordinal in zip(clips, ordinals, strict=True)
    ]
    sources = np.stack([frames[:WINDOW_FRAMES] for frames, _ in clips])
    source = IdSource(
        video=codec.encode(to_video(sources)), packed_mask=packed([tracks[0][:WINDOW_FRAMES] for _, tracks in clips])
    )
    return replace(to_batch(targets, codec, ordinals=ordinals), source=source)


def target_of(frames: NDArray[np.uint8], tracks: BoolArray, *, ordinal: int) -> Window:
    """The second window of a clip, with its first object hidden."""
    hole = draw_hole(tracks[:1, WINDOW_FRAMES:], "object", key=f"pair {ordinal}")
    return Window(frames=frames[WINDOW_FRAMES:], hole=hole)
