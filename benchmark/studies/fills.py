"""Every way of filling a hole that the study compares."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.methods.opencv import Algorithm, continue_inwards
from benchmark.studies.linear_codec import LinearCodec, to_frames
from benchmark.studies.trained_parts import context_of
from benchmark.studies.windows import Window
from vpdata.backbones.inpainting import InpaintingBackbone
from vpdata.backbones.latent_masks import cells
from vpdata.backbones.port import Backbone
from vpdata.backbones.sampler import KnownLatents, sample
from vpdata.train import randomness
from vpdata.train.batch import Batch
from vpdata.train.trainee import conditions_of


@torch.no_grad()
def fill_with_encoder(
    model: InpaintingBackbone, codec: LinearCodec, batch: Batch, *, seed: int, steps: int
) -> NDArray[np.uint8]:
    """The backbone with its context encoder: uint8 `[B, F, H, W, 3]`, as generated, known pixels included."""

    def velocity(noisy: Tensor, timesteps: Tensor) -> Tensor:
        return model(noisy, timesteps, conditions_of(batch), context_of(batch))

    latents = sample(velocity, _noise(batch, seed), model.backbone.objective, num_steps=steps)
    return to_frames(codec.decode(latents.cpu()))


@torch.no_grad()
def fill_by_replacement(
    backbone: Backbone, codec: LinearCodec, batch: Batch, *, seed: int, steps: int
) -> NDArray[np.uint8]:
    """The backbone alone: at every step the latents of the known cells are the truth, noised for that step."""
    known = KnownLatents(clean=batch.video, hole=cells(batch.packed_mask))

    def velocity(noisy: Tensor, timesteps: Tensor) -> Tensor:
        return backbone.predict(noisy, timesteps, conditions_of(batch))

    latents = sample(velocity, _noise(batch, seed), backbone.objective, num_steps=steps, known=known)
    return to_frames(codec.decode(latents.cpu()))


def fill_with_opencv(window: Window, *, method: Algorithm) -> NDArray[np.uint8]:
    """Each frame by itself from its own known pixels, around which the image is continued (radius 3 px)."""
    return continue_inwards(window.frames, window.hole, algorithm=method)


def _noise(batch: Batch, seed: int) -> Tensor:
    noise = randomness.noise(batch.video.shape[1:], seed=seed, ordinals=batch.ordinals)
    return noise.to(batch.video.device)
