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


def fit(
    parameters: Iterable[nn.Parameter],
    loss_of: Callable[[int], Tensor],
    *,
    num_steps: int,
    rate: float,
    what: str,
) -> list[float]:
    """AdamW with the trainer's schedule; `loss_of(step)` is the scalar to go down. Returns every step's loss."""
    parameters = list(parameters)
    settings = OptimizerSettings(learning_rate=rate, warmup_steps=min(50, num_steps // 4))
    optimizer = torch.optim.AdamW(parameters, betas=settings.betas, weight_decay=settings.weight_decay)
    losses, began = [], time.monotonic()
    for step in range(num_steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, num_steps=num_steps, settings=settings)
        loss = loss_of(step)
        loss.backward()
        clip_grad_norm_(parameters, settings.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if (step + 1) % _LOG_EVERY == 0:
            recent = sum(losses[-_LOG_EVERY:]) / _LOG_EVERY
            _log.info("%s: step %d, loss %.4f, %.0f s", what, step + 1, recent, time.monotonic() - began)
    return losses
