"""Videos of what a training makes of held-out clips, by a process of its own that looks on.

It reads the training's checkpoints and holds a backbone of its own, so that no process of the training ever waits for
it. A checkpoint's videos appear as a whole folder or not at all.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vpdata.backbones.loading import fingerprint, load_backbone
from vpdata.backbones.sampler import KnownLatents, Velocity, guided, sample
from vpdata.backbones.text_encoder import pad_text
from vpdata.errors import RunError, StorageError
from vpdata.media.clips import ClipWriter
from vpdata.models.gpu import torch_dtype
from vpdata.train import randomness
from vpdata.train.batch import Batch
from vpdata.train.checkpoints import load_trained, whole_steps
from vpdata.train.data import open_data
from vpdata.train.empty_text import empty_text
from vpdata.train.parallel import ParallelSettings, lay_out
from vpdata.train.pixels import open_decoder, pixels_of
from vpdata.train.record import check_same
from vpdata.train.settings import TrainSettings
from vpdata.train.train import open_trainee
from vpdata.train.trainee import conditions_of, predict_in_context
from vpdata.train.world import World, joined_world

_POLL_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSettings:
    """What is sampled at each checkpoint."""

    num_clips: int = 4
    """Held-out clips, the same at every checkpoint; all where they are fewer."""
    num_steps: int = 50
    """Of the sampler."""
    guidance: float = 6.0
    """Scale of classifier-free guidance; 1 is none and takes half the time."""

    def __post_init__(self) -> None:
        if self.num_clips < 1 or self.num_steps < 1 or self.guidance < 1:
            raise ValueError(
                f"got num_clips {self.num_clips}, num_steps {self.num_steps} and guidance {self.guidance}, wanted 1 or "
                "more of each"
            )


def write_samples(settings: TrainSettings, sampling: SampleSettings, *, follow: bool = False) -> Iterator[Path]:
    """Sample the newest checkpoint, if that is not done yet, and yield the folder of its videos.

    With `follow` also those that come later, until the last step's; of several that come while one is sampled, only the
    newest. RunError where there is no checkpoint and `follow` is not set, or that of another training.
    """
    checkpoints = Path(settings.output, "checkpoints")
    if not follow and not whole_steps(checkpoints):
        raise RunError(f"{checkpoints} holds no whole checkpoint yet; --follow waits for one")
    with joined_world(settings.backbone.device) as world:
        painter = _Painter(settings, sampling, world=world)
        while True:
            step = max(whole_steps(checkpoints), default=0)  # none is ever written at step 0
            folder = Path(settings.output, "samples", f"step-{step:08d}")
            if step and not folder.exists():
                if load_trained(checkpoints, step, painter.trainee):
                    _write(folder, painter.videos())
                    yield folder
            elif not follow or step == settings.num_steps:
                return
            else:
                time.sleep(_POLL_S)


class _Painter:
    """The model of a training beside its held-out clips."""

    def __init__(self, settings: TrainSettings, sampling: SampleSettings, *, world: World) -> None:
        self._settings, self._sampling = settings, sampling
        self._device, self._dtype = world.device, torch_dtype(settings.backbone.dtype)
        output = Path(settings.output)
        self._data = open_data(
            settings.data,
            backbone=settings.backbone,
            output=output,
            pairs=settings.stage == "id_adapter",
            seed=settings.seed,
            world=world,
        )
        self._empty_text = empty_text(output, backbone=settings.backbone, world=world)
        self._backbone = load_backbone(settings.backbone)
        self.trainee = open_trainee(settings, self._backbone, fingerprint(settings.backbone))
        self._model = lay_out(self.trainee, settings=ParallelSettings(), dtype=settings.backbone.dtype, world=world)
        self._decode = open_decoder(settings.backbone)

    def videos(self) -> Iterator[tuple[str, bytes]]:
        """Id and mp4 of each clip: as it is, with its hole, and as the model fills it, side by side.

        The hole is not pasted into the clip, so that what the model does around it is seen too.
        """
        check_same(self._settings, facts={"windows": self._data.digest})
        seen = set[str]()
        for batch in chain.from_iterable(self._data.held_out().epoch(0)):
            if seen >= set(batch.clip_ids):
                continue
            batch = batch.to(self._device, self._dtype)
            panels = self._decode(torch.cat([batch.video, batch.masked, self._filled(batch)])).chunk(3)
            for place, clip_id in enumerate(batch.clip_ids):
                if clip_id not in seen:
                    seen.add(clip_id)
                    yield clip_id, _mp4([pixels_of(panel[place]) for panel in panels], fps=self._data.fps)
                if len(seen) == self._sampling.num_clips:
                    return

    def _filled(self, batch: Batch) -> Tensor:
        """Latents from noise, with the model told what training tells it."""
        text = pad_text([self._empty_text] * len(batch), length=batch.text.shape[1])
        noise = randomness.noise(batch.video.shape[1:], seed=self._settings.seed, ordinals=batch.ordinals)
        known = None
        if given := self._backbone.num_given_frames(conditions_of(batch)):
            hole = torch.ones_like(batch.video[:, :1])
            hole[:, :, :given] = 0
            known = KnownLatents(clean=batch.video, hole=hole)
        if self.trainee.capture is not None:
            # Once, and with its text for the pass without text too, as inpainting does.
            self.trainee.capture(batch)
        return sample(
            guided(
                self._velocity(batch),
                self._velocity(replace(batch, text=text.to(batch.text))),
                scale=self._sampling.guidance,
            ),
            noise.to(batch.video),
            self._backbone.objective_for(batch.video.shape),
            num_steps=self._sampling.num_steps,
            known=known,
        )

    def _velocity(self, batch: Batch) -> Velocity:
        predict = self.trainee.predict if self.trainee.capture is None else predict_in_context
        return lambda noisy, timesteps: predict(self._model, batch, noisy, timesteps)


def _mp4(panels: list[NDArray[np.uint8]], *, fps: Fraction) -> bytes:
    """Videos uint8 [F, H, W, 3] RGB side by side."""
    frames = np.concatenate(panels, axis=2)
    writer = ClipWriter(width_px=frames.shape[2], height_px=frames.shape[1], fps=fps)
    for frame in frames:
        writer.write(frame)
    return writer.finish()


def _write(folder: Path, videos: Iterator[tuple[str, bytes]]) -> None:
    aside = folder.with_name(f".aside-{folder.name}")
    try:
        if aside.exists():
            shutil.rmtree(aside)
        aside.mkdir(parents=True)
        for clip_id, mp4 in videos:
            (aside / f"{clip_id}.mp4").write_bytes(mp4)
        os.rename(aside, folder)
    except OSError as error:
        raise StorageError(f"cannot write {folder}: {error.strerror or error}") from error
