"""HunyuanVideo, and SkyReels V1, its fine-tunes from text and from an image (Kong et al. 2024, arXiv 2412.03603)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers.models.transformers.transformer_hunyuan_video import (
    HunyuanVideoTransformer3DModel,
    HunyuanVideoTransformerBlock,
)
from torch import Tensor, nn

from vpdata.backbones.hunyuan_text import NUM_TOKENS
from vpdata.backbones.objective import objective_of
from vpdata.backbones.port import Backbone, BlockState, Conditions
from vpdata.backbones.rotary import Rotary, rotary_tables
from vpdata.backbones.spec import BackboneSpec
from vpdata.backbones.text_encoder import is_given

_GUIDANCE = 1000.0
"""The distilled guidance that it is told of: a scale of 1, times 1000 as its pipelines have it. So it predicts the
velocity of the data, which is what a training compares with; the sampler guides by a pass without text."""


def spec_of(transformer: Mapping[str, Any], vae: Mapping[str, Any]) -> BackboneSpec:
    """The spec from the `config.json` of the transformer and of the VAE."""
    patch = transformer["patch_size"]
    return BackboneSpec(
        family="hunyuan",
        num_blocks=transformer["num_layers"] + transformer["num_single_layers"],
        dim=transformer["num_attention_heads"] * transformer["attention_head_dim"],
        num_heads=transformer["num_attention_heads"],
        patch=(transformer["patch_size_t"], patch, patch),
        latent_channels=transformer["out_channels"],
        stride_t=vae["temporal_compression_ratio"],
        stride_px=vae["spatial_compression_ratio"],
        text_length=1 + NUM_TOKENS,
        text_dim=transformer["text_embed_dim"],
        takes_first_frame=transformer["in_channels"] > transformer["out_channels"],
        joins_text=True,
    )


class HunyuanVideo(Backbone):
    """A `HunyuanVideoTransformer3DModel`.

    Blocks with a stream each for video and text come first, blocks with one stream for both behind them; all of them
    take and return both hidden states. The first row of a text is CLIP's, see `HunyuanTextEncoder`.
    """

    transformer: HunyuanVideoTransformer3DModel

    def __init__(
        self, transformer: HunyuanVideoTransformer3DModel, *, scheduler: Mapping[str, Any], vae: Mapping[str, Any]
    ) -> None:
        """`scheduler` and `vae` are the configs of the checkpoint's other parts."""
        super().__init__(spec_of(transformer.config, vae), objective_of(scheduler), transformer)

    @property
    def blocks(self) -> list[nn.Module]:
        return [*self.transformer.transformer_blocks, *self.transformer.single_transformer_blocks]

    def predict(self, noisy: Tensor, timesteps: Tensor, conditions: Conditions) -> Tensor:
        latents = noisy
        if conditions.first_frame is not None:
            latents = torch.cat([noisy, conditions.first_frame.latents.to(noisy.dtype)], dim=1)
        pooled, text, is_token = self._parts_of(conditions.text)
        return self.transformer(
            hidden_states=latents,
            timestep=timesteps,
            encoder_hidden_states=text,
            encoder_attention_mask=is_token,
            pooled_projections=pooled,
            guidance=self._guidance(noisy),
            return_dict=False,
        )[0]

    def first_state(
        self, tokens: Tensor, *, grid: tuple[int, int, int], timesteps: Tensor, conditions: Conditions
    ) -> BlockState:
        transformer = self.transformer
        pooled, text, is_token = self._parts_of(conditions.text)
        time, _ = transformer.time_text_embed(timesteps, pooled, self._guidance(tokens))
        may_be_seen = torch.cat([is_token.new_ones(tokens.shape[:2]), is_token], dim=1)
        return BlockState(
            video=tokens,
            text=transformer.context_embedder(text, timesteps, is_token),
            constants=(time, may_be_seen[:, None, None, :], self.rotary(grid, device=tokens.device)),
        )

    def run_block(self, block: nn.Module, state: BlockState) -> BlockState:
        video, text = block(state.video, state.text, *state.constants)
        return BlockState(video=video, text=text, constants=state.constants)

    def without_text_output(self, block: nn.Module) -> nn.Module:
        """See `Backbone`: of a block with two streams, all that makes nothing but the text's queries and output."""
        if isinstance(block, HunyuanVideoTransformerBlock):
            attention: Any = block.attn
            # The library's processor asks whether `add_q_proj` is there: that is how it tells the blocks apart.
            attention.add_q_proj, attention.norm_added_q, attention.to_add_out = nn.Identity(), None, None
            block.ff_context = nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]
        return block

    def video_of(self, output: Any) -> Tensor:
        return output[0]

    def with_video(self, output: Any, video: Tensor) -> Any:
        return (video, *output[1:])

    def patch_weight(self) -> tuple[Tensor, Tensor]:
        projection = self.transformer.x_embedder.proj
        assert projection.bias is not None
        return projection.weight[:, : self.spec.latent_channels], projection.bias

    def rotary(self, grid: tuple[int, int, int], *, start_frame: int = 0, device: torch.device | None = None) -> Rotary:
        rope = self.transformer.rope
        frame, row, column = (torch.arange(size, device=device).float() for size in grid)
        time_dim, row_dim, column_dim = rope.rope_dim
        return rotary_tables((frame + start_frame, row, column), (time_dim, row_dim, column_dim), theta=rope.theta)

    def _parts_of(self, text: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """CLIP's vector `[B, D]`, the tokens `[B, L, text_dim]`, and which of them are no padding, bool `[B, L]`."""
        pooled_dim = self.transformer.config["pooled_projection_dim"]
        tokens = text[:, 1:]
        return text[:, 0, :pooled_dim], tokens, is_given(tokens)

    def _guidance(self, like: Tensor) -> Tensor | None:
        if self.transformer.time_text_embed.guidance_embedder is None:
            return None
        return torch.full((len(like),), _GUIDANCE, device=like.device)
