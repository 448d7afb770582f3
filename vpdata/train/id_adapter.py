"""Stage 2: the ID adapter, on a frozen backbone with a frozen context encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from vpdata.backbones.flops import id_step_flops
from vpdata.backbones.identity_adapter import IdentityAdapter, IdentitySettings, IdentitySource
from vpdata.backbones.identity_saving import save_id_adapter
from vpdata.backbones.inpainting import Context, InpaintingBackbone
from vpdata.backbones.latent_masks import cells
from vpdata.backbones.port import Backbone, Conditions
from vpdata.errors import ConfigError
from vpdata.train import randomness
from vpdata.train.batch import Batch
from vpdata.train.trainee import Trainee, conditions_of, training_data

Scheme = Literal["other_window", "same_window"]
"""other_window: identity from a disjoint window before, at low noise as at inference; same_window: from the target
itself at its own noise, as VideoPainter trained it, for ablation."""


def id_adapter_trainee(
    inpainting: InpaintingBackbone,
    *,
    identity: IdentitySettings,
    scheme: Scheme,
    seed: int,
    splits: Sequence[Mapping[str, str]] | None = None,
) -> Trainee:
    """`inpainting` is the result of stage 1; `seed` decides the adapter's first weights and the noise of sources.

    `splits`: `identities` of what is held out, as `save` writes it; None where that is not known.
    """
    backbone = inpainting.backbone
    with torch.random.fork_rng(devices=[]):
        # The same on every rank, and after every resume.
        torch.manual_seed(randomness.seed_of(seed, ordinal=0, purpose="initial weights"))
        adapter = IdentityAdapter(backbone, identity)
    inpainting.identity = adapter
    inpainting.encoder.requires_grad_(False)

    def predict(model: nn.Module, batch: Batch, noisy: Tensor, timesteps: Tensor) -> Tensor:
        if scheme == "same_window":
            source = _same_window(batch, noisy, timesteps)
        else:
            source = _other_window(batch, backbone, identity, seed=seed)
        context = Context(masked=batch.masked, packed_mask=batch.packed_mask)
        return model(noisy, timesteps, conditions_of(batch), context, source)

    def capture(batch: Batch) -> None:
        inpainting.capture_identity(_other_window(batch, backbone, identity, seed=seed))

    @cache
    def sample_flops(latent_shape: tuple[int, ...]) -> float:
        return id_step_flops(
            backbone.spec,
            backbone.transformer.config,  # pyright: ignore[reportArgumentType]  every model of diffusers has one
            latent_shape,
            num_layers=len(inpainting.encoder.blocks),
            identity=identity,
            # Upper bounds: a source window may be shorter, and the object's tokens differ from sample to sample.
            source_shape=latent_shape,
            num_id_tokens=identity.max_tokens,
        ).model

    def save(folder: Path, tensors: Mapping[str, Tensor]) -> None:
        save_id_adapter(folder, adapter, tensors, training_data=training_data(splits))

    return Trainee(
        name="id_adapter",
        backbone=backbone,
        model=inpainting,
        trainable=backbone.transformer,
        encoder=inpainting.encoder,
        predict=predict,
        sample_flops=sample_flops,
        capture=capture if scheme == "other_window" else None,
        save=save,
    )


def _other_window(batch: Batch, backbone: Backbone, identity: IdentitySettings, *, seed: int) -> IdentitySource:
    source = batch.source
    if source is None:
        raise ConfigError("the ID adapter is trained on ID pairs, but this batch has no source")
    latents = source.video
    objective = backbone.objective_for(latents.shape)
    draws = latents.new_full((len(batch),), identity.source_noise).float()
    timesteps = objective.timesteps(draws)
    noise = randomness.noise(latents.shape[1:], seed=seed, ordinals=batch.ordinals, purpose="identity")
    return IdentitySource(
        latents=objective.add_noise(latents, noise.to(latents), timesteps),
        timesteps=timesteps,
        conditions=Conditions(text=batch.text, first_frame=source.first_frame),
        object_cells=cells(source.packed_mask),
        # The source ends where the target begins.
        first_latent_frame=-latents.shape[2],
    )


def _same_window(batch: Batch, noisy: Tensor, timesteps: Tensor) -> IdentitySource:
    return IdentitySource(
        latents=noisy,
        timesteps=timesteps,
        conditions=conditions_of(batch),
        object_cells=cells(batch.packed_mask),
        first_latent_frame=0,
    )
