"""Identity tokens: what a backbone made of an object in another window, kept for its attention to look at.

VideoPainter (arXiv 2503.05639, section 3.3) appends a copy of all keys and values with everything but the object set to
zero; the zeros stay in the softmax and double its length. Here only the object's tokens are gathered, under a budget.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from vpdata.backbones.rotary import Rotary

Scope = Literal["id_only", "joint"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """Which tokens of a source window belong to the object."""

    positions: Tensor
    """[B, N] int64 in the order of the window's tokens."""
    valid: Tensor | None
    """[B, N] bool, False behind the end of an item with fewer tokens; None where all are valid, which lets attention
    keep its fastest kernel."""


def gather_positions(object_tokens: Tensor, *, max_tokens: int) -> Gathered | None:
    """The positions of an object's tokens, `[B, S]` bool; evenly spaced ones where it has more than `max_tokens`.

    None where no item of the batch shows its object.
    """
    chosen = [_spread(row.nonzero().squeeze(1), max_tokens) for row in object_tokens]
    longest = max(len(positions) for positions in chosen)
    if longest == 0:
        return None
    positions = object_tokens.new_zeros(len(chosen), longest, dtype=torch.int64)
    valid = torch.zeros_like(positions, dtype=torch.bool)
    for row, own in enumerate(chosen):
        positions[row, : len(own)] = own
        valid[row, : len(own)] = True
    all_valid = all(len(own) == longest for own in chosen)
    return Gathered(positions=positions, valid=None if all_valid else valid)


def _spread(positions: Tensor, max_tokens: int) -> Tensor:
    if len(positions) <= max_tokens:
        return positions
    steps = torch.linspace(0, len(positions) - 1, max_tokens, device=positions.device)
    return positions[steps.round().long()]


@dataclass(slots=True)
class IdentityStore:
    """What the attention processors of one backbone share."""

    scope: Scope
    gathered: Gathered | None = None
    rotary: Rotary | None = None
    """Tables of the gathered tokens' own positions, `[B, N, …]` and then as the backbone's; None where it has none."""
    capturing: bool = False
    hidden: dict[int, Tensor] = field(default_factory=dict)
    """Block to `[B, N, dim]`: what its self-attention was given for the gathered tokens."""

    def clear(self) -> None:
        """Forget all tokens: attention is the backbone's own again."""
        self.gathered, self.rotary = None, None
        self.hidden = {}

    @contextmanager
    def capture(self, gathered: Gathered, rotary: Rotary | None) -> Iterator[None]:
        """While this lasts, attention keeps the gathered tokens of the pass instead of looking at earlier ones."""
        self.clear()
        self.gathered = gathered
        if rotary is not None:
            self.rotary = (rotary[0][gathered.positions], rotary[1][gathered.positions])
        self.capturing = True
        try:
            yield
        except BaseException:
            self.clear()
            raise
        finally:
            self.capturing = False

    def keep(self, block: int, hidden: Tensor) -> None:
        """Gather this block's tokens from `[B, S, dim]`."""
        assert self.gathered is not None
        index = self.gathered.positions.unsqueeze(-1).expand(-1, -1, hidden.shape[-1])
        self.hidden[block] = hidden.detach().gather(1, index)

    def attention_mask(self, num_keys: int, own: Tensor | None) -> Tensor | None:
        """`[B, 1, 1, num_keys + N]` bool, True = may be looked at; None where all may.

        own: the same `[B, 1, 1, num_keys]` for the window's keys alone.
        """
        assert self.gathered is not None
        valid, positions = self.gathered.valid, self.gathered.positions
        if valid is None and own is None:
            return None
        if own is None:
            own = positions.new_ones(len(positions), 1, 1, num_keys, dtype=torch.bool)
        if valid is None:
            valid = torch.ones_like(positions, dtype=torch.bool)
        return torch.cat([own, valid[:, None, None, :]], dim=-1)
