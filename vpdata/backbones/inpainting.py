"""A backbone with its context encoder: one call from noisy latents to a velocity."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from vpdata.backbones.context_encoder import ContextEncoder
from vpdata.backbones.injector import InjectionSettings, Injector
from vpdata.backbones.latent_masks import cells
from vpdata.backbones.port import Backbone, Conditions


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What is known of the video around the hole."""

    masked: Tensor
    """[B, C, F, h, w]: latents of the video with its hole filled with grey (0)."""
    packed_mask: Tensor
    """[B, stride_px**2, F, h, w] in {0, 1}, 1 = hole; see `latent_masks.pack`."""


class InpaintingBackbone(nn.Module):
    """The frozen backbone, the context encoder, and the hooks between them."""

    def __init__(self, backbone: Backbone, encoder: ContextEncoder, injection: InjectionSettings) -> None:
        super().__init__()
        self.backbone = backbone
        self.transformer = backbone.transformer
        self.encoder = encoder
        self.injector = Injector(backbone, injection, num_hints=len(encoder.outputs))

    def forward(self, noisy: Tensor, timesteps: Tensor, conditions: Conditions, context: Context) -> Tensor:
        """The velocity `[B, C, F, h, w]`.

        The hints live until the next call, for a backward pass with activation checkpoints needs them.
        """
        hints = self.encoder(noisy, context.masked, context.packed_mask, timesteps=timesteps, conditions=conditions)
        self.injector.set(hints, cells(context.packed_mask))
        return self.backbone.predict(noisy, timesteps, conditions)
