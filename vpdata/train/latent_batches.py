"""Samples from latents that were encoded beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from vpdata.backbones.latent_masks import pack
from vpdata.backbones.port import FirstFrame
from vpdata.backbones.text_encoder import pad_text
from vpdata.dataset.latents import LatentDataset, LatentSample, LatentWindow, Windows
from vpdata.train import randomness
from vpdata.train.batch import Batch, IdSource
from vpdata.train.captions import TextSettings, caption_of
from vpdata.train.plan import BatchPlan, IntArray, numbered
from vpdata.train.planned import LoaderSettings, PlannedBatches, UnusableSample

_BUCKET_COLUMNS = ("num_frames", "height_px", "width_px", "fps")


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentItem:
    """One sample: the fields of `Batch` and its parts, each with a first axis of 1 but for the text."""

    video: Tensor
    masked: Tensor
    packed_mask: Tensor
    text: Tensor
    """[L, D], not padded yet."""
    first_frame: FirstFrame | None
    source: IdSource | None
    clip_id: str
    mask_kind: str


class LatentSource:
    """Windows of encoded latents as samples."""

    def __init__(
        self,
        dataset: LatentDataset,
        targets: Windows,
        sources: Windows | None,
        *,
        text: TextSettings,
        empty_text: Tensor,
        text_length: int,
        seed: int,
    ) -> None:
        """`sources` has the other window of each of the `targets`, or is None where none is wanted.

        empty_text: `[L, D]`, the embedding of the empty caption. text_length: the backbone's.
        """
        self._dataset, self._targets, self._sources = dataset, targets, sources
        self._text, self._empty_text, self._text_length = text, empty_text, text_length
        self._seed = seed

    def load(self, window: int, *, ordinal: int) -> LatentItem:
        """See `SampleSource`; a window none of whose masks holds a pixel is unusable."""
        target = self._targets[window]
        source = self._sources[window] if self._sources is not None else None
        variant = self._variant(target, source, ordinal)
        sample = self._dataset.read(target)
        caption = caption_of(
            target.variant_tracks[variant],
            kind=target.variant_kinds[variant],
            texts=sample.texts,
            settings=self._text,
            seed=self._seed,
            ordinal=ordinal,
        )
        return LatentItem(
            video=sample.video[None],
            masked=sample.masked[variant][None],
            packed_mask=self._packed(sample, variant),
            text=self._empty_text if caption is None else sample.texts[caption],
            first_frame=_first_frame(sample),
            source=source and self._id_source(source, variant),
            clip_id=target.clip_id,
            mask_kind=target.variant_kinds[variant],
        )

    def join(self, samples: Sequence[LatentItem], *, ordinals: Sequence[int]) -> Batch:
        """See `SampleSource`."""
        sources = [one.source for one in samples if one.source]
        batch = Batch(
            video=torch.cat([one.video for one in samples]),
            masked=torch.cat([one.masked for one in samples]),
            packed_mask=torch.cat([one.packed_mask for one in samples]),
            text=pad_text([one.text for one in samples], length=self._text_length),
            first_frame=_joined([one.first_frame for one in samples]),
            source=IdSource(
                video=torch.cat([one.video for one in sources]),
                packed_mask=torch.cat([one.packed_mask for one in sources]),
                first_frame=_joined([one.first_frame for one in sources]),
            )
            if sources
            else None,
            ordinals=tuple(ordinals),
            clip_ids=tuple(one.clip_id for one in samples),
            mask_kinds=tuple(one.mask_kind for one in samples),
        )
        return batch.pinned() if torch.cuda.is_available() else batch

    def finish(self, joined: Batch) -> Batch:
        """See `SampleSource`."""
        return joined

    def _variant(self, target: LatentWindow, source: LatentWindow | None, ordinal: int) -> int:
        """One of the masks that hold a pixel, in both windows where there are two."""
        is_usable = np.array(target.hole_fracs) > 0
        if source is not None:
            is_usable &= np.array(source.hole_fracs) > 0
        usable = list(compress(range(target.num_variants), is_usable))
        if not usable:
            raise UnusableSample("empty mask", f"{target.clip_id} {target.name}")
        draw = randomness.uniform("variant", seed=self._seed, ordinals=[ordinal])
        return usable[int(draw * len(usable))]

    def _packed(self, sample: LatentSample, variant: int) -> Tensor:
        union = torch.from_numpy(sample.union(variant).view(np.uint8))
        return pack(union[None], stride_px=self._dataset.facts.stride_px)

    def _id_source(self, window: LatentWindow, variant: int) -> IdSource:
        sample = self._dataset.read(window)
        return IdSource(
            video=sample.video[None], packed_mask=self._packed(sample, variant), first_frame=_first_frame(sample)
        )


def _first_frame(sample: LatentSample) -> FirstFrame | None:
    given = sample.first_frame
    if given is None:
        return None
    return FirstFrame(
        latents=given.latents[None], image_tokens=None if given.image_tokens is None else given.image_tokens[None]
    )


def _joined(first_frames: Sequence[FirstFrame | None]) -> FirstFrame | None:
    given = [one for one in first_frames if one is not None]
    tokens = [one.image_tokens for one in given if one.image_tokens is not None]
    if not given:
        return None
    return FirstFrame(
        latents=torch.cat([one.latents for one in given]), image_tokens=torch.cat(tokens) if tokens else None
    )


def latent_batches(
    dataset: LatentDataset,
    chosen: NDArray[np.bool_] | None = None,
    *,
    pairs: bool = False,
    text: TextSettings,
    empty_text: Tensor,
    text_length: int,
    loader: LoaderSettings,
    seed: int,
    rank: int = 0,
    world_size: int = 1,
) -> PlannedBatches[LatentItem, Batch]:
    """Batches of one rank from a folder of latents.

    chosen: which of `dataset.windows` may be taken, bool `[num_windows]`; None: all. pairs: train on the targets of ID
    pairs with their sources, or else on the first and last windows of the clips. ConfigError where that leaves none.
    """
    table = dataset.windows.table if chosen is None else dataset.windows.table.filter(pa.array(chosen))
    targets, sources = _pairs(table) if pairs else (_named(table, "first", "last"), None)
    plan = BatchPlan(
        _buckets(targets, sources),
        numbered(targets["shard"]),
        seed=seed,
        batch_size=loader.batch_size,
        shards_per_block=loader.shards_per_block,
    )
    source = LatentSource(
        dataset,
        Windows(targets),
        None if sources is None else Windows(sources),
        text=text,
        empty_text=empty_text,
        text_length=text_length,
        seed=seed,
    )
    return PlannedBatches(plan, source, settings=loader, rank=rank, world_size=world_size)


def _named(table: pa.Table, *names: str) -> pa.Table:
    return table.filter(pc.field("name").isin(names))


def _pairs(table: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The targets of ID pairs, and in the same rows their sources."""
    targets, sources = _named(table, "target"), _named(table, "source")
    places = pc.index_in(  # pyright: ignore[reportAttributeAccessIssue]  made when pyarrow is imported
        targets["clip_id"], value_set=sources["clip_id"].combine_chunks()
    )
    return targets.filter(places.is_valid()), sources.take(places.drop_null())


def _buckets(targets: pa.Table, sources: pa.Table | None) -> IntArray:
    columns = [targets[name] for name in _BUCKET_COLUMNS]
    return numbered(*columns, *([sources["num_frames"]] if sources is not None else []))
