"""A small Wan of our own: made, pretrained on whole windows, saved in diffusers' layout beside its codec."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from torch import Tensor

from benchmark.studies.clips import Clip
from benchmark.studies.fitting import compile_blocks, fit
from benchmark.studies.linear_codec import STRIDE_PX, STRIDE_T, LinearCodec, fit_codec, load_codec
from benchmark.studies.settings import StudySettings
from benchmark.studies.windows import TEXT_DIM, TrainingWindows, no_text
from vpdata.backbones.loading import load_backbone
from vpdata.backbones.port import Backbone, Conditions
from vpdata.backbones.settings import BackboneSettings
from vpdata.backbones.wan import Wan
from vpdata.models.torch_settings import Device
from vpdata.train import randomness

_SCHEDULER = {
    "_class_name": "FlowMatchEulerDiscreteScheduler",
    "num_train_timesteps": 1000,
    "shift": 2.0,
}
_CODEC_FILE = "codec.safetensors"


def new_backbone(settings: StudySettings, *, seed: int) -> Wan:
    """Random weights, with the output layer at zero."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        transformer = WanTransformer3DModel(
            num_attention_heads=settings.num_heads,
            attention_head_dim=settings.head_dim,
            in_channels=settings.channels,
            out_channels=settings.channels,
            text_dim=TEXT_DIM,
            freq_dim=64,
            ffn_dim=4 * settings.num_heads * settings.head_dim,
            num_layers=settings.num_blocks,
        )
    torch.nn.init.zeros_(transformer.proj_out.weight)
    return Wan(transformer, scheduler=_SCHEDULER, vae=_vae_config(settings.channels))


def pretrained(
    folder: Path, clips: Sequence[Clip], settings: StudySettings, *, seed: int = 0
) -> tuple[Backbone, LinearCodec]:
    """The backbone in `folder`, or a new one that is pretrained and saved there."""
    if not (folder / _CODEC_FILE).is_file():
        backbone = new_backbone(settings, seed=seed)
        codec = fit_codec([clip.frames[:13] for clip in clips[:600]], spec=backbone.spec)
        pretrain(
            backbone, TrainingWindows(clips, codec, batch_size=settings.batch_size, seed=seed), settings, seed=seed
        )
        save(folder, backbone, codec)
    return load(folder, device=settings.device)


def pretrain(backbone: Backbone, windows: TrainingWindows, settings: StudySettings, *, seed: int) -> list[float]:
    """Flow matching on whole windows: the mean squared error of the velocity, and nothing that knows of holes."""
    backbone.transformer.requires_grad_(True).to(settings.device)
    if settings.is_compiled:
        compile_blocks(backbone.blocks)

    def loss_of(step: int) -> Tensor:
        clean, ordinals = windows.latents(step).to(settings.device), windows.ordinals(step)
        noise = randomness.noise(clean.shape[1:], seed=seed, ordinals=ordinals).to(clean)
        draws = randomness.uniform("timestep", seed=seed, ordinals=ordinals)
        timesteps = backbone.objective.timesteps(draws).to(clean.device)
        noisy = backbone.objective.add_noise(clean, noise, timesteps)
        velocity = backbone.predict(noisy, timesteps, Conditions(text=no_text(len(clean)).to(clean)))
        return (velocity - backbone.objective.target(clean, noise, timesteps)).square().mean()

    losses = fit(
        backbone.transformer.parameters(),
        loss_of,
        num_steps=settings.pretrain_steps,
        rate=settings.learning_rate,
        what="backbone",
    )
    backbone.transformer.requires_grad_(False)
    return losses


def save(folder: Path, backbone: Wan, codec: LinearCodec) -> None:
    """transformer/, scheduler/, vae/config.json, and last the codec."""
    backbone.transformer.save_pretrained(folder / "transformer")
    _write_json(folder / "scheduler" / "scheduler_config.json", _SCHEDULER)
    _write_json(folder / "vae" / "config.json", _vae_config(backbone.spec.latent_channels))
    codec.save(folder / _CODEC_FILE)


def load(folder: Path, *, device: Device) -> tuple[Backbone, LinearCodec]:
    """What `save` wrote, by the same loader as published backbones."""
    backbone = load_backbone(BackboneSettings(weights=str(folder.resolve()), device=device, dtype="float32"))
    return backbone, load_codec(folder / _CODEC_FILE, spec=backbone.spec)


def _vae_config(channels: int) -> dict[str, Any]:
    """What `Wan` asks of a VAE; the codec itself is the study's own."""
    return {
        "_class_name": "AutoencoderKLWan",
        "z_dim": channels,
        "scale_factor_temporal": STRIDE_T,
        "scale_factor_spatial": STRIDE_PX,
    }


def _write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n")
