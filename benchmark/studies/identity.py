"""The ID adapter across a window border: an object hidden in one window, and known from the window before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from benchmark.metrics.intervals import Interval, bootstrap
from benchmark.studies.clips import WINDOW_FRAMES, Clip
from benchmark.studies.fills import fill_by_replacement, fill_with_encoder, fill_with_opencv
from benchmark.studies.linear_codec import LinearCodec
from benchmark.studies.scores import hole_psnr
from benchmark.studies.settings import StudySettings
from benchmark.studies.trained_parts import identity_source
from benchmark.studies.windows import Window, pair_batch, target_of
from vpdata.backbones.inpainting import InpaintingBackbone
from vpdata.train.batch import Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class BorderScore:
    """One way of filling the second window."""

    name: str
    psnr: Interval
    """dB in the hole, which is the object with a rim."""
    colour_step: Interval
    """How far the object's mean colour is from that in the window before: Euclidean, in grey levels of 255."""
    psnrs: tuple[float, ...]
    """Per clip."""


def border_scores(
    clips: Sequence[Clip], model: InpaintingBackbone, codec: LinearCodec, settings: StudySettings
) -> list[BorderScore]:
    """Every method on the clips whose object is seen in both windows; `model` has its ID adapter."""
    ordinals = [index for index, clip in enumerate(clips) if clip.shows_object_twice]
    chosen = [clips[index] for index in ordinals]
    batches = [
        pair_batch(
            [(clip.frames, clip.tracks) for clip in chosen[at : at + 16]], codec, ordinals=ordinals[at : at + 16]
        ).to(settings.device, torch.float32)
        for at in range(0, len(chosen), 16)
    ]
    targets = [target_of(clip.frames, clip.tracks, ordinal=index) for clip, index in zip(chosen, ordinals, strict=True)]

    def sampled(batch: Batch, seed: int, *, row: str) -> NDArray[np.uint8]:
        model.forget_identity()
        if row == "latent replacement":
            model.injector.clear()
            return fill_by_replacement(model.backbone, codec, batch, seed=seed, steps=settings.sampling_steps)
        if row == "encoder and ID adapter":
            model.capture_identity(identity_source(model, batch, seed=seed))
        return fill_with_encoder(model, codec, batch, seed=seed, steps=settings.sampling_steps)

    scores = [
        _score("truth", [target.frames[None] for target in targets], chosen, targets),
        _score("Telea", [fill_with_opencv(target, method="telea")[None] for target in targets], chosen, targets),
    ]
    for row in ("latent replacement", "encoder", "encoder and ID adapter"):
        by_seed = [
            np.concatenate([sampled(batch, seed, row=row) for batch in batches]) for seed in range(settings.num_noises)
        ]
        scores.append(_score(row, list(np.stack(by_seed, axis=1)), chosen, targets))
    model.forget_identity()
    return scores


def borders_table(scores: Sequence[BorderScore]) -> str:
    """Markdown."""
    with_adapter = scores[-1]
    lines = ["| second window by | hole dB | colour step | adapter ahead by dB |", "| --- | --- | --- | --- |"]
    for score in scores:
        ahead = bootstrap(np.subtract(with_adapter.psnrs, score.psnrs).tolist())
        lines.append(
            f"| {score.name} | {score.psnr} | {score.colour_step} | {'' if score is with_adapter else ahead} |"
        )
    return "\n".join(lines)


def _score(
    name: str, fills: Sequence[NDArray[np.uint8]], clips: Sequence[Clip], targets: Sequence[Window]
) -> BorderScore:
    """`fills`: per clip uint8 [noise seeds, F, H, W, 3], over which scores are averaged."""
    psnrs, steps = [], []
    for of_clip, clip, target in zip(fills, clips, targets, strict=True):
        psnrs.append(np.mean([hole_psnr(fill, target.frames, target.hole) for fill in of_clip]))
        before = clip.frames[:WINDOW_FRAMES][clip.tracks[0][:WINDOW_FRAMES]].mean(axis=0)
        after = [fill[clip.tracks[0][WINDOW_FRAMES:]].mean(axis=0) for fill in of_clip]
        steps.append(np.mean([np.linalg.norm(colour - before) for colour in after]))
    return BorderScore(name=name, psnr=bootstrap(psnrs), colour_step=bootstrap(steps), psnrs=tuple(map(float, psnrs)))
