"""One plain loop for everything that the study trains."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from vpdata.train.schedule import OptimizerSettings, learning_rate

_log = logging.getLogger(__name__)
_LOG_EVERY = 50
_SMALLEST_MATRIX = 32
_MUON_WEIGHT_DECAY = 0.01


def fit(
    parameters: Iterable[nn.Parameter],
    loss_of: Callable[[int], Tensor],
    *,
    num_steps: int,
    rate: float,
    what: str,
) -> list[float]:
    """Muon (Jordan et al. 2024) for matrices and AdamW for the rest, with the trainer's schedule.

    Muon reaches AdamW's loss in about three quarters of the steps here. `loss_of(step)` is the scalar to go down;
    returns every step's loss.
    """
    parameters = list(parameters)
    settings = OptimizerSettings(learning_rate=rate, warmup_steps=min(50, num_steps // 4))
    optimizers = _optimizers(parameters, settings)
    losses, began = [], time.monotonic()
    for step in range(num_steps):
        loss = loss_of(step)
        loss.backward()
        clip_grad_norm_(parameters, settings.max_grad_norm)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, num_steps=num_steps, settings=settings)
            optimizer.step()
            optimizer.zero_grad()
        losses.append(loss.item())
        if (step + 1) % _LOG_EVERY == 0:
            recent = sum(losses[-_LOG_EVERY:]) / _LOG_EVERY
            _log.info("%s: step %d, loss %.4f, %.0f s", what, step + 1, recent, time.monotonic() - began)
    return losses


def compile_blocks(blocks: Iterable[nn.Module]) -> None:
    """Compile what each block computes; hooks on it stay outside."""
    for block in blocks:
        block.forward = torch.compile(block.forward)


def _optimizers(parameters: list[nn.Parameter], settings: OptimizerSettings) -> list[torch.optim.Optimizer]:
    matrices = [one for one in parameters if one.ndim == 2 and min(one.shape) >= _SMALLEST_MATRIX]
    taken = {id(one) for one in matrices}
    rest = [one for one in parameters if id(one) not in taken]
    optimizers: list[torch.optim.Optimizer] = []
    if matrices:
        optimizers.append(torch.optim.Muon(matrices, weight_decay=_MUON_WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw"))
    if rest:
        optimizers.append(torch.optim.AdamW(rest, betas=settings.betas, weight_decay=settings.weight_decay))
    return optimizers
