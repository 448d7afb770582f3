"""The learning rate as a pure function of the step, so that a resumed run needs no state for it."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerSettings:
    """AdamW with a warm-up and a cosine decay to zero."""

    learning_rate: float = 1e-5
    """At the top, after the warm-up. VideoPainter has 1e-5 for the context encoder, in its paper and in its released
    script; for the ID adapter its script has 5e-5, its paper 1e-5."""
    warmup_steps: int = 1000
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 1e-4
    max_grad_norm: float = 1.0
    """Gradients of a larger norm are scaled down to it."""

    def __post_init__(self) -> None:
        if self.learning_rate <= 0 or self.max_grad_norm <= 0:
            raise ValueError("got a learning_rate or a max_grad_norm of 0 or less, wanted more")
        if self.warmup_steps < 0:
            raise ValueError(f"got warmup_steps {self.warmup_steps}, wanted 0 or more")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"got betas {list(self.betas)}, wanted two of 0 or more, and less than 1")
        if self.weight_decay < 0:
            raise ValueError(f"got weight_decay {self.weight_decay}, wanted 0 or more")


def learning_rate(step: int, *, num_steps: int, settings: OptimizerSettings) -> float:
    """Rate of optimizer step `step` in [0, num_steps): linear over the warm-up, then half a cosine towards zero."""
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    decayed = (step - settings.warmup_steps) / max(num_steps - settings.warmup_steps, 1)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * decayed))
