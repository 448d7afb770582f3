"""The ID adapter: LoRA on the backbone's self-attention, trained to read an object's identity from another window."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from diffusers.loaders.peft import PeftAdapterMixin
from peft import LoraConfig, get_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from vpdata.backbones.identity import IdentityStore, Scope, gather_positions
from vpdata.backbones.identity_attention import (
    CogVideoXIdentityAttention,
    HunyuanIdentityAttention,
    LTXIdentityAttention,
    WanIdentityAttention,
)
from vpdata.backbones.port import Backbone, Conditions

NAME = "identity"
"""Of the LoRA in the transformer."""
_ATTENTION = {
    "cogvideox": CogVideoXIdentityAttention,
    "wan": WanIdentityAttention,
    "ltx": LTXIdentityAttention,
    "hunyuan": HunyuanIdentityAttention,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentitySettings:
    """Shape of the ID adapter."""

    rank: int = 256
    alpha: int = 128
    """The LoRA's scale is alpha / rank."""
    scope: Scope = "id_only"
    """id_only: LoRA on keys and values of identity tokens alone, so that without any the backbone is exactly itself;
    joint: on queries, keys, values and outputs of all tokens, as published."""
    max_tokens: int = 2048
    """Identity tokens per window; more are thinned out evenly."""
    source_noise: float = 0.02
    """How noisy a source is, as a draw of the training's timesteps in [0, 1): the same in training and inference."""

    def __post_init__(self) -> None:
        if self.rank < 1 or self.max_tokens < 1:
            raise ValueError(f"got rank {self.rank} and max_tokens {self.max_tokens}, wanted 1 or more of both")
        if not 0 <= self.source_noise < 1:
            raise ValueError(f"got source_noise {self.source_noise}, wanted 0 or more, and less than 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentitySource:
    """A window of the same video whose object lends its identity."""

    latents: Tensor
    """[B, C, F, h, w], noisy at `timesteps`, which should be low."""
    timesteps: Tensor
    """[B]"""
    conditions: Conditions
    object_cells: Tensor
    """[B, 1, F, h, w], 1 where a latent cell shows the object."""
    first_latent_frame: int
    """Where the source begins on the time axis of the window that will look at it; negative before it."""


class IdentityAdapter:
    """Puts LoRA and attention processors into a backbone; until a source is captured, nothing is looked at."""

    def __init__(self, backbone: Backbone, settings: IdentitySettings) -> None:
        """A new adapter, whose second matrices are zero; its parameters are float32 and the only ones that train."""
        self.settings = settings
        self.backbone = backbone
        self._store = IdentityStore(scope=settings.scope)
        projections = ("to_k", "to_v") if settings.scope == "id_only" else ("to_q", "to_k", "to_v", "to_out.0")
        names = "|".join(map(re.escape, projections))
        transformer = cast(PeftAdapterMixin, backbone.transformer)
        transformer.add_adapter(
            LoraConfig(
                r=settings.rank,
                lora_alpha=settings.alpha,
                # Hunyuan's blocks have one attention. Those with one stream for video and text lack `to_out`.
                target_modules=rf"(single_)?(transformer_)?blocks\.\d+\.attn1?\.({names})",
            ),
            adapter_name=NAME,
        )
        for parameter in self.parameters():
            parameter.data = parameter.data.float()
        for layer in backbone.transformer.modules():
            if isinstance(layer, LoraLayer):
                _compute_in_dtype_of_input(layer)
        for index, block in enumerate(backbone.blocks):
            attention: Any = getattr(block, "attn1", None) or block.attn
            attention.set_processor(_ATTENTION[backbone.spec.family](self._store, block=index))

    def parameters(self) -> list[nn.Parameter]:
        """All that is trained."""
        return [parameter for parameter in self.backbone.transformer.parameters() if parameter.requires_grad]

    def state_dict(self, tensors: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """The LoRA's tensors by PEFT's names; `tensors`, by the transformer's names, stand in for sharded ones."""
        return get_peft_model_state_dict(self.backbone.transformer, state_dict=tensors, adapter_name=NAME)

    @torch.no_grad()
    def capture(self, source: IdentitySource) -> int:
        """Take the object's tokens from a pass over the source; the passes that follow look at them until `clear`.

        Returns how many tokens were taken for the item that has most; 0 where none shows its object.
        """
        self._store.clear()
        gathered = gather_positions(self.backbone.tokens_in(source.object_cells), max_tokens=self.settings.max_tokens)
        if gathered is None:
            return 0
        grid = self.backbone.spec.grid(tuple(source.latents.shape))
        start_frame = source.first_latent_frame // self.backbone.spec.patch[0]
        rotary = self.backbone.rotary(grid, start_frame=start_frame, device=source.latents.device)
        with self._store.capture(gathered, rotary):
            self.backbone.predict(source.latents, source.timesteps, source.conditions)
        return gathered.positions.shape[1]

    def clear(self) -> None:
        """Forget the captured tokens."""
        self._store.clear()


def _compute_in_dtype_of_input(layer: Any) -> None:
    """Let a LoRA with float32 weights multiply as its projection does: PEFT would do it in float32.

    There a joint adapter would keep a copy of each projection's input in float32 for the backward pass, and GPUs
    multiply many times slower. Training and inference round alike.
    """
    forward = layer.forward
    layer.cast_input_dtype_enabled = False

    def in_its_dtype(tokens: Tensor) -> Tensor:
        with torch.autocast(tokens.device.type, dtype=tokens.dtype, enabled=tokens.dtype != torch.float32):
            return forward(tokens)

    layer.forward = in_its_dtype
