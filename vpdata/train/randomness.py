"""Random draws that depend on the seed and the sample alone, so that resuming and other world sizes draw the same.

Every sample of a training has an ordinal that counts on over epochs; each kind of draw has a purpose of its own. All
draws are made on the CPU, since generators of other devices give other numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

Purpose = Literal["noise", "timestep", "text", "caption", "variant", "mask", "crop", "identity", "initial weights"]


def seed_of(seed: int, *, ordinal: int, purpose: Purpose) -> int:
    """A 63-bit seed, the same on every machine, for generators of any library."""
    digest = hashlib.blake2b(f"{seed}/{ordinal}/{purpose}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(seed: int, *, ordinal: int, purpose: Purpose) -> torch.Generator:
    """A fresh CPU generator for one kind of draw of one sample."""
    return torch.Generator("cpu").manual_seed(seed_of(seed, ordinal=ordinal, purpose=purpose))


def noise(shape: Sequence[int], *, seed: int, ordinals: Sequence[int], purpose: Purpose = "noise") -> Tensor:
    """Standard normal float32 `[B, *shape]` on the CPU, one draw per ordinal."""
    return torch.stack(
        [torch.randn(*shape, generator=generator(seed, ordinal=ordinal, purpose=purpose)) for ordinal in ordinals]
    )


def uniform(purpose: Purpose, *, seed: int, ordinals: Sequence[int]) -> Tensor:
    """Uniform float32 `[B]` in [0, 1) on the CPU, one draw per ordinal."""
    draws = [torch.rand((), generator=generator(seed, ordinal=ordinal, purpose=purpose)) for ordinal in ordinals]
    return torch.stack(draws)
