"""Training of the context encoder and of the ID adapter on the frozen small backbone, with the trainer's own loss."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from benchmark.studies.fitting import compile_blocks, fit
from benchmark.studies.settings import EncoderVariant, StudySettings
from benchmark.studies.windows import TrainingWindows
from vpdata.backbones.context_encoder import ContextEncoder, ContextEncoderSettings
from vpdata.backbones.identity_adapter import IdentityAdapter, IdentitySettings, IdentitySource
from vpdata.backbones.injector import InjectionSettings
from vpdata.backbones.inpainting import Context, InpaintingBackbone
from vpdata.backbones.latent_masks import cells
from vpdata.backbones.port import Backbone
from vpdata.train import randomness
from vpdata.train.batch import Batch
from vpdata.train.loss import LossSettings, velocity_loss
from vpdata.train.trainee import conditions_of


def train_encoder(
    backbone: Backbone, windows: TrainingWindows, settings: StudySettings, variant: EncoderVariant
) -> InpaintingBackbone:
    """The published stage 1, on random windows with holes."""
    with torch.random.fork_rng():
        torch.manual_seed(variant.seed)
        encoder = ContextEncoder(backbone, ContextEncoderSettings(num_layers=variant.num_layers))
    model = InpaintingBackbone(backbone, encoder, InjectionSettings(background_only=variant.background_only))
    if settings.is_compiled:
        compile_blocks([*backbone.blocks, *cast(Iterable[nn.Module], encoder.blocks)])
    fit(
        encoder.parameters(),
        lambda step: _loss(model, windows.batch(step).to(settings.device, torch.float32), seed=variant.seed),
        num_steps=settings.variant_steps if variant.is_short else settings.encoder_steps,
        rate=settings.learning_rate,
        what=variant.name,
    )
    encoder.requires_grad_(False)
    return model


def train_adapter(
    model: InpaintingBackbone, windows: TrainingWindows, settings: StudySettings, *, seed: int
) -> IdentityAdapter:
    """Stage 2, with the encoder frozen: the object is hidden in one window and known from the window before it."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        adapter = IdentityAdapter(model.backbone, IdentitySettings(rank=16, alpha=16))
    model.identity = adapter

    def loss_of(step: int) -> Tensor:
        batch = windows.pairs(step).to(settings.device, torch.float32)
        return _loss(model, batch, seed=seed, source=identity_source(model, batch, seed=seed))

    parameters = adapter.parameters()
    fit(parameters, loss_of, num_steps=settings.adapter_steps, rate=settings.learning_rate, what="ID adapter")
    for parameter in parameters:
        parameter.requires_grad_(False)
    model.forget_identity()
    return adapter


def identity_source(model: InpaintingBackbone, batch: Batch, *, seed: int) -> IdentitySource:
    """The batch's source windows, which end where its targets begin, at low noise."""
    assert batch.source is not None
    assert model.identity is not None
    objective, clean = model.backbone.objective, batch.source.video
    timesteps = objective.timesteps(torch.full((len(batch),), model.identity.settings.source_noise)).to(clean.device)
    noise = randomness.noise(clean.shape[1:], seed=seed + 1, ordinals=batch.ordinals).to(clean)
    return IdentitySource(
        latents=objective.add_noise(clean, noise, timesteps),
        timesteps=timesteps,
        conditions=conditions_of(batch),
        object_cells=cells(batch.source.packed_mask),
        first_latent_frame=-clean.shape[2],
    )


def context_of(batch: Batch) -> Context:
    """What the encoder is told of a batch."""
    return Context(masked=batch.masked, packed_mask=batch.packed_mask)


def _loss(model: InpaintingBackbone, batch: Batch, *, seed: int, source: IdentitySource | None = None) -> Tensor:
    objective = model.backbone.objective
    noise = randomness.noise(batch.video.shape[1:], seed=seed, ordinals=batch.ordinals).to(batch.video)
    draws = randomness.uniform("timestep", seed=seed, ordinals=batch.ordinals)
    timesteps = objective.timesteps(draws).to(batch.video.device)
    noisy = objective.add_noise(batch.video, noise, timesteps)
    prediction = model(noisy, timesteps, conditions_of(batch), context_of(batch), source)
    target = objective.target(batch.video, noise, timesteps)
    return velocity_loss(prediction, target, cells(batch.packed_mask), settings=LossSettings()).total.mean()
