"""Options of RAFT, and what a run says about it; imports no model library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vpdata.models.ports import ModelCard
from vpdata.models.torch_settings import FetchedSettings

MIN_SIDE_PX = 128
"""RAFT compares features at up to 1/64 of the size, and needs at least two of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RaftSettings(FetchedSettings):
    """Which weights, and how densely clips are sampled."""

    weights: str = "raft-large"
    """Name or folder of torchvision's weights of `size`."""
    size: Literal["large", "small"] = "large"
    sample_fps: float = 4.0
    """Frames per second between which motion is measured."""
    short_side_px: int = 360
    """Size at which it is measured."""
    batch_size: int = 8
    """Pairs of frames per call of the network."""

    def __post_init__(self) -> None:
        if self.sample_fps <= 0:
            raise ValueError(f"sample_fps: got {self.sample_fps}, wanted more than 0")
        if self.short_side_px < MIN_SIDE_PX:
            raise ValueError(f"short_side_px: got {self.short_side_px}, wanted at least {MIN_SIDE_PX}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size: got {self.batch_size}, wanted at least 1")

    def card(self, role: str) -> ModelCard:
        """What a run says about this model."""
        options = {"sample_fps": self.sample_fps, "short_side_px": self.short_side_px}
        return self.weights_card(role, name=f"raft-{self.size}", package="torchvision", options=options)
