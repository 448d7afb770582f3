"""A backbone with its context encoder, and its ID adapter where there is one: from noisy latents to a velocity."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from vpdata.backbones.context_encoder import ContextEncoder
from vpdata.backbones.identity_adapter import IdentityAdapter, IdentitySource
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

    def __init__(
        self,
        backbone: Backbone,
        encoder: ContextEncoder,
        injection: InjectionSettings,
        *,
        identity: IdentityAdapter | None = None,
    ) -> None:
        """`identity` is an adapter that was put into the same backbone."""
        super().__init__()
        self.backbone = backbone
        self.transformer = backbone.transformer
        self.encoder = encoder
        self.injection = injection
        self.injector = Injector(backbone, injection, num_hints=len(encoder.outputs))
        self.identity = identity

    def forward(
        self,
        noisy: Tensor,
        timesteps: Tensor,
        conditions: Conditions,
        context: Context,
        source: IdentitySource | None = None,
    ) -> Tensor:
        """The velocity `[B, C, F, h, w]`; with a `source`, its identity is captured first and stays captured.

        The hints live until the next call, for a backward pass with activation checkpoints needs them.
        """
        if source is not None:
            self.capture_identity(source)
        noisy = self.backbone.with_given(noisy, conditions)
        hints = self.encoder(noisy, context.masked, context.packed_mask, timesteps=timesteps, conditions=conditions)
        self.injector.set(hints, cells(context.packed_mask))
        return self.backbone.predict(noisy, timesteps, conditions)

    def capture_identity(self, source: IdentitySource) -> int:
        """Let the passes that follow look at an object of another window; see `IdentityAdapter.capture`.

        The source passes through the backbone alone, for all of it is known. ValueError without an ID adapter.
        """
        if self.identity is None:
            raise ValueError("got a source of identity, but this model has no ID adapter")
        self.injector.clear()
        return self.identity.capture(source)

    def forget_identity(self) -> None:
        """Look at nothing but the window itself."""
        if self.identity is not None:
            self.identity.clear()
