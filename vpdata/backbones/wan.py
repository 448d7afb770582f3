"""Wan 2.1 and 2.2: text-to-video, image-to-video, and the 5B that does both (Wan team 2025, arXiv 2503.20314)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from torch import Tensor, nn

from vpdata.backbones.objective import WHOLE, Span, objective_of
from vpdata.backbones.port import Backbone, BlockState, Conditions
from vpdata.backbones.rotary import Rotary, rotary_tables
from vpdata.backbones.spec import BackboneSpec, Expert

_TEXT_LENGTH = 512
"""Fixed in the transformer's cross-attention."""
_LATENT_CHANNELS_2_2 = 48
"""Of the VAE of Wan 2.2 TI2V-5B, the one checkpoint whose given first frame stands in the latents themselves."""


def spec_of(transformer: Mapping[str, Any], vae: Mapping[str, Any], *, expert: Expert | None = None) -> BackboneSpec:
    """The spec from the `config.json` of the transformer and of the VAE."""
    frames, rows, columns = transformer["patch_size"]
    return BackboneSpec(
        family="wan",
        num_blocks=transformer["num_layers"],
        dim=transformer["num_attention_heads"] * transformer["attention_head_dim"],
        num_heads=transformer["num_attention_heads"],
        patch=(frames, rows, columns),
        latent_channels=transformer["out_channels"],
        stride_t=vae["scale_factor_temporal"],
        stride_px=vae["scale_factor_spatial"],
        text_length=_TEXT_LENGTH,
        text_dim=transformer["text_dim"],
        takes_first_frame=transformer["in_channels"] > transformer["out_channels"] or _is_ti2v(vae),
        joins_text=False,
        expert=expert,
    )


def _is_ti2v(vae: Mapping[str, Any]) -> bool:
    return vae["z_dim"] == _LATENT_CHANNELS_2_2


class Wan(Backbone):
    """A `WanTransformer3DModel`. Its blocks return the video's hidden state alone.

    Where the first frame of the 5B is given, it replaces the first latent frame, at timestep 0; without one it
    makes video from text.
    """

    transformer: WanTransformer3DModel

    def __init__(
        self,
        transformer: WanTransformer3DModel,
        *,
        scheduler: Mapping[str, Any],
        vae: Mapping[str, Any],
        expert: Expert | None = None,
        boundary: float = 0.0,
    ) -> None:
        """`scheduler` and `vae` are the configs of the checkpoint's other parts.

        `boundary`: the noise level from which on the expert for high noise is asked, and below which the other.
        """
        spans: dict[Expert | None, Span] = {None: WHOLE, "high_noise": (boundary, 1.0), "low_noise": (0.0, boundary)}
        objective = objective_of(scheduler, span=spans[expert])
        super().__init__(spec_of(transformer.config, vae, expert=expert), objective, transformer)
        self._replaces_first_frame = _is_ti2v(vae)

    @property
    def blocks(self) -> list[nn.Module]:
        return list(self.transformer.blocks)

    def predict(self, noisy: Tensor, timesteps: Tensor, conditions: Conditions) -> Tensor:
        latents, first_frame = self.with_given(noisy, conditions), conditions.first_frame
        if first_frame is not None and not self._replaces_first_frame:
            latents = torch.cat([noisy, first_frame.latents.to(noisy.dtype)], dim=1)
        return self.transformer(
            hidden_states=latents,
            timestep=self.timesteps_of_tokens(timesteps, self.spec.grid(tuple(noisy.shape)), conditions),
            encoder_hidden_states=conditions.text,
            encoder_hidden_states_image=None if first_frame is None else first_frame.image_tokens,
            return_dict=False,
        )[0]

    def first_state(
        self, tokens: Tensor, *, grid: tuple[int, int, int], timesteps: Tensor, conditions: Conditions
    ) -> BlockState:
        given = self.timesteps_of_tokens(timesteps, grid, conditions)
        image_tokens = None if conditions.first_frame is None else conditions.first_frame.image_tokens
        _, time, text, image = self.transformer.condition_embedder(
            given.flatten(), conditions.text, image_tokens, timestep_seq_len=given.shape[1] if given.ndim == 2 else None
        )
        # Not by `transformer.rope`: where layers are offloaded, its tables stay on the CPU from the second pass on.
        rotary = [table[None, :, None] for table in self.rotary(grid, device=tokens.device)]
        return BlockState(
            video=tokens,
            text=text if image is None else torch.cat([image, text], dim=1),
            constants=(time.unflatten(-1, (6, -1)), rotary),
        )

    def run_block(self, block: nn.Module, state: BlockState) -> BlockState:
        time, rotary = state.constants
        return state.with_video(block(state.video, state.text, time, rotary))

    def video_of(self, output: Any) -> Tensor:
        return output

    def with_video(self, output: Any, video: Tensor) -> Any:
        return video

    def patch_weight(self) -> tuple[Tensor, Tensor]:
        embedding = self.transformer.patch_embedding
        assert embedding.bias is not None
        return embedding.weight[:, : self.spec.latent_channels], embedding.bias

    def num_given_frames(self, conditions: Conditions) -> int:
        return int(self._replaces_first_frame and conditions.first_frame is not None)

    def rotary(self, grid: tuple[int, int, int], *, start_frame: int = 0, device: torch.device | None = None) -> Rotary:
        rope = self.transformer.rope
        frame = torch.arange(start_frame, start_frame + grid[0], device=device)
        row, column = torch.arange(grid[1], device=device), torch.arange(grid[2], device=device)
        return rotary_tables((frame, row, column), (rope.t_dim, rope.h_dim, rope.w_dim), dtype=torch.float64)
