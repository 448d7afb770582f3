"""From latents to pixels that a person can look at."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vpdata.backbones.loading import load_codec, read_spec
from vpdata.backbones.settings import BackboneSettings


def open_decoder(backbone: BackboneSettings) -> Callable[[Tensor], Tensor]:
    """From latents `[B, C, F', h, w]` to video `[B, 3, F, H, W]` in [-1, 1].

    The random VAE of a tiny backbone paints everything alike, so there the latents themselves are shown, three
    directions of them as red, green and blue.
    """
    if backbone.tiny is None:
        return load_codec(backbone).decode
    spec = read_spec(backbone)

    def decode(latents: Tensor) -> Tensor:
        enlarged = _false_colours(latents).repeat_interleave(spec.stride_px, -1).repeat_interleave(spec.stride_px, -2)
        first, later = enlarged[:, :, :1], enlarged[:, :, 1:]
        return torch.cat([first, later.repeat_interleave(spec.stride_t, 2)], dim=2)

    return decode


def pixels_of(video: Tensor) -> NDArray[np.uint8]:
    """uint8 [F, H, W, 3] RGB of a video `[3, F, H, W]` in [-1, 1]."""
    return video.float().add(1).mul(127.5).round().permute(1, 2, 3, 0).to(torch.uint8).cpu().numpy()


def _false_colours(latents: Tensor) -> Tensor:
    """`[B, 3, F, h, w]` in [-1, 1]."""
    cells = latents.float().movedim(1, -1)
    flat = cells.flatten(0, -2)
    flat = flat - flat.mean(dim=0)
    directions = torch.linalg.svd(flat.T @ flat).U[:, :3]
    shown = flat @ directions
    shown = shown / (2.5 * shown.std(dim=0))
    return shown.clamp(-1, 1).unflatten(0, cells.shape[:-1]).movedim(-1, 1)
