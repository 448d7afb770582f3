"""A small training: random latents in place of encoded ones, and processes that train together."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch

from tests.backbones.small import small_backbone
from vpdata.backbones.port import Backbone
from vpdata.backbones.settings import BackboneSettings
from vpdata.train.batch import Batch, IdSource
from vpdata.train.checkpoints import CheckpointSettings
from vpdata.train.data import DataSettings
from vpdata.train.metrics import WatchSettings
from vpdata.train.schedule import OptimizerSettings
from vpdata.train.settings import TrainSettings


@dataclass
class RandomBatches:
    """Global batches of `micro * accumulate * world_size` samples; sample n is the same whoever asks for it."""

    backbone: Backbone
    rank: int = 0
    world_size: int = 1
    micro: int = 2
    accumulate: int = 1
    steps_per_epoch: int = 5
    pairs: bool = False
    """Each sample with another window that shows its object, the larger the longer its hole."""
    broken: frozenset[int] = frozenset()
    """Ordinals of samples whose latents are no numbers."""
    kills_at: int | None = None
    """Ordinal of a sample that takes its process with it."""
    skipped: Counter[str] = field(default_factory=Counter)

    def num_steps(self, epoch: int) -> int:
        return self.steps_per_epoch

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[list[Batch]]:
        size = self.micro * self.accumulate * self.world_size
        for step in range(start, self.steps_per_epoch):
            first = (epoch * self.steps_per_epoch + step) * size
            mine = list(range(first, first + size))[self.rank :: self.world_size]
            yield [self._batch(mine[at : at + self.micro]) for at in range(0, len(mine), self.micro)]

    def _batch(self, ordinals: list[int]) -> Batch:
        samples = [self._sample(ordinal) for ordinal in ordinals]
        video, masked, packed, text = (torch.stack(column) for column in zip(*samples, strict=True))
        return Batch(
            video=video,
            masked=masked,
            packed_mask=packed,
            text=text,
            source=IdSource(video=video.flip(-1)[:, :, :2], packed_mask=packed[:, :, :2]) if self.pairs else None,
            ordinals=tuple(ordinals),
            clip_ids=tuple(f"clip-{ordinal}" for ordinal in ordinals),
            mask_kinds=("box",) * len(ordinals),
        )

    def _sample(self, ordinal: int) -> list[torch.Tensor]:
        if ordinal == self.kills_at:
            os.kill(os.getpid(), signal.SIGKILL)
        spec = self.backbone.spec
        random = torch.Generator().manual_seed(ordinal)
        # Smooth latents: there is something to learn in them.
        video = torch.randn(spec.latent_channels, 1, 1, 1, generator=random).expand(-1, 3, 8, 12).contiguous()
        if ordinal in self.broken:
            video = video * float("nan")
        packed = torch.zeros(spec.mask_channels, 3, 8, 12)
        packed[:, :, 2:5, 3 : 5 + ordinal % 4] = 1
        text = torch.randn(spec.text_length, spec.text_dim, generator=random)
        return [video, video * (1 - packed[:1]), packed, text]


def settings_for(output: object, **changes: object) -> TrainSettings:
    values = {
        "num_steps": 12,
        "data": DataSettings(latents="not read", split="none"),
        "backbone": BackboneSettings(tiny="wan", device="cpu", dtype="float32"),
        "optimizer": OptimizerSettings(learning_rate=1e-3, warmup_steps=2),
        "checkpoints": CheckpointSettings(every_steps=4, keep_last=2),
        "watch": WatchSettings(log_every_steps=1, validate_every_steps=6, validation_steps=1),
    }
    return TrainSettings(output=str(output), **{**values, **changes})


def backbone() -> Backbone:
    return small_backbone("wan")
