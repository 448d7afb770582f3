"""The loss of one micro-batch: noise and timesteps from the samples' ordinals, prediction, and comparison."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vpdata.backbones.latent_masks import cells
from vpdata.train import randomness
from vpdata.train.batch import Batch
from vpdata.train.loss import Loss, LossSettings, velocity_loss
from vpdata.train.trainee import Trainee, conditions_of

NUM_BINS = 10
"""Timestep bins of the logged loss: tenths of the training distribution, from little to much noise."""
VALIDATION_DRAWS = tuple((2 * k + 1) / 16 for k in range(8))
"""Where the validation loss is taken: the middles of eighths of the training distribution of timesteps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLoss:
    """Losses of a micro-batch, and the timestep bin of each sample."""

    loss: Loss
    bins: Tensor
    """int64 [B] in [0, NUM_BINS)."""


def training_loss(
    trainee: Trainee, model: nn.Module, batch: Batch, *, seed: int, dtype: torch.dtype, settings: LossSettings
) -> StepLoss:
    """Loss at a timestep drawn for each sample. `model` is the trainee's, or what it is wrapped in."""
    draws = randomness.uniform("timestep", seed=seed, ordinals=batch.ordinals)
    loss = _loss(trainee, model, batch, draws, seed=seed, dtype=dtype, settings=settings)
    bins = (draws * NUM_BINS).long().to(loss.total.device)
    return StepLoss(loss=loss, bins=bins)


@torch.no_grad()
def validation_loss(
    trainee: Trainee, model: nn.Module, batch: Batch, *, seed: int, dtype: torch.dtype, settings: LossSettings
) -> Tensor:
    """Loss `[B, 8]` at the eight fixed timesteps, each with the sample's own noise."""
    losses = [
        _loss(trainee, model, batch, torch.full((len(batch),), draw), seed=seed, dtype=dtype, settings=settings).total
        for draw in VALIDATION_DRAWS
    ]
    return torch.stack(losses, dim=1)


def _loss(
    trainee: Trainee,
    model: nn.Module,
    batch: Batch,
    draws: Tensor,
    *,
    seed: int,
    dtype: torch.dtype,
    settings: LossSettings,
) -> Loss:
    objective = trainee.backbone.objective_for(batch.video.shape)
    device = next(iter(trainee.parameters().values())).device
    noise = randomness.noise(batch.video.shape[1:], seed=seed, ordinals=batch.ordinals)
    if device.type == "cuda":
        noise = noise.pin_memory()
    noise = noise.to(device=device, dtype=dtype, non_blocking=True)
    timesteps = objective.timesteps(draws).to(device)
    batch = batch.to(device, dtype)
    noisy = objective.add_noise(batch.video, noise, timesteps)
    target = objective.target(batch.video, noise, timesteps)
    prediction = trainee.predict(model, batch, noisy, timesteps)
    given = trainee.backbone.num_given_frames(conditions_of(batch))
    hole = cells(batch.packed_mask)
    return velocity_loss(prediction[:, :, given:], target[:, :, given:], hole[:, :, given:], settings=settings)
