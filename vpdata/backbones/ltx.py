"""LTX-Video 2B and 13B: text-to-video and, by the same weights, image-to-video (HaCohen 2024, arXiv 2501.00103)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers.models.transformers.transformer_ltx import LTXVideoTransformer3DModel
from diffusers.pipelines.ltx.pipeline_ltx_condition import linear_quadratic_schedule
from torch import Tensor, nn

from vpdata.backbones.objective import Objective, objective_of
from vpdata.backbones.port import Backbone, BlockState, Conditions
from vpdata.backbones.rotary import Rotary
from vpdata.backbones.spec import BackboneSpec
from vpdata.backbones.text_encoder import is_given

_TEXT_LENGTH, _TEXT_LENGTH_0_9_5 = 128, 256
"""What its pipelines cut captions at, up to 0.9.1 and from 0.9.5 on; the transformer would take any."""
_FRAME_RATE = 25.0
"""What its pipelines tell it by default."""
_MASKED = -10000.0
"""What the transformer adds to the logits of text that is padding."""


def spec_of(
    transformer: Mapping[str, Any],
    vae: Mapping[str, Any],
    *,
    first_frame: bool = False,
    frame_rate: float | None = None,
) -> BackboneSpec:
    """The spec from the `config.json` of the transformer and of the VAE; the others as of `LTX`."""
    num_scalings = sum(vae["spatio_temporal_scaling"])
    return BackboneSpec(
        family="ltx",
        num_blocks=transformer["num_layers"],
        dim=transformer["num_attention_heads"] * transformer["attention_head_dim"],
        num_heads=transformer["num_attention_heads"],
        # The VAE has made patches already.
        patch=(1, 1, 1),
        latent_channels=vae["latent_channels"],
        stride_t=vae["temporal_compression_ratio"] or vae["patch_size_t"] * 2**num_scalings,
        stride_px=vae["spatial_compression_ratio"] or vae["patch_size"] * 2**num_scalings,
        text_length=_TEXT_LENGTH_0_9_5 if is_0_9_5(vae) else _TEXT_LENGTH,
        text_dim=transformer["caption_channels"],
        takes_first_frame=first_frame,
        joins_text=False,
        frame_rate=frame_rate or _FRAME_RATE,
    )


def is_0_9_5(vae: Mapping[str, Any]) -> bool:
    """Whether the release is that or a later one, which the VAE's blocks tell."""
    return "LTXVideo095DownBlock3D" in vae["down_block_types"]


def _objective(scheduler: Mapping[str, Any]) -> Objective:
    """Sampled as by the release's pipeline: where no shift follows from the tokens, its first half in small steps."""
    if scheduler.get("use_dynamic_shifting"):
        return objective_of(scheduler)
    return objective_of(scheduler, levels=linear_quadratic_schedule)


class LTX(Backbone):
    """An `LTXVideoTransformer3DModel`. Its blocks return the video's hidden state alone.

    A given first frame replaces the first latent frame, at timestep 0.
    """

    transformer: LTXVideoTransformer3DModel

    def __init__(
        self,
        transformer: LTXVideoTransformer3DModel,
        *,
        scheduler: Mapping[str, Any],
        vae: Mapping[str, Any],
        first_frame: bool = False,
        frame_rate: float | None = None,
    ) -> None:
        """`scheduler` and `vae` are the configs of the checkpoint's other parts.

        `first_frame`: whether it is given one. `frame_rate`: of all videos, in frames per second; None: 25.
        """
        spec = spec_of(transformer.config, vae, first_frame=first_frame, frame_rate=frame_rate)
        super().__init__(spec, _objective(scheduler), transformer)
        # From 0.9.5 on, a latent frame is where the first of its video frames is.
        self._starts_groups = is_0_9_5(vae)

    @property
    def blocks(self) -> list[nn.Module]:
        return list(self.transformer.transformer_blocks)

    def predict(self, noisy: Tensor, timesteps: Tensor, conditions: Conditions) -> Tensor:
        grid = self.spec.grid(tuple(noisy.shape))
        output = self.transformer(
            hidden_states=self.tokenise(self.with_given(noisy, conditions)),
            encoder_hidden_states=conditions.text,
            timestep=self.timesteps_of_tokens(timesteps, grid, conditions),
            encoder_attention_mask=is_given(conditions.text).to(conditions.text.dtype),
            video_coords=self._coordinates(grid, start_frame=0, device=noisy.device),
            return_dict=False,
        )[0]
        return output.transpose(1, 2).unflatten(2, grid)

    def first_state(
        self, tokens: Tensor, *, grid: tuple[int, int, int], timesteps: Tensor, conditions: Conditions
    ) -> BlockState:
        transformer, text = self.transformer, conditions.text
        given = self.timesteps_of_tokens(timesteps, grid, conditions)
        time, _ = transformer.time_embed(given.flatten(), batch_size=len(text), hidden_dtype=text.dtype)
        padding = (1 - is_given(text).to(text.dtype)) * _MASKED
        rotary = self.rotary(grid, device=tokens.device)
        return BlockState(
            video=tokens,
            text=transformer.caption_projection(text),
            constants=(time.view(len(text), -1, time.shape[-1]), [table[None] for table in rotary], padding[:, None]),
        )

    def run_block(self, block: nn.Module, state: BlockState) -> BlockState:
        time, rotary, padding = state.constants
        return state.with_video(block(state.video, state.text, time, rotary, padding))

    def video_of(self, output: Any) -> Tensor:
        return output

    def with_video(self, output: Any, video: Tensor) -> Any:
        return video

    def patch_weight(self) -> tuple[Tensor, Tensor]:
        projection = self.transformer.proj_in
        return projection.weight.view(self.spec.dim, self.spec.latent_channels, 1, 1, 1), projection.bias

    def num_given_frames(self, conditions: Conditions) -> int:
        return int(conditions.first_frame is not None)

    def rotary(self, grid: tuple[int, int, int], *, start_frame: int = 0, device: torch.device | None = None) -> Rotary:
        coordinates = self._coordinates(grid, start_frame=start_frame, device=device)
        cos, sin = self.transformer.rope(coordinates, video_coords=coordinates)
        return cos[0], sin[0]

    def _coordinates(self, grid: tuple[int, int, int], *, start_frame: int, device: torch.device | None) -> Tensor:
        """`[1, 3, S]` float32: of each token the second, the row and the column in pixels."""
        frames, rows, columns = (torch.arange(size, device=device) for size in grid)
        frames = (frames + start_frame) * self.spec.stride_t
        if self._starts_groups:
            # The first latent frame is one video frame; the group of each later one ends at the frame's multiple.
            frames = torch.where(frames > 0, frames - self.spec.stride_t + 1, frames)
        assert self.spec.frame_rate is not None
        axes = (frames / self.spec.frame_rate, rows * self.spec.stride_px, columns * self.spec.stride_px)
        return torch.stack(torch.meshgrid(*(axis.float() for axis in axes), indexing="ij")).flatten(1)[None]
