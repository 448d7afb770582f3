"""What SAM 2 remembers of an object, and the network as a function of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

Features = Any
"""What a network sees on one frame; only the network that made it looks inside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What one object leaves behind on one frame."""

    features: torch.Tensor
    """bfloat16 [C, h, w]: frame and mask, encoded."""
    pointer: torch.Tensor
    """[D]: the object as such."""


@dataclass(slots=True, kw_only=True)
class Bank:
    """One object's memories, by frame."""

    prompted: dict[int, Memory] = field(default_factory=dict)
    """Frames on which a box said where the object is: the network looks at them from everywhere."""
    tracked: dict[int, Memory] = field(default_factory=dict)
    """Other frames: the network looks at those close behind it."""

    def frames(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The frames remembered. Objects can share a batch where these are equal."""
        return tuple(self.prompted), tuple(self.tracked)

    def forget(self, *, but_near: Sequence[int], reach: int) -> None:
        """Drop the tracked frames that lie `reach` or more away from all of `but_near`."""
        for frame in list(self.tracked):
            if all(abs(frame - near) >= reach for near in but_near):
                del self.tracked[frame]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Where in the clip the network is."""

    frame: int
    num_frames: int
    """Length of the clip."""
    is_backward: bool

    def behind(self, offset: int) -> int:
        """The frame that was passed `offset` frames ago."""
        return self.frame + offset if self.is_backward else self.frame - offset


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One object to find on a frame, from its memories, from a box, or from both."""

    bank: Bank
    box: tuple[float, float, float, float] | None
    """x0, y0, x1, y1 in pixels of the network's square input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One object as found on a frame."""

    logits: torch.Tensor
    """float32 [h, w], a quarter of the network's input size; above 0 where the object is, nowhere if it is absent."""
    score: torch.Tensor
    """float32 scalar, a logit; above 0 where the object is present."""
    memory: Memory


class Network(Protocol):
    """SAM 2 without a state of its own. Runs in inference mode."""

    image_size_px: int
    """Side of the square input."""
    device: torch.device
    num_pointers: int
    """How many frames back the network looks at most."""

    def encode(self, pixels: torch.Tensor) -> list[Features]:
        """Features of each frame of float32 [B, 3, S, S], normalised, on the network's device."""
        ...

    def look(self, features: Features, wanted: Sequence[Wanted], *, at: Moment) -> list[Seen]:
        """All objects on one frame, in order, as one batch.

        Their banks hold the same frames, and either all of them have a box or none.
        """
        ...
