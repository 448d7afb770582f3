"""The adapter that every backbone family implements: the only code that knows a class of diffusers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from vpdata.backbones.objective import Objective
from vpdata.backbones.rotary import Rotary
from vpdata.backbones.spec import BackboneSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstFrame:
    """The given first frame of an image-to-video checkpoint, encoded as its family wants it."""

    latents: Tensor
    """[B, C', F, h, w]; what the channels and frames hold is the family's own affair."""
    image_tokens: Tensor | None = None
    """[B, 257, D] of the CLIP image encoder (Wan 2.1); None for families that take none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What a backbone is told beside the noisy latents."""

    text: Tensor
    """[B, text_length, text_dim], padded as the family pads: by rows of zeros, or by what it attends to."""
    first_frame: FirstFrame | None = None
    """Given where the spec takes one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockState:
    """What goes through the blocks: the hidden states, and what stays the same for every block."""

    video: Tensor
    """[B, S, dim]"""
    text: Tensor
    """[B, L, dim]; changes from block to block only where the spec joins text."""
    constants: tuple[Any, ...]
    """The block's further arguments: time embedding, rotary tables."""

    def with_video(self, video: Tensor) -> BlockState:
        """The same state with another hidden state of the video."""
        return replace(self, video=video)


class Backbone(ABC):
    """One frozen video diffusion transformer.

    Latents are `[B, C, F, h, w]`, float, normalised as the VAE's family says; timesteps are `[B]` in the units of
    the checkpoint's scheduler. Tokens are in the transformer's own order: frame, row, column.
    """

    spec: BackboneSpec
    objective: Objective
    transformer: nn.Module

    def __init__(self, spec: BackboneSpec, objective: Objective, transformer: nn.Module) -> None:
        self.spec = spec
        self.objective = objective
        self.transformer = transformer.requires_grad_(False).eval()

    @property
    @abstractmethod
    def blocks(self) -> list[nn.Module]:
        """The transformer blocks in the order in which they run."""

    @abstractmethod
    def predict(self, noisy: Tensor, timesteps: Tensor, conditions: Conditions) -> Tensor:
        """The transformer's output `[B, C, F, h, w]`: the velocity of the objective."""

    @abstractmethod
    def first_state(
        self, tokens: Tensor, *, grid: tuple[int, int, int], timesteps: Tensor, conditions: Conditions
    ) -> BlockState:
        """The state that the first block gets, with `tokens` `[B, S, dim]` for embedded patches.

        Uses the transformer's frozen embedders of time, text and position.
        """

    @abstractmethod
    def run_block(self, block: nn.Module, state: BlockState) -> BlockState:
        """The state behind a block of this family, which may be a copy of one of `blocks`."""

    def without_text_output(self, block: nn.Module) -> nn.Module:
        """The same block as one whose text nothing reads, changed in place where its text has parameters of its own.

        Behind the context encoder's last block no gradient would reach those.
        """
        return block

    @abstractmethod
    def video_of(self, output: Any) -> Tensor:
        """The video's hidden state in what a block returns."""

    @abstractmethod
    def with_video(self, output: Any, video: Tensor) -> Any:
        """What a block returned, with another hidden state for the video."""

    @abstractmethod
    def patch_weight(self) -> tuple[Tensor, Tensor]:
        """Weight `[dim, latent_channels, *patch]` and bias `[dim]` of the patch embedding of the noisy latents."""

    @abstractmethod
    def rotary(
        self, grid: tuple[int, int, int], *, start_frame: int = 0, device: torch.device | None = None
    ) -> Rotary | None:
        """Rotary tables `[S, head_dim]` of a grid whose first token frame is at `start_frame`, which may be negative.

        `[S, dim]` where each head turns by frequencies of its own (LTX). None for checkpoints that add positions to the
        tokens instead.
        """

    @property
    def only_size_px(self) -> tuple[int, int] | None:
        """Height and width of the only frames that it takes; None where it takes any whole tokens."""
        return None

    def objective_for(self, latent_shape: tuple[int, ...]) -> Objective:
        """The objective for latents `[..., frames, rows, columns]`, whose size a family may shift its noise by."""
        return self.objective.for_tokens(prod(self.spec.grid(latent_shape)))

    def num_given_frames(self, conditions: Conditions) -> int:
        """Leading latent frames that are given clean in the latents' own place: nothing is predicted for them."""
        return 0

    def with_given(self, noisy: Tensor, conditions: Conditions) -> Tensor:
        """The latents that backbone and context encoder look at: the given frames in their own place, at timestep 0."""
        num_given, first_frame = self.num_given_frames(conditions), conditions.first_frame
        if not num_given or first_frame is None:
            return noisy
        return torch.cat([first_frame.latents.to(noisy.dtype), noisy[:, :, num_given:]], dim=2)

    def tokenise(self, latents: Tensor) -> Tensor:
        """Latent-like `[B, C, F, h, w]` to `[B, S, C * cells per token]`, in the order of the backbone's tokens.

        Where the frames do not fill the last patch, the first frame is repeated in front, as CogVideoX 1.5 does.
        """
        patch_t, patch_h, patch_w = self.spec.patch
        missing = -latents.shape[2] % patch_t
        latents = torch.cat([latents[:, :, :1]] * missing + [latents], dim=2)
        batch, channels, frames, rows, columns = latents.shape
        cells = latents.reshape(
            batch, channels, frames // patch_t, patch_t, rows // patch_h, patch_h, columns // patch_w, patch_w
        )
        return cells.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4).flatten(1, 3)

    def timesteps_of_tokens(self, timesteps: Tensor, grid: tuple[int, int, int], conditions: Conditions) -> Tensor:
        """`[B]`; or `[B, S]`, with 0 for the tokens of frames that are given in their own place."""
        num_given = self.num_given_frames(conditions)
        if not num_given:
            return timesteps
        frames, rows, columns = grid
        is_noisy = torch.arange(frames, device=timesteps.device) >= num_given
        return timesteps[:, None] * is_noisy.repeat_interleave(rows * columns)[None, :]

    def tokens_in(self, mask: Tensor) -> Tensor:
        """Which tokens have a masked cell: bool or float `[B, C, F, h, w]` to bool `[B, S]`."""
        return (self.tokenise(mask.float()) > 0).any(dim=-1)
