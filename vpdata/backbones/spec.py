"""What trainer, encoder and inference know of a backbone: sizes and grids, no library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vpdata.errors import ConfigError

Family = Literal["cogvideox", "wan", "ltx", "hunyuan"]
Expert = Literal["high_noise", "low_noise"]
"""The transformers of a checkpoint that has one for each end of the noise (Wan 2.2 A14B)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneSpec:
    """Sizes of one checkpoint."""

    family: Family
    num_blocks: int
    """Transformer blocks, each a point where features can be added."""
    dim: int
    """Width of the hidden state."""
    num_heads: int
    patch: tuple[int, int, int]
    """Latent cells per token: frames, rows, columns."""
    latent_channels: int
    """Channels of the VAE's latents, the noisy ones included."""
    stride_t: int
    """Video frames per latent frame, the first of which stands alone."""
    stride_px: int
    """Pixels per latent cell, in height and width."""
    text_length: int
    """Rows of a text that the transformer takes: tokens, before which Hunyuan's have one row of another kind."""
    text_dim: int
    takes_first_frame: bool
    """Whether it makes video from an image, and so must be given the first frame."""
    joins_text: bool
    """Whether text tokens are in the same attention as the video's (CogVideoX, Hunyuan), or are attended across."""
    expert: Expert | None = None
    """Which of a checkpoint's two transformers; None where it has one."""
    frame_rate: float | None = None
    """Frames per second that an LTX is told, whose positions count seconds; None for other families."""

    def latent_frames(self, num_frames: int) -> int:
        """Latent frames of a window; ConfigError unless the window has `stride_t * k + 1` frames."""
        if num_frames < 1 or (num_frames - 1) % self.stride_t:
            below = max(num_frames - 1, 0) // self.stride_t * self.stride_t + 1
            raise ConfigError(
                f"got a window of {num_frames} frames, but {self.family} takes {self.stride_t}k + 1: "
                f"{below} or {below + self.stride_t}"
            )
        return (num_frames - 1) // self.stride_t + 1

    def latent_shape(self, num_frames: int, height_px: int, width_px: int) -> tuple[int, int, int, int]:
        """Channels, frames, rows, columns of a window's latents; ConfigError if the sides do not divide into tokens."""
        for name, side_px, cells in (("height", height_px, self.patch[1]), ("width", width_px, self.patch[2])):
            step_px = self.stride_px * cells
            if side_px < step_px or side_px % step_px:
                raise ConfigError(f"got a {name} of {side_px} px, but {self.family} takes multiples of {step_px} px")
        rows, columns = height_px // self.stride_px, width_px // self.stride_px
        return self.latent_channels, self.latent_frames(num_frames), rows, columns

    def grid(self, latent_shape: tuple[int, ...]) -> tuple[int, int, int]:
        """Tokens in time, height and width of latents `[..., frames, rows, columns]`; a patch cut short is one too."""
        frames, rows, columns = latent_shape[-3:]
        return -(-frames // self.patch[0]), rows // self.patch[1], columns // self.patch[2]

    @property
    def num_text_tokens(self) -> int:
        """Rows of a text that are tokens."""
        return self.text_length - (self.family == "hunyuan")

    @property
    def mask_channels(self) -> int:
        """Channels of a packed mask: the pixels behind one latent cell."""
        return self.stride_px**2
