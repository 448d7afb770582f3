"""A linear causal video codec in a VAE's place, since none can be had that fits so small a study.

Like the VAEs of the real backbones, it encodes the first frame alone and then groups of four; unlike them, a latent
cell depends on the pixels behind it alone. Each cell is the leading principal components of its patch of 4 x 4 px.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from vpdata.backbones.codec import LatentCodec
from vpdata.backbones.port import FirstFrame
from vpdata.backbones.spec import BackboneSpec
from vpdata.errors import ConfigError

STRIDE_PX = 4
STRIDE_T = 4


class LinearCodec(LatentCodec):
    """Principal components of patches, one basis for the first frame and one for groups of frames."""

    def __init__(self, bases: Sequence[Tensor], *, spec: BackboneSpec) -> None:
        """`bases`: encoder and decoder of the first frame, encoder and decoder of a group, `[patch values, channels]`.

        The encoders' columns are scaled, the decoders' are their inverse.
        """
        self.spec = spec
        self._bases = tuple(bases)

    @torch.no_grad()
    def encode(self, video: Tensor) -> Tensor:
        """Windows `[B, 3, F, H, W]` in [-1, 1] to latents `[B, C, F', h, w]`."""
        self.spec.latent_shape(*(int(size) for size in video.shape[2:]))
        first, _, group, _ = self._bases
        parts = [_patches(video[:, :, :1], num_frames=1) @ first]
        if video.shape[2] > 1:
            parts.append(_patches(video[:, :, 1:], num_frames=STRIDE_T) @ group)
        return torch.cat(parts, dim=1).permute(0, 4, 1, 2, 3).contiguous()

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents `[B, C, F', h, w]` to windows `[B, 3, F, H, W]` in [-1, 1]."""
        _, first, _, group = self._bases
        cells = latents.permute(0, 2, 3, 4, 1)
        parts = [_pixels(cells[:, :1] @ first.T, num_frames=1)]
        if cells.shape[1] > 1:
            parts.append(_pixels(cells[:, 1:] @ group.T, num_frames=STRIDE_T))
        return torch.cat(parts, dim=2).clamp(-1, 1)

    def first_frame(self, frame: Tensor, *, num_frames: int) -> FirstFrame:
        raise ConfigError("the study's backbone makes video without a given first frame")

    def _normalise(self, latents: Tensor) -> Tensor:
        return latents

    def _denormalise(self, latents: Tensor) -> Tensor:
        return latents

    def save(self, path: Path) -> None:
        """One safetensors file."""
        save_file({str(index): basis.contiguous() for index, basis in enumerate(self._bases)}, path)

    def to(self, device: torch.device | str) -> LinearCodec:
        """The same codec on a device."""
        return LinearCodec([basis.to(device) for basis in self._bases], spec=self.spec)


def load_codec(path: Path, *, spec: BackboneSpec) -> LinearCodec:
    """What `save` wrote."""
    tensors = load_file(path)
    return LinearCodec([tensors[str(index)] for index in range(len(tensors))], spec=spec)


def fit_codec(clips: Sequence[NDArray[np.uint8]], *, spec: BackboneSpec) -> LinearCodec:
    """Fit to clips, uint8 `[F, H, W, 3]` each; latents have a variance of 1 on average over channels.

    A channel is divided by the square root of its deviation and not by all of it: full whitening would make fine
    detail weigh as much in the loss as the picture itself.
    """
    video = to_video(np.stack(clips))
    bases = []
    for part, num_frames in ((video[:, :, :1], 1), (video[:, :, 1:], STRIDE_T)):
        values = _patches(part, num_frames=num_frames).flatten(0, 3).double()
        moments = values.T @ values / len(values)
        variances, directions = (each.flip(-1) for each in torch.linalg.eigh(moments))
        variances, directions = variances[: spec.latent_channels], directions[:, : spec.latent_channels]
        scale = variances.clamp(min=1e-6) ** -0.25
        scale = scale / (variances * scale**2).mean().sqrt()
        bases += [(directions * scale).float(), (directions / scale).float()]
    return LinearCodec(bases, spec=spec)


def to_video(frames: NDArray[np.uint8]) -> Tensor:
    """uint8 `[B, F, H, W, 3]` to `[B, 3, F, H, W]` in [-1, 1]."""
    return torch.from_numpy(frames).permute(0, 4, 1, 2, 3).float() / 127.5 - 1


def to_frames(video: Tensor) -> NDArray[np.uint8]:
    """`[B, 3, F, H, W]` in [-1, 1] to uint8 `[B, F, H, W, 3]`."""
    return ((video + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 4, 1).cpu().numpy()


def _patches(video: Tensor, *, num_frames: int) -> Tensor:
    """`[B, 3, F, H, W]` to `[B, F / num_frames, H / 4, W / 4, values of a patch]`."""
    batch, colours, frames, height, width = video.shape
    split = video.reshape(
        batch, colours, frames // num_frames, num_frames, height // STRIDE_PX, STRIDE_PX, width // STRIDE_PX, STRIDE_PX
    )
    return split.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4)


def _pixels(patches: Tensor, *, num_frames: int) -> Tensor:
    batch, groups, rows, columns = patches.shape[:4]
    split = patches.reshape(batch, groups, rows, columns, 3, num_frames, STRIDE_PX, STRIDE_PX)
    video = split.permute(0, 4, 1, 5, 2, 6, 3, 7)
    return video.reshape(batch, 3, groups * num_frames, rows * STRIDE_PX, columns * STRIDE_PX)
