"""The one call that every method answers, and what a kind of method is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from benchmark.results import Frames
from vpdata.inpaint.any_length import Masks


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """What a method is told in words."""

    case_id: str
    """Of the case; for methods that look finished results up."""
    video: str
    """What is to be seen in the whole video."""
    region: str
    """What is to be seen in the hole."""


class Method(Protocol):
    """Loaded, and ready for any number of cases."""

    def inpaint(self, frames: Frames, masks: Masks, prompts: Prompts) -> Frames:
        """The video with its hole filled, as the method makes it: known pixels may be changed too.

        `frames`: uint8 `[T, H, W, 3]` RGB, grey in the hole. `masks`: bool `[T, H, W]`, True is to be filled. Returns
        uint8 of the shape of `frames`. Whatever it raises becomes the reason why the case failed.
        """
        ...


def _no_weights(settings: Any) -> Mapping[str, str]:
    return {}


def _needs_none(settings: Any) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One way of making a `Method`."""

    settings: type[Any]
    """The dataclass of its options."""
    load: Callable[[Any], Method]
    """A method from an instance of `settings`; BackendError or ConfigError where that cannot be."""
    weights: Callable[[Any], Mapping[str, str]] = _no_weights
    """From settings what tells the weights, or other files that decide the result: name to hash or revision."""
    needs_first_frame: Callable[[Any], bool] = _needs_none
    """From settings whether it goes on from a first frame that must be given, or may for all that is known of it."""
