"""From the folders that are trained on to the batches of one rank; which clips are trained on, and which watched."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import compress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vpdata.backbones.loading import fingerprint, load_codec, load_text_encoder, read_spec
from vpdata.backbones.settings import BackboneSettings
from vpdata.dataset.latent_sets import open_latent_sets
from vpdata.dataset.latents import EncodedWindow
from vpdata.dataset.split import NO_SPLIT, joined, read_split
from vpdata.dataset.unsplit import warn_of_unsplit
from vpdata.errors import ConfigError
from vpdata.train.batch import Batches
from vpdata.train.captions import TextSettings
from vpdata.train.empty_text import empty_text
from vpdata.train.latent_batches import latent_batches
from vpdata.train.online_batches import OnlineSettings, online_batches
from vpdata.train.planned import LoaderSettings
from vpdata.train.runs import open_runs
from vpdata.train.world import World

_log = logging.getLogger(__name__)

BoolArray = NDArray[np.bool_]
_DECIDING = tuple(item.name for item in dataclasses.fields(EncodedWindow))
"""Columns of the latents' index that tell latents of another size, rate or mask mix apart, which the clips alone do
not. Where the bytes lie is not among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSettings:
    """What is trained on: exactly one of `latents` and `run`."""

    latents: str | tuple[str, ...] | None = None
    """Folder that `vpdata encode` wrote, local or on a store; or a list of such, in any order."""
    run: str | tuple[str, ...] | None = None
    """Folder that `vpdata build` wrote, or a list of such, in any order: clips are encoded on the fly, which costs VAE
    and text encoder their share of the GPU, and their masks are drawn anew each time."""
    online: OnlineSettings = field(default_factory=OnlineSettings)
    """How windows and masks are made from `run`."""
    split: str | tuple[str, ...]
    """File of the clips that a benchmark holds out, or a list of such, or "none"."""
    validation_frac: float = 0.01
    """Share of the videos that are not trained on either, but watched; 0: none. At least one video otherwise."""
    loader: LoaderSettings = field(default_factory=LoaderSettings)
    text: TextSettings = field(default_factory=TextSettings)

    def __post_init__(self) -> None:
        if (self.latents is None) == (self.run is None):
            raise ValueError(f"got latents {self.latents} and run {self.run}, wanted exactly one of the two")
        if not (self.folders and self.splits):
            raise ValueError(f"got the folders {self.folders} and the splits {self.splits}, wanted one or more of each")
        if NO_SPLIT in self.splits and len(self.splits) > 1:
            raise ValueError(f"got split {self.split}, wanted files, or none alone")
        if self.latents is not None and self.online != OnlineSettings():
            raise ValueError(
                "got settings of `online` for latents, wanted none: their windows and masks were drawn by `vpdata "
                "encode`, whose config has `encode.windows` and `encode.masks`; or give `run` instead of `latents`"
            )
        if not 0 <= self.validation_frac < 1:
            raise ValueError(f"got validation_frac {self.validation_frac}, wanted 0 or more and less than 1")

    @property
    def folders(self) -> tuple[str, ...]:
        """Those of `latents`, or else of `run`."""
        chosen = self.run if self.latents is None else self.latents
        assert chosen is not None
        return _listed(chosen)

    @property
    def splits(self) -> tuple[str, ...]:
        """The files of `split`, or "none"."""
        return _listed(self.split)


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """The batches of one rank."""

    train: Batches
    validation: Batches | None
    digest: str
    """16 hex of which windows are trained on, with their sizes and holes, and which watched."""
    fps: Fraction
    """Of all windows."""

    def held_out(self) -> Batches:
        """The validation's; ConfigError where there is none."""
        if self.validation is None:
            raise ConfigError("got data.validation_frac 0, wanted more: what is shown is what was not trained on")
        return self.validation


def open_data(
    settings: DataSettings, *, backbone: BackboneSettings, output: Path, pairs: bool, seed: int, world: World
) -> Data:
    """Batches for this rank. `pairs`: those of ID pairs (stage 2). What is made only once is kept in `output`.

    RunError for latents of another VAE or text encoder than the backbone's; ConfigError where no clip is left. Called
    by all ranks together.
    """
    open_one = _encoded if settings.latents is not None else _online
    data = open_one(settings, backbone, output, pairs, seed, world)
    with world.together("comparing data.split with what is trained on"):
        if world.is_main:
            warn_of_unsplit(settings.folders, settings.splits)
    told = read_spec(backbone).frame_rate
    if told is not None and not math.isclose(told, data.fps, rel_tol=1e-3):
        _log.warning(
            "the windows have %.4g frames a second, but this LTX is told %.4g and takes them for slower or faster than "
            "they are: set backbone.frame_rate to that of the windows",
            data.fps,
            told,
        )
    return data


