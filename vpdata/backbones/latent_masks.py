"""From a mask per video frame to a mask per latent frame that loses no masked pixel.

A causal VAE makes its first latent frame from video frame 0, and each later one from `stride_t` frames. The mask of a
latent frame is therefore the union over its group; the mask of one frame of it, which VideoPainter takes, lets fast
objects out of the hole.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pixel_unshuffle

from vpdata.errors import ConfigError

BoolArray = NDArray[np.bool_]


def union_over_groups(mask: BoolArray, *, stride_t: int) -> BoolArray:
    """`[stride_t * k + 1, height, width]` bool, True = hole, to `[k + 1, height, width]`."""
    num_frames = len(mask)
    if num_frames < 1 or (num_frames - 1) % stride_t:
        raise ConfigError(f"got a mask of {num_frames} frames, wanted {stride_t}k + 1")
    groups = mask[1:].reshape(-1, stride_t, *mask.shape[1:])
    return np.concatenate([mask[:1], groups.any(axis=1)])


def pack(unions: Tensor, *, stride_px: int) -> Tensor:
    """The pixels behind each latent cell as channels: `[B, F, H, W]` in {0, 1} to `[B, stride_px**2, F, h, w]`."""
    return pixel_unshuffle(unions.unsqueeze(2), stride_px).transpose(1, 2)


def cells(packed: Tensor) -> Tensor:
    """1 where any pixel of a latent cell is masked: `[B, P, F, h, w]` to `[B, 1, F, h, w]`."""
    return packed.amax(dim=1, keepdim=True)
