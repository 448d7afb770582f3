"""What a backbone was trained to predict, built from its checkpoint's own scheduler config.

Both objectives are stated as a velocity, so that one loss, the mean squared error of the velocity, serves all: for
v-prediction it is the x0 loss weighted by 1 / (1 - alpha_bar) that VideoPainter published, written another way.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vpdata.errors import ConfigError

_BETA_SETTINGS = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "rescale_betas_zero_snr",
    "snr_shift_scale",
)

Span = tuple[float, float]
"""Noise levels [low, high) in units of pure noise."""
WHOLE: Span = (0.0, 1.0)
Levels = Callable[[int], Tensor]
"""A number of steps to the `[num_steps]` falling noise levels that a sampler takes them from, the first of them 1."""


def even_levels(num_steps: int) -> Tensor:
    """Evenly spaced in (0, 1]."""
    return torch.arange(num_steps, 0, -1) / num_steps


class Objective(ABC):
    """How clean latents and noise are mixed at a timestep, and what is predicted from the mixture.

    Latents and noise are `[B, ...]` of one dtype, timesteps `[B]` float32 in the units of the transformer.
    """

    def for_tokens(self, num_tokens: int) -> Objective:
        """The objective for windows of so many tokens, which differs where noise is shifted by their number."""
        return self

    @abstractmethod
    def timesteps(self, uniform: Tensor) -> Tensor:
        """Timesteps of the training distribution from uniform draws in [0, 1), which rise with the noise."""

    @abstractmethod
    def sampling_timesteps(self, num_steps: int) -> Tensor:
        """`[num_steps]` falling timesteps for sampling, from pure noise on."""

    @abstractmethod
    def mix(self, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """Factors `[B]` (float32) of the clean latents and of the noise."""

    @abstractmethod
    def target(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """The velocity that the backbone should predict."""

    @abstractmethod
    def clean_from(self, noisy: Tensor, velocity: Tensor, timesteps: Tensor) -> Tensor:
        """The clean latents that a prediction amounts to."""

    @abstractmethod
    def noise_from(self, noisy: Tensor, velocity: Tensor, timesteps: Tensor) -> Tensor:
        """The noise that a prediction amounts to."""

    def add_noise(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """The noisy latents, mixed in float32 and returned in the dtype of `clean`."""
        clean_factor, noise_factor = (_per_item(factor, clean) for factor in self.mix(timesteps))
        return (clean_factor * clean.float() + noise_factor * noise.float()).to(clean.dtype)


class VPrediction(Objective):
    """Velocity of DDPM (Salimans & Ho 2022, appendix D): v = sqrt(a) * noise - sqrt(1 - a) * clean."""

    def __init__(self, alphas_cumprod: Tensor) -> None:
        """`alphas_cumprod`: `[num_timesteps]` of the scheduler, after its rescaling to zero terminal SNR."""
        self._alphas_cumprod = alphas_cumprod.float()

    def timesteps(self, uniform: Tensor) -> Tensor:
        """Uniform over the scheduler's whole timesteps."""
        return (uniform.float() * len(self._alphas_cumprod)).floor()

    def sampling_timesteps(self, num_steps: int) -> Tensor:
        """Evenly spaced, the last timestep first ("trailing"; Lin et al. 2024, table 2)."""
        num_timesteps = len(self._alphas_cumprod)
        return (torch.arange(num_steps, 0, -1) * num_timesteps / num_steps).round() - 1

    def mix(self, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """sqrt(a) and sqrt(1 - a)."""
        alpha = self._alphas_cumprod.to(timesteps.device)[timesteps.long()]
        return alpha.sqrt(), (1 - alpha).sqrt()

    def target(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """sqrt(a) * noise - sqrt(1 - a) * clean."""
        clean_factor, noise_factor = (_per_item(factor, clean) for factor in self.mix(timesteps))
        return (clean_factor * noise.float() - noise_factor * clean.float()).to(clean.dtype)

    def clean_from(self, noisy: Tensor, velocity: Tensor, timesteps: Tensor) -> Tensor:
        """sqrt(a) * noisy - sqrt(1 - a) * velocity."""
        clean_factor, noise_factor = (_per_item(factor, noisy) for factor in self.mix(timesteps))
        return (clean_factor * noisy.float() - noise_factor * velocity.float()).to(noisy.dtype)

    def noise_from(self, noisy: Tensor, velocity: Tensor, timesteps: Tensor) -> Tensor:
        """sqrt(1 - a) * noisy + sqrt(a) * velocity."""
        clean_factor, noise_factor = (_per_item(factor, noisy) for factor in self.mix(timesteps))
        return (noise_factor * noisy.float() + clean_factor * velocity.float()).to(noisy.dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftByTokens:
    """A shift whose logarithm is linear in the number of tokens: more noise for larger windows."""

    num_tokens: tuple[int, int]
    """Of a small and of a large window."""
    log_shift: tuple[float, float]
    """At both; windows beyond them are on the same line."""

    def __call__(self, num_tokens: int) -> float:
        """The shift of windows with so many tokens."""
        (small, large), (low, high) = self.num_tokens, self.log_shift
        return math.exp(low + (high - low) * (num_tokens - small) / (large - small))


class FlowMatching(Objective):
    """Rectified flow (Liu et al. 2022): noisy = (1 - s) * clean + s * noise, velocity = noise - clean."""

    def __init__(
        self,
        *,
        shift: float | ShiftByTokens,
        num_timesteps: int = 1000,
        span: Span = WHOLE,
        last_level: float | None = None,
        levels: Levels = even_levels,
    ) -> None:
        """`shift` moves the draws towards noise: s = shift * u / (1 + (shift - 1) * u) (Esser et al. 2024, eq. 23).

        `span`: the noise levels s that the transformer is for, where others are another's. `last_level`: what a
        sampler's last level before 0 is stretched to; None: it stays where the shift puts it. `levels`: a sampler's
        before the shift.
        """
        self._shift = shift
        self._num_timesteps = num_timesteps
        self._span = span
        self._last_level = last_level
        self._levels = levels

    def for_tokens(self, num_tokens: int) -> Objective:
        """With the shift of that number."""
        if not isinstance(self._shift, ShiftByTokens):
            return self
        return FlowMatching(
            shift=self._shift(num_tokens),
            num_timesteps=self._num_timesteps,
            span=self._span,
            last_level=self._last_level,
            levels=self._levels,
        )

    def timesteps(self, uniform: Tensor) -> Tensor:
        """Shifted draws in [0, num_timesteps), or those of them that lie in the span."""
        if self._span == WHOLE:
            return self._shifted(uniform)
        shift = self._fixed_shift
        low, high = (level / (shift - (shift - 1) * level) for level in self._span)
        start, stop = (torch.tensor(level * self._num_timesteps, device=uniform.device) for level in self._span)
        # Rounding must not hand a timestep to the other transformer.
        return self._shifted(low + (high - low) * uniform.float()).clamp(start, stop.nextafter(start))

    def sampling_timesteps(self, num_steps: int) -> Tensor:
        """The sampler's levels, shifted. ConfigError where the span is not the whole."""
        if self._span != WHOLE:
            raise ConfigError(
                "this transformer is one of two, and only both together make a video from noise; sampling with two is "
                "not supported"
            )
        timesteps = self._shifted(self._levels(num_steps))
        if self._last_level is None or num_steps == 1:  # the one step is from pure noise
            return timesteps
        cleanness = 1 - timesteps / self._num_timesteps
        return self._num_timesteps * (1 - cleanness * (1 - self._last_level) / cleanness[-1])

    def mix(self, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """1 - s and s."""
        sigma = timesteps.float() / self._num_timesteps
        return 1 - sigma, sigma

    def target(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """noise - clean."""
        return noise - clean

    def clean_from(self, noisy: Tensor, velocity: Tensor, timesteps: Tensor) -> Tensor:
        """noisy - s * velocity."""
        sigma = _per_item(self.mix(timesteps)[1], noisy)
        return (noisy.float() - sigma * velocity.float()).to(noisy.dtype)

    def noise_from(self, noisy: Tensor, velocity: Tensor, timesteps: Tensor) -> Tensor:
        """noisy + (1 - s) * velocity."""
        remaining = _per_item(self.mix(timesteps)[0], noisy)
        return (noisy.float() + remaining * velocity.float()).to(noisy.dtype)

    @property
    def _fixed_shift(self) -> float:
        if isinstance(self._shift, ShiftByTokens):
            raise ValueError("the shift of this objective follows from the number of tokens: call for_tokens first")
        return self._shift

    def _shifted(self, uniform: Tensor) -> Tensor:
        shift, uniform = self._fixed_shift, uniform.float()
        return self._num_timesteps * shift * uniform / (1 + (shift - 1) * uniform)


def objective_of(scheduler: Mapping[str, Any], *, span: Span = WHOLE, levels: Levels = even_levels) -> Objective:
    """The objective that a checkpoint's `scheduler_config.json` stands for; ConfigError for one that is not known.

    `span` and `levels`: see `FlowMatching`; samplers of v-prediction have levels of their own.
    """
    kind = scheduler.get("prediction_type")
    num_timesteps = scheduler.get("num_train_timesteps", 1000)
    if kind == "v_prediction" and span == WHOLE:
        return VPrediction(_alphas_cumprod(scheduler))
    if kind == "flow_prediction":
        return FlowMatching(
            shift=float(scheduler.get("flow_shift", 1.0)), num_timesteps=num_timesteps, span=span, levels=levels
        )
    if str(scheduler.get("_class_name", "")).startswith("FlowMatch"):
        return FlowMatching(
            shift=_flow_shift(scheduler),
            num_timesteps=num_timesteps,
            span=span,
            last_level=scheduler.get("shift_terminal"),
            levels=levels,
        )
    raise ConfigError(
        f"the scheduler {scheduler.get('_class_name')} predicts {kind!r}, wanted v_prediction or flow matching; "
        "is this the folder of a whole pipeline?"
    )


def _flow_shift(scheduler: Mapping[str, Any]) -> float | ShiftByTokens:
    """Of a FlowMatchEulerDiscreteScheduler, in which a shift by tokens overrules the fixed one too."""
    if not scheduler.get("use_dynamic_shifting"):
        return float(scheduler.get("shift", 1.0))
    if (kind := scheduler.get("time_shift_type", "exponential")) != "exponential":
        raise ConfigError(f"the scheduler shifts by the number of tokens in the way {kind!r}, wanted exponential")
    return ShiftByTokens(
        num_tokens=(scheduler.get("base_image_seq_len", 256), scheduler.get("max_image_seq_len", 4096)),
        log_shift=(scheduler.get("base_shift", 0.5), scheduler.get("max_shift", 1.15)),
    )


def _alphas_cumprod(scheduler: Mapping[str, Any]) -> Tensor:
    from diffusers.schedulers.scheduling_ddim_cogvideox import CogVideoXDDIMScheduler

    # The samplers published with a checkpoint share these settings; those of their own are not ours.
    arguments = {key: value for key, value in scheduler.items() if key in _BETA_SETTINGS}
    return CogVideoXDDIMScheduler(**arguments).alphas_cumprod


def _per_item(factor: Tensor, like: Tensor) -> Tensor:
    return factor.reshape(-1, *[1] * (like.ndim - 1))