def _encoded(
    settings: DataSettings, backbone: BackboneSettings, output: Path, pairs: bool, seed: int, world: World
) -> Data:
    folders = " and ".join(settings.folders)
    with world.together(f"opening {folders}"):
        dataset = open_latent_sets(settings.folders, fingerprint=fingerprint(backbone))
        text_length = read_spec(backbone).text_length
        table = dataset.windows.table
        clip_ids, video_ids = table["clip_id"].to_pylist(), table["video_id"].to_pylist()
        trained, watched = _divided(clip_ids, video_ids, settings)
        fps = _one_rate(table["fps"].unique().to_pylist(), folders)
    empty = empty_text(output, backbone=backbone, world=world)
    with world.together(f"planning batches of {folders}"):

        def batches(clips: BoolArray, text: TextSettings) -> Batches:
            return latent_batches(
                dataset,
                clips,
                pairs=pairs,
                text=text,
                empty_text=empty,
                text_length=text_length,
                loader=settings.loader,
                seed=seed,
                rank=world.rank,
                world_size=world.size,
            )

        return Data(
            train=batches(trained, settings.text),
            validation=batches(watched, _undropped(settings.text)) if watched.any() else None,
            digest=_digest([trained, watched], (table[name].to_pylist() for name in _DECIDING)),
            fps=fps,
        )


def _online(
    settings: DataSettings, backbone: BackboneSettings, output: Path, pairs: bool, seed: int, world: World
) -> Data:
    with world.together(f"opening {' and '.join(settings.folders)}"):
        datasets, clips = open_runs(settings.folders)
        codec, text_encoder = load_codec(backbone), load_text_encoder(backbone)
        clip_ids, video_ids = [clip.id for clip in clips], [clip.video_id for clip in clips]
        trained, watched = _divided(clip_ids, video_ids, settings)

        def batches(chosen: BoolArray, text: TextSettings) -> Batches:
            return online_batches(
                datasets,
                list(compress(clips, chosen)),
                codec=codec,
                text_encoder=text_encoder,
                pairs=pairs,
                settings=settings.online,
                text=text,
                loader=settings.loader,
                seed=seed,
                rank=world.rank,
                world_size=world.size,
            )

        return Data(
            train=batches(trained, settings.text),
            validation=batches(watched, _undropped(settings.text)) if watched.any() else None,
            digest=_digest([trained, watched], [clip_ids]),
            fps=settings.online.windows.fps,
        )


def _listed(one_or_several: str | Sequence[str]) -> tuple[str, ...]:
    return (one_or_several,) if isinstance(one_or_several, str) else tuple(one_or_several)


def _one_rate(rates: Sequence[str], folders: str) -> Fraction:
    """ConfigError for latents of different frame rates: a backbone is told of one, or of none."""
    if len(rates) > 1:
        raise ConfigError(
            f"{folders}: got windows of {' and '.join(sorted(rates))} frames a second, wanted one rate; encode them "
            "with the same encode.windows.fps, or train on one of them"
        )
    return Fraction(rates[0])


def _undropped(text: TextSettings) -> TextSettings:
    return replace(text, drop_frac=0.0)


def _divided(clip_ids: Sequence[str], video_ids: Sequence[str], settings: DataSettings) -> tuple[BoolArray, BoolArray]:
    """Which rows are trained on and which are watched, one bool each; videos are never divided."""
    if not clip_ids:
        raise ConfigError(
            f"{' and '.join(settings.folders)} is empty: it holds no clip to train on; its `*.rejects.parquet` say "
            "which were left out and why"
        )
    split = joined([read_split(uri) for uri in settings.splits])
    pairs = zip(clip_ids, video_ids, strict=True)
    is_free = np.array([not split.holds_out(clip, video_id=video) for clip, video in pairs], dtype=bool)
    videos = sorted(set(compress(video_ids, is_free)), key=_place)
    if not videos:
        raise ConfigError(
            f"all {len(set(video_ids))} videos are held out by data.split {' and '.join(settings.splits)}: none is "
            "left to train on"
        )
    watched = set(videos[: int(np.ceil(settings.validation_frac * len(videos)))])
    if len(watched) == len(videos):
        raise ConfigError(
            f"got {len(videos)} videos that are not held out, of which {len(watched)} are for validation: none is left "
            "to train on; encode more, or set data.validation_frac: 0"
        )
    is_watched = is_free & np.array([video in watched for video in video_ids], dtype=bool)
    _log.info("%d videos, %d of them for validation, %d rows held out", len(videos), len(watched), (~is_free).sum())
    return is_free & ~is_watched, is_watched


def _place(video_id: str) -> bytes:
    """An order of videos that has nothing to do with where they come from, and that new ones do not change."""
    return hashlib.blake2b(video_id.encode(), digest_size=8).digest()


def _digest(choices: Sequence[BoolArray], columns: Iterable[Sequence[object]]) -> str:
    """Of those rows of the columns that each choice takes. One column at a time: of a million windows each is large."""
    digest = hashlib.blake2b(digest_size=8)
    for column in columns:
        for chosen in choices:
            digest.update(repr(list(compress(column, chosen))).encode())
    return digest.hexdigest()
