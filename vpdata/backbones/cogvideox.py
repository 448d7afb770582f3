"""CogVideoX 2B, 5B, 1.5 and their image-to-video checkpoints (Yang et al. 2024, arXiv 2408.06072)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from diffusers.models.embeddings import CogVideoXPatchEmbed
from diffusers.models.transformers.cogvideox_transformer_3d import CogVideoXTransformer3DModel
from diffusers.pipelines.cogvideo.pipeline_cogvideox import get_resize_crop_region_for_grid
from torch import Tensor, nn

from vpdata.backbones.objective import objective_of
from vpdata.backbones.port import Backbone, BlockState, Conditions
from vpdata.backbones.rotary import Rotary, rotary_tables
from vpdata.backbones.spec import BackboneSpec
from vpdata.errors import ConfigError

_MOTION_STRENGTH = 2.0
"""The `ofs` that the 1.5 image-to-video checkpoint was trained with and that its pipeline always gives."""


def spec_of(transformer: Mapping[str, Any], vae: Mapping[str, Any]) -> BackboneSpec:
    """The spec from the `config.json` of the transformer and of the VAE."""
    patch = transformer["patch_size"]
    return BackboneSpec(
        family="cogvideox",
        num_blocks=transformer["num_layers"],
        dim=transformer["num_attention_heads"] * transformer["attention_head_dim"],
        num_heads=transformer["num_attention_heads"],
        patch=(transformer.get("patch_size_t") or 1, patch, patch),
        latent_channels=transformer["out_channels"],
        stride_t=int(vae["temporal_compression_ratio"]),
        stride_px=2 ** (len(vae["block_out_channels"]) - 1),
        text_length=transformer["max_text_seq_length"],
        text_dim=transformer["text_embed_dim"],
        takes_first_frame=transformer["in_channels"] > transformer["out_channels"],
        joins_text=True,
    )


class CogVideoX(Backbone):
    """A `CogVideoXTransformer3DModel`. Its blocks return the video's and the text's hidden state."""

    transformer: CogVideoXTransformer3DModel

    def __init__(
        self, transformer: CogVideoXTransformer3DModel, *, scheduler: Mapping[str, Any], vae: Mapping[str, Any]
    ) -> None:
        """`scheduler` and `vae` are the configs of the checkpoint's other parts."""
        super().__init__(spec_of(transformer.config, vae), objective_of(scheduler), transformer)
        if transformer.config["use_learned_positional_embeddings"]:
            _keep_learned_positions(transformer.patch_embed)

    @property
    def blocks(self) -> list[nn.Module]:
        return list(self.transformer.transformer_blocks)

    @property
    def only_size_px(self) -> tuple[int, int] | None:
        config = self.transformer.config
        if not config["use_learned_positional_embeddings"]:
            return None
        return config["sample_height"] * self.spec.stride_px, config["sample_width"] * self.spec.stride_px

    def predict(self, noisy: Tensor, timesteps: Tensor, conditions: Conditions) -> Tensor:
        latents = noisy
        if conditions.first_frame is not None:
            latents = torch.cat([noisy, conditions.first_frame.latents.to(noisy.dtype)], dim=1)
        # CogVideoX 1.5 takes two frames a token: an odd number of frames begins with its first one twice.
        missing = -latents.shape[2] % self.spec.patch[0]
        latents = torch.cat([latents[:, :, :1]] * missing + [latents], dim=2)
        output = self.transformer(
            hidden_states=latents.transpose(1, 2),
            encoder_hidden_states=conditions.text,
            timestep=timesteps,
            ofs=self._motion_strength(noisy),
            image_rotary_emb=self.rotary(self.spec.grid(tuple(noisy.shape)), device=noisy.device),
            return_dict=False,
        )[0]
        return output.transpose(1, 2)[:, :, missing:]

    def first_state(
        self, tokens: Tensor, *, grid: tuple[int, int, int], timesteps: Tensor, conditions: Conditions
    ) -> BlockState:
        transformer = self.transformer
        time = transformer.time_embedding(transformer.time_proj(timesteps).to(conditions.text.dtype))
        if transformer.ofs_proj is not None and transformer.ofs_embedding is not None:
            strength = transformer.ofs_proj(self._motion_strength(tokens)).to(time.dtype)
            time = time + transformer.ofs_embedding(strength)
        text, positions = self._embedded_text(conditions.text, grid)
        return BlockState(
            video=tokens if positions is None else tokens + positions,
            text=text,
            constants=(time, self.rotary(grid, device=tokens.device)),
        )

    def run_block(self, block: nn.Module, state: BlockState) -> BlockState:
        time, rotary = state.constants
        video, text = block(state.video, state.text, time, rotary)
        return BlockState(video=video, text=text, constants=state.constants)

    def video_of(self, output: Any) -> Tensor:
        return output[0]

    def with_video(self, output: Any, video: Tensor) -> Any:
        return (video, *output[1:])

    def patch_weight(self) -> tuple[Tensor, Tensor]:
        spec, projection = self.spec, cast(nn.Linear | nn.Conv2d, self.transformer.patch_embed.proj)
        weight = projection.weight.reshape(spec.dim, -1, *spec.patch)[:, : spec.latent_channels]
        bias = weight.new_zeros(spec.dim) if projection.bias is None else projection.bias
        return weight, bias

    def rotary(
        self, grid: tuple[int, int, int], *, start_frame: int = 0, device: torch.device | None = None
    ) -> Rotary | None:
        config = self.transformer.config
        if not config["use_rotary_positional_embeddings"]:
            return None
        head_dim = config["attention_head_dim"]
        frames, rows, columns = grid
        if config["patch_size_t"] is None:
            start, stop = self._crop(rows, columns)
            row = torch.linspace(start[0], stop[0] * (rows - 1) / rows, rows, device=device)
            column = torch.linspace(start[1], stop[1] * (columns - 1) / columns, columns, device=device)
        else:
            row, column = torch.arange(rows, device=device).float(), torch.arange(columns, device=device).float()
        frame = torch.arange(start_frame, start_frame + frames, device=device).float()
        return rotary_tables((frame, row, column), (head_dim // 4, head_dim // 8 * 3, head_dim // 8 * 3))

    def _crop(self, rows: int, columns: int) -> tuple[tuple[int, int], tuple[int, int]]:
        config = self.transformer.config
        patch = config["patch_size"]
        return get_resize_crop_region_for_grid(
            (rows, columns), config["sample_width"] // patch, config["sample_height"] // patch
        )

    def _embedded_text(self, text: Tensor, grid: tuple[int, int, int]) -> tuple[Tensor, Tensor | None]:
        """Text tokens, and the positions that checkpoints without rotary tables add to video tokens."""
        embed = self.transformer.patch_embed
        if not (embed.use_positional_embeddings or embed.use_learned_positional_embeddings):
            return embed.text_proj(text), None
        frames, rows, columns = (size * cells for size, cells in zip(grid, self.spec.patch, strict=True))
        # The embedding of latents that are zero is bias plus position.
        nothing = text.new_zeros(1, frames, self.transformer.config["in_channels"], rows, columns)
        embedded = embed(text[:1], nothing)[:, text.shape[1] :]
        # Behind its use, a layer that is offloaded has its bias elsewhere.
        return embed.text_proj(text), embedded - self.patch_weight()[1].to(embedded)

    def _motion_strength(self, like: Tensor) -> Tensor | None:
        if self.transformer.ofs_embedding is None:
            return None
        return torch.full((1,), _MOTION_STRENGTH, device=like.device)


def _keep_learned_positions(embed: CogVideoXPatchEmbed) -> None:
    """Give windows that are shorter than the checkpoint's the start of its learned positions.

    The library computes sines for them instead, which the checkpoint has never seen: its videos turn to noise.
    """

    def positions(height: int, width: int, num_frames: int, device: torch.device | None = None) -> Tensor:
        learned = cast(Tensor, embed.pos_embedding)
        latent_frames = (num_frames - 1) // embed.temporal_compression_ratio + 1
        num_tokens = latent_frames * (height // embed.patch_size) * (width // embed.patch_size)
        if embed.max_text_seq_length + num_tokens > learned.shape[1]:
            raise ConfigError(
                f"got a window of {num_frames} frames, but this checkpoint has learned the positions of "
                f"{embed.sample_frames}: give shorter windows"
            )
        return learned[:, : embed.max_text_seq_length + num_tokens]

    cast(Any, embed)._get_positional_embeddings = positions
