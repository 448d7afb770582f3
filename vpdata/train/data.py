"""From folders of latents to the batches of one rank: which clips are trained on, and which are watched."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vpdata.backbones.loading import fingerprint, read_spec
from vpdata.backbones.settings import BackboneSettings
from vpdata.dataset.latents import LatentDataset, open_latents
from vpdata.dataset.split import Split, read_split
from vpdata.errors import ConfigError
from vpdata.train.batch import Batches
from vpdata.train.captions import TextSettings
from vpdata.train.latent_batches import latent_batches
from vpdata.train.planned import LoaderSettings
from vpdata.train.world import World

_log = logging.getLogger(__name__)

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSettings:
    """What is trained on."""

    latents: str
    """Folder that `vpdata encode` wrote, local or on a store."""
    split: str
    """File of the clips that a benchmark holds out, or "none"."""
    validation_frac: float = 0.01
    """Share of the videos that are not trained on either, but watched; 0: none. At least one video otherwise."""
    loader: LoaderSettings = field(default_factory=LoaderSettings)
    text: TextSettings = field(default_factory=TextSettings)

    def __post_init__(self) -> None:
        if not 0 <= self.validation_frac < 1:
            raise ValueError(f"got validation_frac {self.validation_frac}, wanted 0 or more and less than 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """The batches of one rank."""

    train: Batches
    validation: Batches | None
    digest: str
    """16 hex of which windows are there: the order of a training follows from it."""


def open_data(
    settings: DataSettings, *, backbone: BackboneSettings, empty_text: Tensor, pairs: bool, seed: int, world: World
) -> Data:
    """Batches for this rank. `pairs`: those of ID pairs (stage 2). `empty_text`: see `LatentSource`.

    RunError for latents of another VAE or text encoder than the backbone's; ConfigError where no clip is left.
    """
    dataset = open_latents(settings.latents, fingerprint=fingerprint(backbone))
    text_length = read_spec(backbone).text_length
    trained, watched = _divided(dataset, read_split(settings.split), validation_frac=settings.validation_frac)

    def batches(clips: BoolArray, text: TextSettings) -> Batches:
        return latent_batches(
            dataset,
            clips,
            pairs=pairs,
            text=text,
            empty_text=empty_text,
            text_length=text_length,
            loader=settings.loader,
            seed=seed,
            rank=world.rank,
            world_size=world.size,
        )

    return Data(
        train=batches(trained, settings.text),
        validation=batches(watched, replace(settings.text, drop_frac=0.0)) if watched.any() else None,
        digest=_digest(dataset),
    )


def _divided(dataset: LatentDataset, split: Split, *, validation_frac: float) -> tuple[BoolArray, BoolArray]:
    """Which windows are trained on and which are watched, bool `[num_windows]` each; videos are never divided."""
    clip_ids = dataset.windows.table["clip_id"].to_pylist()
    video_ids = dataset.windows.table["video_id"].to_pylist()
    is_free = np.array(
        [not split.holds_out(clip, video_id=video) for clip, video in zip(clip_ids, video_ids, strict=True)], bool
    )
    videos = sorted({video for video, free in zip(video_ids, is_free, strict=True) if free}, key=_place)
    watched = set(videos[: int(np.ceil(validation_frac * len(videos)))])
    if len(watched) == len(videos):
        raise ConfigError(
            f"got {len(videos)} videos that are not held out, of which {len(watched)} are for validation: none is left "
            "to train on; encode more, or set data.validation_frac: 0"
        )
    is_watched = is_free & np.array([video in watched for video in video_ids], bool)
    _log.info("%d windows of %d videos, %d of them watched", is_free.sum(), len(videos), is_watched.sum())
    return is_free & ~is_watched, is_watched


def _place(video_id: str) -> bytes:
    """An order of videos that has nothing to do with where they come from, and that new ones do not change."""
    return hashlib.blake2b(video_id.encode(), digest_size=8).digest()


def _digest(dataset: LatentDataset) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for column in ("clip_id", "name", "num_variants"):
        digest.update(repr(dataset.windows.table[column].to_pylist()).encode())
    return digest.hexdigest()
