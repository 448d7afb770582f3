"""Rotary position tables of video tokens at any position, also before the first frame, as identity tokens need."""

from __future__ import annotations

import torch
from diffusers.models.embeddings import get_1d_rotary_pos_embed
from torch import Tensor

Rotary = tuple[Tensor, Tensor]
"""Cosines and sines `[S, head_dim]`, each frequency twice, side by side."""


def rotary_tables(
    positions: tuple[Tensor, Tensor, Tensor],
    dims: tuple[int, int, int],
    *,
    theta: float = 10000.0,
    dtype: torch.dtype = torch.float32,
) -> Rotary:
    """Tables of all tokens of a grid, frame by frame and row by row.

    positions: `[frames]`, `[rows]`, `[columns]`, any real numbers; dims: how many of a head's channels turn with each;
    theta: base of the frequencies; dtype: theirs.
    """
    sizes = tuple(len(axis) for axis in positions)
    cosines, sines = [], []
    for axis, (where, dim) in enumerate(zip(positions, dims, strict=True)):
        # Its annotation forgets the tensors that its docstring offers.
        cos, sin = get_1d_rotary_pos_embed(dim, where, theta, use_real=True, freqs_dtype=dtype)  # pyright: ignore[reportArgumentType]
        shape = [1, 1, 1, dim]
        shape[axis] = sizes[axis]
        cosines.append(cos.view(shape).expand(*sizes, dim))
        sines.append(sin.view(shape).expand(*sizes, dim))
    return torch.cat(cosines, dim=-1).flatten(0, 2), torch.cat(sines, dim=-1).flatten(0, 2)


def rotate(tokens: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn `[..., head_dim]` queries or keys, computed in float32 as the families do; tables broadcast to them."""
    real, imaginary = tokens.unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack([-imaginary, real], dim=-1).flatten(-2)
    return (tokens.float() * cos + turned.float() * sin).to(tokens.dtype)
