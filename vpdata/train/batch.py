"""What the training loop gets from a data source: batches of latents, the same number on every rank."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from vpdata.backbones.port import FirstFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class IdSource:
    """Another window of the same clips, disjoint from the target, that shows the object whose tokens are gathered."""

    video: Tensor
    """[B, C, F, h, w]: its clean latents; F may differ from the target's."""
    packed_mask: Tensor
    """[B, P, F, h, w] in {0, 1}, 1 = the object; see `latent_masks.pack`."""
    first_frame: FirstFrame | None = None
    """Given if and only if the backbone takes one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Samples of one bucket, all of one shape. Tensors are on the CPU until `to`, pinned where there is a GPU."""

    video: Tensor
    """[B, C, F, h, w]: clean latents, normalised as the family says."""
    masked: Tensor
    """[B, C, F, h, w]: latents of the video whose hole is filled with grey."""
    packed_mask: Tensor
    """[B, P, F, h, w] in {0, 1}, 1 = hole; see `latent_masks.pack`."""
    text: Tensor
    """[B, L, D]: one caption a sample, padded as the family pads; the empty caption's where it was dropped."""
    first_frame: FirstFrame | None = None
    """Given if and only if the backbone takes one."""
    source: IdSource | None = None
    """Given if and only if the plan is one of ID pairs."""
    ordinals: tuple[int, ...]
    """Place of each sample in the whole training: all of its randomness derives from the seed and this."""
    clip_ids: tuple[str, ...]
    mask_kinds: tuple[str, ...]
    """Which kind of the mask mix each sample's hole is."""

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.ordinals)

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Batch:
        """The same batch on a device, without waiting for the copy; floating point as `dtype`."""

        return self._with_tensors(lambda tensor: tensor.to(device=device, dtype=dtype, non_blocking=True))

    def pinned(self) -> Batch:
        """The same batch in memory that a GPU copies from without making the caller wait."""
        return self._with_tensors(Tensor.pin_memory)

    def _with_tensors(self, moved: Callable[[Tensor], Tensor]) -> Batch:
        source = self.source
        return replace(
            self,
            video=moved(self.video),
            masked=moved(self.masked),
            packed_mask=moved(self.packed_mask),
            text=moved(self.text),
            first_frame=_moved_first(self.first_frame, moved),
            source=source
            and IdSource(
                video=moved(source.video),
                packed_mask=moved(source.packed_mask),
                first_frame=_moved_first(source.first_frame, moved),
            ),
        )


def _moved_first(first: FirstFrame | None, moved: Callable[[Tensor], Tensor]) -> FirstFrame | None:
    if first is None:
        return None
    tokens = None if first.image_tokens is None else moved(first.image_tokens)
    return FirstFrame(latents=moved(first.latents), image_tokens=tokens)


class Batches(Protocol):
    """The batches of one rank: encoded beforehand (`latent_batches`) or on the fly (`online_batches`)."""

    skipped: Counter[str]
    """Samples of this rank that were replaced by another one, by reason."""

    def num_steps(self, epoch: int) -> int:
        """Optimizer steps of an epoch: the same on every rank and at every world size.

        0 in some epochs where all the windows are fewer than a batch, and the one before has taken those of this one.
        """
        ...

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[list[Batch]]:
        """For each optimizer step from `start` on, this rank's micro-batches, all of one size.

        (epoch, start) is the whole state of the data: the same pair gives the same samples in the same order,
        whichever run asks.
        """
        ...
