"""Samples straight from the shards: masks are drawn anew each time, and all is encoded on the fly."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from vpdata.backbones.codec import LatentCodec
from vpdata.backbones.latent_masks import pack, union_over_groups
from vpdata.backbones.port import FirstFrame
from vpdata.backbones.text_encoder import TextEncoder, pad_text
from vpdata.dataset.latents import CLIP_TEXT, WindowName
from vpdata.dataset.reader import Dataset
from vpdata.dataset.training_windows import TrainingWindow, WindowSettings, plan_windows
from vpdata.errors import ConfigError
from vpdata.media.mask_mix import MaskMix, around_an_object
from vpdata.records import Record
from vpdata.stages.masked_windows import MaskedWindow, masked_windows
from vpdata.train import randomness
from vpdata.train.batch import Batch, IdSource
from vpdata.train.captions import TextSettings, caption_of
from vpdata.train.plan import BatchPlan, numbered
from vpdata.train.planned import LoaderSettings, PlannedBatches, UnusableSample
from vpdata.train.runs import ClipFacts

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineSettings:
    """What is cut from the clips, and which masks are drawn."""

    windows: WindowSettings = field(default_factory=WindowSettings)
    masks: MaskMix = field(default_factory=MaskMix)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedWindow:
    """What one sample is made of."""

    clip: ClipFacts
    names: tuple[WindowName, ...]
    """One window; or the target and the source of an ID pair."""
    num_frames: tuple[int, ...]
    """Of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelItem:
    """One sample before it is encoded."""

    target: MaskedWindow
    """With one variant."""
    source: MaskedWindow | None
    caption: str
    clip_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelBatch:
    """Samples of one micro-batch before they are encoded; `Batch` says what the tensors become."""

    video: Tensor
    """uint8 [B, F, H, W, 3] RGB."""
    hole: Tensor
    """bool [B, F, H, W]"""
    packed_mask: Tensor
    source_video: Tensor | None
    """As `video`."""
    source_mask: Tensor | None
    """As `packed_mask`."""
    captions: tuple[str, ...]
    ordinals: tuple[int, ...]
    clip_ids: tuple[str, ...]
    mask_kinds: tuple[str, ...]


class OnlineSource:
    """Windows of clips as samples: decoded, cropped and masked on threads, encoded by the caller."""

    def __init__(
        self,
        datasets: Sequence[Dataset],
        windows: Sequence[PlannedWindow],
        *,
        codec: LatentCodec,
        text_encoder: TextEncoder,
        settings: OnlineSettings,
        text: TextSettings,
        seed: int,
    ) -> None:
        self._datasets, self._windows = datasets, windows
        self._codec, self._text_encoder = codec, text_encoder
        self._settings, self._text, self._seed = settings, text, seed

    def load(self, window: int, *, ordinal: int) -> PixelItem:
        """See `SampleSource`; a clip is unusable without a track, and where its mask is empty."""
        planned = self._windows[window]
        sample = self._datasets[planned.clip.run][planned.clip.position]
        if not sample.record.tracks:
            raise UnusableSample("no track", sample.id)
        drawn, dropped = masked_windows(
            sample.record,
            sample.mp4,
            settings=self._settings.windows,
            num_variants=1,
            masks=self._settings.masks,
            pair_masks=around_an_object(self._settings.masks),
            seed=randomness.seed_of(self._seed, ordinal=ordinal, purpose="mask"),
            spec=self._codec.spec,
            names=planned.names,
        )
        if len(drawn) < len(planned.names):
            raise UnusableSample("empty mask", f"{sample.id}: {dropped[-1].detail if dropped else 'its window'}")
        named = {one.name: one for one in drawn}
        target = named[planned.names[0]]
        return PixelItem(
            target=target,
            source=named.get("source"),
            caption=self._caption(sample.record, target, ordinal=ordinal),
            clip_id=sample.id,
        )

    def join(self, samples: Sequence[PixelItem], *, ordinals: Sequence[int]) -> PixelBatch:
        """See `SampleSource`."""
        targets = [one.target for one in samples]
        sources = [one.source for one in samples if one.source]
        return PixelBatch(
            video=_stacked([one.frames for one in targets]),
            hole=_stacked([one.variants[0].mask for one in targets]),
            packed_mask=self._packed(targets),
            source_video=_stacked([one.frames for one in sources]) if sources else None,
            source_mask=self._packed(sources) if sources else None,
            captions=tuple(one.caption for one in samples),
            ordinals=tuple(ordinals),
            clip_ids=tuple(one.clip_id for one in samples),
            mask_kinds=tuple(one.variants[0].kind for one in targets),
        )

    def finish(self, joined: PixelBatch) -> Batch:
        """Encode video, masked video, first frame and captions; the batch is where the encoders are."""
        codec = self._codec
        text = pad_text(self._text_encoder.encode(joined.captions), length=codec.spec.text_length)
        video = _scaled(joined.video.to(text.device))
        hole = joined.hole.to(text.device).unsqueeze(1)
        source = None
        if joined.source_video is not None and joined.source_mask is not None:
            source_video = _scaled(joined.source_video.to(text.device))
            source = IdSource(
                video=codec.encode(source_video),
                packed_mask=joined.source_mask.to(text.device),
                first_frame=self._first_frame(source_video),
            )
        return Batch(
            video=codec.encode(video),
            masked=codec.encode(video.masked_fill(hole, 0.0)),  # grey
            packed_mask=joined.packed_mask.to(text.device),
            text=text,
            first_frame=self._first_frame(video),
            source=source,
            ordinals=joined.ordinals,
            clip_ids=joined.clip_ids,
            mask_kinds=joined.mask_kinds,
        )

    def _first_frame(self, video: Tensor) -> FirstFrame | None:
        if not self._codec.spec.takes_first_frame:
            return None
        return self._codec.first_frame(video[:, :, 0], num_frames=video.shape[2])

    def _caption(self, record: Record, window: MaskedWindow, *, ordinal: int) -> str:
        # Backwards, so that the first caption of a scope wins: a list's own comes after ours.
        texts = {
            CLIP_TEXT if caption.scope is None else str(caption.scope): caption.text
            for caption in reversed(record.captions or ())
        }
        (variant,) = window.variants
        name = caption_of(
            variant.tracks, kind=variant.kind, texts=texts, settings=self._text, seed=self._seed, ordinal=ordinal
        )
        return "" if name is None else texts[name]

    def _packed(self, windows: Sequence[MaskedWindow]) -> Tensor:
        spec = self._codec.spec
        unions = [union_over_groups(one.variants[0].mask, stride_t=spec.stride_t) for one in windows]
        return pack(_stacked([union.view(np.uint8) for union in unions]), stride_px=spec.stride_px)


