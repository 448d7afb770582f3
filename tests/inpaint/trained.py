"""Trained parts for tiny backbones, as `vpdata train` saves them."""

from __future__ import annotations

from pathlib import Path

import torch

from vpdata.backbones.context_encoder import ContextEncoder, ContextEncoderSettings
from vpdata.backbones.identity_adapter import IdentityAdapter, IdentitySettings
from vpdata.backbones.identity_saving import save_id_adapter
from vpdata.backbones.injector import InjectionSettings
from vpdata.backbones.loading import fingerprint, load_backbone
from vpdata.backbones.saving import save_context_encoder
from vpdata.backbones.settings import BackboneSettings, TinyName

SMALL = {
    "sampling": {"num_steps": 2, "guidance": 1.0},
    "windows": {"num_frames": 9, "overlap_frames": 5, "area_px": 64 * 96},
}
"""Settings that take seconds."""


def tiny(name: TinyName) -> BackboneSettings:
    return BackboneSettings(tiny=name, device="cpu", dtype="float32")


def save_encoder(folder: Path, name: TinyName, *, weight: float = 0.0) -> Path:
    """`weight` fills its output layers, which are zero in a new encoder."""
    backbone = load_backbone(tiny(name))
    encoder = ContextEncoder(backbone, ContextEncoderSettings())
    for output in encoder.outputs:
        torch.nn.init.constant_(output.weight, weight)
    save_context_encoder(
        folder,
        encoder.state_dict(),
        spec=backbone.spec,
        encoder=ContextEncoderSettings(),
        injection=InjectionSettings(),
        fingerprint=fingerprint(tiny(name)),
    )
    return folder


def save_adapter(folder: Path, name: TinyName) -> Path:
    """With random weights in both matrices of each layer."""
    backbone = load_backbone(tiny(name))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        adapter = IdentityAdapter(backbone, IdentitySettings(rank=2, alpha=2))
        for parameter in adapter.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    save_id_adapter(folder, adapter)
    return folder
