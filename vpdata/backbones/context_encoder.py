"""The context encoder of VideoPainter (arXiv 2503.05639, section 3.2): a few copied blocks that see what must stay."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vpdata.backbones.port import Backbone, BlockState, Conditions
from vpdata.backbones.spec import BackboneSpec
from vpdata.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextEncoderSettings:
    """Size of the encoder."""

    num_layers: int = 2
    """Blocks copied from the start of the backbone; the paper compares 1, 2 and 4."""

    def __post_init__(self) -> None:
        if self.num_layers < 1:
            raise ValueError(f"got num_layers {self.num_layers}, wanted 1 or more")


class ContextEncoder(nn.Module):
    """Hints for the backbone's blocks from the noisy latents, the masked video's latents, and the packed mask.

    Everything in it is trained, and everything in it receives a gradient once its output layers have left zero.
    """

    def __init__(self, backbone: Backbone, settings: ContextEncoderSettings) -> None:
        """A new encoder for this backbone, whose first step changes nothing: its output layers are zero.

        ValueError where an adapter is in the backbone already, which would be copied with its blocks; ConfigError for
        more layers than it has blocks.
        """
        if settings.num_layers > len(backbone.blocks):
            raise ConfigError(
                f"got encoder.num_layers {settings.num_layers}, wanted at most the {len(backbone.blocks)} blocks that "
                "the backbone has to copy"
            )
        if any(parameter.requires_grad for parameter in backbone.transformer.parameters()):
            raise ValueError("the backbone holds trained parameters: open the context encoder before the ID adapter")
        super().__init__()
        spec = backbone.spec
        # Not a submodule: its frozen weights are neither ours to save nor to shard.
        self._backbone = (backbone,)
        self.patch_embedding = _patch_embedding(backbone)
        self.blocks = nn.ModuleList(copy.deepcopy(block) for block in backbone.blocks[: settings.num_layers])
        self.blocks[-1] = backbone.without_text_output(self.blocks[-1])
        self.outputs = nn.ModuleList(_zero_linear(spec.dim).to(self.patch_embedding.weight) for _ in self.blocks)
        self.requires_grad_(True)
        self.checkpoints_activations = False

    def forward(
        self, noisy: Tensor, masked: Tensor, packed_mask: Tensor, *, timesteps: Tensor, conditions: Conditions
    ) -> list[Tensor]:
        """One hint `[B, S, dim]` per layer.

        noisy, masked: `[B, C, F, h, w]` latents of the noisy and of the masked video; packed_mask:
        `[B, stride_px**2, F, h, w]` in {0, 1}, 1 = hole (see `latent_masks.pack`).
        """
        (backbone,) = self._backbone
        inputs = torch.cat([noisy, masked, packed_mask.to(noisy.dtype)], dim=1)
        tokens = self.patch_embedding(backbone.tokenise(inputs))
        grid = backbone.spec.grid(tuple(noisy.shape))
        state = backbone.first_state(tokens, grid=grid, timesteps=timesteps, conditions=conditions)
        hints = []
        for block, output in zip(self.blocks, self.outputs, strict=True):
            if self.checkpoints_activations and torch.is_grad_enabled():
                state = cast(BlockState, checkpoint(backbone.run_block, block, state, use_reentrant=False))
            else:
                state = backbone.run_block(block, state)
            hints.append(output(state.video).to(noisy.dtype))
        return hints


def num_input_channels(spec: BackboneSpec) -> int:
    """Noisy latents, masked latents, packed mask."""
    return 2 * spec.latent_channels + spec.mask_channels


def _zero_linear(dim: int) -> nn.Linear:
    linear = nn.Linear(dim, dim)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


def _patch_embedding(backbone: Backbone) -> nn.Linear:
    """The backbone's own embedding for the noisy and again for the masked latents; the mask starts without weight."""
    weight, bias = backbone.patch_weight()
    spec = backbone.spec
    mask_weight = weight.new_zeros(spec.dim, spec.mask_channels, *spec.patch)
    embedding = nn.Linear(num_input_channels(spec) * spec.patch[0] * spec.patch[1] * spec.patch[2], spec.dim)
    embedding = embedding.to(device=weight.device, dtype=weight.dtype)
    with torch.no_grad():
        embedding.weight.copy_(torch.cat([weight, weight, mask_weight], dim=1).flatten(1))
        embedding.bias.copy_(bias)
    return embedding
