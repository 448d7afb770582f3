"""The training loss: mean squared error of the velocity over the whole video, and once more over the hole.

The term over the hole is a mean over the hole's own cells, sample by sample, so that a small object weighs as much as
a large one. VideoPainter divides by the whole video instead, which leaves small holes next to no gradient.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class LossSettings:
    """Weights of the loss."""

    masked_weight: float = 1.0
    """Weight of the term over the hole, beside 1 for the term over everything; 0 or more."""

    def __post_init__(self) -> None:
        if self.masked_weight < 0:
            raise ValueError(f"got masked_weight {self.masked_weight}, wanted 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Per sample, float32 `[B]`."""

    total: Tensor
    """What is minimised: `everywhere + masked_weight * hole`."""
    everywhere: Tensor
    hole: Tensor
    """0 where a sample has no hole."""


def velocity_loss(prediction: Tensor, target: Tensor, hole: Tensor, *, settings: LossSettings) -> Loss:
    """Loss of a prediction `[B, C, F, h, w]`; `hole` `[B, 1, F, h, w]` is 1 where a latent cell has a masked pixel.

    For v-prediction this is the x0 loss with weight 1 / (1 - alpha_bar) that VideoPainter uses (section 3.3).
    """
    error = (prediction.float() - target.float()).square().mean(dim=1)
    inside = hole[:, 0].float()
    dims = (1, 2, 3)
    everywhere = error.mean(dim=dims)
    in_hole = (error * inside).sum(dim=dims) / inside.sum(dim=dims).clamp(min=1.0)
    return Loss(total=everywhere + settings.masked_weight * in_hole, everywhere=everywhere, hole=in_hole)


def sums_by_bin(losses: Tensor, bins: Tensor, *, num_bins: int) -> tuple[Tensor, Tensor]:
    """Sum and count of per-sample losses `[B]` by bin `[B]` (whole numbers), each float32 `[num_bins]`."""
    sums = torch.zeros(num_bins, device=losses.device).index_add_(0, bins, losses.float())
    counts = torch.zeros(num_bins, device=losses.device).index_add_(0, bins, torch.ones_like(losses))
    return sums, counts
