"""From noise to latents by the first-order sampler that both objectives share.

With a clean and a noise factor per timestep, DDIM without noise (Song et al. 2021, eq. 12) and Euler's method on a
rectified flow are the same step: estimate the clean latents and the noise, and mix them anew for the next timestep.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vpdata.backbones.objective import Objective

Velocity = Callable[[Tensor, Tensor], Tensor]
"""Noisy latents `[B, C, F, h, w]` and timesteps `[B]` to a velocity of the latents' shape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownLatents:
    """Latents that stay as they are: after each step they replace what was made, as noisy as the rest is."""

    clean: Tensor
    """[B, C, F, h, w]"""
    hole: Tensor
    """[B, 1, F, h, w], 1 where latents are made."""


@torch.no_grad()
def sample(
    velocity: Velocity,
    noise: Tensor,
    objective: Objective,
    *,
    num_steps: int,
    known: KnownLatents | None = None,
    on_step: Callable[[int], None] = lambda step: None,
) -> Tensor:
    """Clean latents `[B, C, F, h, w]` from standard normal noise of that shape, in its dtype.

    `on_step` is called before each step with its number, and may raise to stop.
    """
    timesteps = objective.sampling_timesteps(num_steps).to(noise.device)
    # Sums of many small steps are kept in float32.
    latents = noise.float()
    for step in range(num_steps):
        on_step(step)
        now = timesteps[step].expand(len(noise))
        predicted = velocity(latents.to(noise.dtype), now).float()
        clean = objective.clean_from(latents, predicted, now)
        if step == num_steps - 1:
            latents = _replaced(clean, known, known.clean.float() if known else None)
            break
        following = timesteps[step + 1].expand(len(noise))
        latents = objective.add_noise(clean, objective.noise_from(latents, predicted, now), following)
        if known is not None:
            latents = _replaced(latents, known, objective.add_noise(known.clean.float(), noise.float(), following))
    return latents.to(noise.dtype)


def guided(velocity: Velocity, without_text: Velocity, *, scale: float) -> Velocity:
    """Classifier-free guidance (Ho & Salimans 2022): away from what is predicted without text; none at scale 1."""
    if scale == 1:
        return velocity

    def both(noisy: Tensor, timesteps: Tensor) -> Tensor:
        plain = without_text(noisy, timesteps)
        return plain + scale * (velocity(noisy, timesteps) - plain)

    return both


def _replaced(latents: Tensor, known: KnownLatents | None, by: Tensor | None) -> Tensor:
    return latents if known is None or by is None else torch.where(known.hole > 0, latents, by)
