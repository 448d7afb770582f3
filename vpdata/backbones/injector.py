"""Adding the encoder's hints to the hidden states of a frozen backbone, by one forward hook per block.

A hook runs again when an activation checkpoint recomputes its block, so hints are kept until `set` or `clear`; and the
encoder must have run before the backbone starts, outside any checkpointed region.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from vpdata.backbones.port import Backbone
from vpdata.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectionSettings:
    """Behind which blocks which hint is added, and where in the frame."""

    schedule: Literal["spread", "first", "every"] = "spread"
    """spread: behind every block, hint i behind the i-th share of the depth (VideoPainter, eq. 1); first: hint i behind
    block i alone; every: hint i behind block i * (blocks // hints) alone (VACE)."""
    background_only: bool = True
    """Add to tokens without a masked cell only (VideoPainter, "mask-selective fusion")."""


class Injector:
    """Holds the hints of one forward pass and its backward."""

    def __init__(self, backbone: Backbone, settings: InjectionSettings, *, num_hints: int) -> None:
        """Hooks on the backbone's blocks, which do nothing until hints are set; ConfigError as from `schedule`."""
        self._backbone = backbone
        self._settings = settings
        self._hints: Sequence[Tensor] | None = None
        self._handles = [
            block.register_forward_hook(self._hook(hint))
            for block, hint in zip(
                backbone.blocks, schedule(settings, num_blocks=len(backbone.blocks), num_hints=num_hints), strict=True
            )
            if hint is not None
        ]

    def set(self, hints: Sequence[Tensor], hole: Tensor) -> None:
        """Take `[B, S, dim]` hints for the next pass; `hole` `[B, 1, F, h, w]` is 1 where a latent cell is masked."""
        if self._settings.background_only:
            background = (~self._backbone.tokens_in(hole)).unsqueeze(-1)
            hints = [hint * background.to(hint.dtype) for hint in hints]
        self._hints = hints

    def clear(self) -> None:
        """Forget the hints: the backbone is itself again."""
        self._hints = None

    def remove(self) -> None:
        """Take the hooks off the backbone."""
        for handle in self._handles:
            handle.remove()

    def _hook(self, index: int) -> Callable[[nn.Module, Any, Any], Any]:
        def add(module: nn.Module, arguments: Any, output: Any) -> Any:
            if self._hints is None:
                return None
            return self._backbone.with_video(output, self._backbone.video_of(output) + self._hints[index])

        return add


def schedule(settings: InjectionSettings, *, num_blocks: int, num_hints: int) -> list[int | None]:
    """For each block the hint that is added behind it, or None; ConfigError where a hint would be added nowhere."""
    if num_hints > num_blocks:
        raise ConfigError(
            f"got {num_hints} hints for {num_blocks} blocks, wanted at most one per block: lower encoder.num_layers"
        )
    if settings.schedule == "first":
        return [block if block < num_hints else None for block in range(num_blocks)]
    share = -(-num_blocks // num_hints)
    if settings.schedule == "spread":
        if share * (num_hints - 1) >= num_blocks:
            fitting = [str(num) for num in range(1, num_blocks + 1) if -(-num_blocks // num) * (num - 1) < num_blocks]
            raise ConfigError(
                f"got {num_hints} hints for {num_blocks} blocks, of which the last would be added nowhere: set "
                f"encoder.num_layers to one of {', '.join(fitting)}, or another injection.schedule"
            )
        return [block // share for block in range(num_blocks)]
    step = num_blocks // num_hints
    return [block // step if block % step == 0 and block // step < num_hints else None for block in range(num_blocks)]