def online_batches(
    datasets: Sequence[Dataset],
    clips: Sequence[ClipFacts],
    *,
    codec: LatentCodec,
    text_encoder: TextEncoder,
    pairs: bool = False,
    settings: OnlineSettings,
    text: TextSettings,
    loader: LoaderSettings,
    seed: int,
    rank: int = 0,
    world_size: int = 1,
) -> PlannedBatches[PixelItem, PixelBatch]:
    """Batches of one rank from those `clips` of some data sets.

    pairs: as in `latent_batches`. Clips that are too short for a window are left out, with a warning that counts them.
    ConfigError where that leaves none, or where the backbone does not take the windows' size.
    """
    spec, size = codec.spec, settings.windows
    windows = plan_clips(clips, size, pairs=pairs, stride_t=spec.stride_t)
    for num_frames in sorted({num_frames for one in windows for num_frames in one.num_frames}):
        spec.latent_shape(num_frames, size.height_px, size.width_px)
    plan = BatchPlan(
        numbered(pa.chunked_array([[str(one.num_frames) for one in windows]])),
        numbered(pa.chunked_array([[one.clip.shard for one in windows]])),
        seed=seed,
        batch_size=loader.batch_size,
        shards_per_block=loader.shards_per_block,
    )
    source = OnlineSource(
        datasets, windows, codec=codec, text_encoder=text_encoder, settings=settings, text=text, seed=seed
    )
    return PlannedBatches(plan, source, settings=loader, rank=rank, world_size=world_size)


def plan_clips(
    clips: Sequence[ClipFacts], settings: WindowSettings, *, pairs: bool, stride_t: int
) -> list[PlannedWindow]:
    """The windows that are trained on: the first and the last of each clip, or its ID pair."""

    # Most clips are of one length; planning each of 390,000 by itself takes minutes.
    @lru_cache(maxsize=4096)
    def named(num_frames: int, fps: Fraction) -> dict[WindowName, TrainingWindow]:
        plan = plan_windows(num_frames, fps, settings, stride_t=stride_t)
        return {window.name: window for window in plan.windows}

    wanted: list[tuple[WindowName, ...]] = [("target", "source")] if pairs else [("first",), ("last",)]
    windows, num_short = [], 0
    for clip in clips:
        found = named(clip.num_frames, clip.fps)
        num_before = len(windows)
        for names in wanted:
            if set(names) <= set(found):
                lengths = tuple(found[name].num_frames for name in names)
                windows.append(PlannedWindow(clip=clip, names=names, num_frames=lengths))
        num_short += len(windows) == num_before
    if num_short:
        _log.warning("%d of %d clips are too short for a window of this stage and are left out", num_short, len(clips))
    if not windows:
        raise ConfigError(
            f"none of the {len(clips)} clips is long enough for a window of this stage; see `windows` in the settings"
        )
    return windows


def _stacked(arrays: Sequence[np.ndarray]) -> Tensor:
    stacked = torch.from_numpy(np.stack(arrays))
    return stacked.pin_memory() if torch.cuda.is_available() else stacked


def _scaled(frames: Tensor) -> Tensor:
    """uint8 [B, F, H, W, 3] to float32 [B, 3, F, H, W] in [-1, 1]."""
    return frames.permute(0, 4, 1, 2, 3).float() / 127.5 - 1
