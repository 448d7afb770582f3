"""Leaves the hole as it was given: the floor of every table."""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.methods.port import Kind, Prompts
from benchmark.results import Frames
from vpdata.inpaint.any_length import Masks


@dataclass(frozen=True, slots=True, kw_only=True)
class CopySettings:
    """None."""


class Copy:
    """A `Method`."""

    def inpaint(self, frames: Frames, masks: Masks, prompts: Prompts) -> Frames:
        return frames


KIND = Kind(settings=CopySettings, load=lambda settings: Copy())
