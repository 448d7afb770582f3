"""The windows of a clip at the size of a backbone, each with masks drawn for it."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vpdata.backbones.spec import BackboneSpec
from vpdata.dataset.latents import WindowName
from vpdata.dataset.training_windows import TrainingWindow, WindowSettings, plan_windows
from vpdata.errors import Reason, RejectItem
from vpdata.media.clips import ClipReader
from vpdata.media.crop import fit
from vpdata.media.mask_mix import MaskMix, draw_mask
from vpdata.media.masks import decode_masks
from vpdata.records import Record

Frames = NDArray[np.uint8]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One mask of a window."""

    mask: BoolArray
    """bool [F, H, W], True = hole; in the source of an ID pair, True = the object."""
    kind: str
    tracks: tuple[int, ...]
    """Ids of the tracks that it was made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedWindow:
    """One window as it is encoded."""

    name: WindowName
    pair: WindowName | None
    start_frame: int
    frames: Frames
    """uint8 [F, H, W, 3] RGB."""
    variants: tuple[Variant, ...]

    @property
    def num_bytes(self) -> int:
        """Of pixels and masks."""
        return self.frames.nbytes + sum(variant.mask.nbytes for variant in self.variants)


class _Fitted(NamedTuple):
    """A window's pixels and tracks at the backbone's size."""

    plan: TrainingWindow
    start_frame: int
    frames: Frames
    masks: BoolArray
    """bool [K, F, H, W]"""


def masked_windows(
    record: Record,
    media: bytes,
    *,
    settings: WindowSettings,
    num_variants: int,
    masks: MaskMix,
    pair_masks: MaskMix,
    seed: int,
    spec: BackboneSpec,
    names: Collection[WindowName] = ("first", "last", "target", "source"),
) -> tuple[tuple[MaskedWindow, ...], tuple[RejectItem, ...]]:
    """The windows `names` of a clip with tracks, and what it gave no window for.

    Masks are a function of the seed, the clip's id, the window's name and the number of the variant. Where the backbone
    is given a first frame, no mask covers that. A variant without a pixel is left out, and a window without a variant.
    """
    plan = plan_windows(record.clip.num_frames, record.clip.fps, settings, stride_t=spec.stride_t)
    windows: list[MaskedWindow] = []
    dropped = [RejectItem(Reason.NO_WINDOW, why) for why in plan.missing]
    reader = ClipReader(media, sha256=record.clip.sha256)
    ids = [track.id for track in record.tracks or ()]
    named = {one.name: one for one in plan.windows if one.name in names}
    for name in ("first", "last"):
        if name not in named:
            continue
        (window,) = _fitted(record, reader, [named[name]], settings)
        variants = _drawn(window, ids, masks, num_variants, key=f"{record.id}.{name}", seed=seed, spec=spec)
        if variants:
            windows.append(_masked(window, variants, pair=None))
        else:
            dropped.append(RejectItem(Reason.EMPTY_MASK, f"no object is seen in the window {name!r}"))
    if "target" in named:
        # Cut out alike, as at inference, where both are windows of one video.
        source, target = _fitted(record, reader, [named["source"], named["target"]], settings)
        pairs = _drawn_pairs(source, target, ids, pair_masks, num_variants, clip=record.id, seed=seed, spec=spec)
        if pairs:
            windows.append(_masked(target, [pair[1] for pair in pairs], pair="source"))
            windows.append(_masked(source, [pair[0] for pair in pairs], pair="target"))
        else:
            dropped.append(RejectItem(Reason.EMPTY_MASK, "no object is seen in both windows of the ID pair"))
    return tuple(windows), tuple(dropped)


def _fitted(
    record: Record, reader: ClipReader, plans: Sequence[TrainingWindow], settings: WindowSettings
) -> list[_Fitted]:
    """Windows that follow each other, with one crop for all."""
    clip = record.clip
    spans = [plan.frames(clip.fps) for plan in plans]
    indices = [index for span in spans for index in span]
    masks = np.stack(
        [
            decode_masks([track.masks[index] for index in indices], height_px=clip.height_px, width_px=clip.width_px)
            for track in record.tracks or ()
        ]
    )
    frames, masks = fit(reader.read(indices), masks, height_px=settings.height_px, width_px=settings.width_px)
    ends = np.cumsum([len(span) for span in spans])[:-1]
    return [
        _Fitted(plan, span[0], own_frames, own_masks)
        for plan, span, own_frames, own_masks in zip(
            plans, spans, np.split(frames, ends), np.split(masks, ends, axis=1), strict=True
        )
    ]


def _drawn(
    window: _Fitted, ids: Sequence[int], mix: MaskMix, num_variants: int, *, key: str, seed: int, spec: BackboneSpec
) -> list[Variant]:
    variants = []
    for number in range(num_variants):
        drawn = draw_mask(list(window.masks), mix, stride_t=spec.stride_t, seed=seed, key=f"{key}.{number}")
        mask = _without_given_frame(drawn.mask, spec)
        if mask.any():
            variants.append(Variant(mask=mask, kind=drawn.kind, tracks=tuple(ids[index] for index in drawn.tracks)))
    return variants


def _drawn_pairs(
    source: _Fitted,
    target: _Fitted,
    ids: Sequence[int],
    mix: MaskMix,
    num_variants: int,
    *,
    clip: str,
    seed: int,
    spec: BackboneSpec,
) -> list[tuple[Variant, Variant]]:
    """Masks of source and target that show the same object; the objects take turns in a random order."""
    seen = [
        index
        for index, mask in enumerate(target.masks)
        if _without_given_frame(mask, spec).any() and source.masks[index].any()
    ]
    if not seen:
        return []
    digest = hashlib.sha256(f"{seed}.{clip}.pair".encode()).digest()
    order = np.random.default_rng(list(digest)).permutation(seen)
    pairs = []
    for number in range(num_variants):
        index = int(order[number % len(order)])
        drawn = draw_mask([target.masks[index]], mix, stride_t=spec.stride_t, seed=seed, key=f"{clip}.target.{number}")
        hole = _without_given_frame(drawn.mask, spec)
        if hole.any():
            shown = Variant(mask=source.masks[index], kind="track", tracks=(ids[index],))
            pairs.append((shown, Variant(mask=hole, kind=drawn.kind, tracks=(ids[index],))))
    return pairs


def _without_given_frame(mask: BoolArray, spec: BackboneSpec) -> BoolArray:
    if not spec.takes_first_frame:
        return mask
    mask = mask.copy()
    mask[0] = False
    return mask


def _masked(window: _Fitted, variants: Sequence[Variant], *, pair: WindowName | None) -> MaskedWindow:
    return MaskedWindow(
        name=window.plan.name,
        pair=pair,
        start_frame=window.start_frame,
        # A copy: the other window of a pair would keep the pixels of both.
        frames=np.ascontiguousarray(window.frames),
        variants=tuple(variants),
    )
