"""One vector for a whole video, by a network that was trained to tell actions: what FVID compares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.models.video import mc3_18, r2plus1d_18, r3d_18

from benchmark.metrics.i3d import I3d
from benchmark.metrics.regions import Frames
from vpdata.models.gpu import to_device
from vpdata.models.tensors import fill_module, read_tensors

Network = Literal["i3d", "i3d-paper", "r3d_18", "mc3_18", "r2plus1d_18"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """How pixels become the input of a network."""

    side_px: int | None
    """Frames are scaled to a square of that side; None: left as they are."""
    mean: tuple[float, float, float]
    """Taken off colours in [0, 1]."""
    std: tuple[float, float, float]
    """What they are divided by then."""
    has_own_statistics: bool = False
    """Whether batch normalisation takes mean and variance of the video itself, not those of the training."""


_KINETICS = Preparation(side_px=112, mean=(0.43216, 0.394666, 0.37645), std=(0.22803, 0.22145, 0.216989))
"""Of torchvision's video networks."""
NETWORKS: dict[Network, tuple[Callable[[], nn.Module], Preparation]] = {
    # Trained on [-1, 1] and 224 px.
    "i3d": (I3d, Preparation(side_px=224, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))),
    # As VideoPainter calls it: [0, 1], the video's own size, and one video at a time in a network in training mode.
    "i3d-paper": (
        I3d,
        Preparation(side_px=None, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), has_own_statistics=True),
    ),
    "r3d_18": (r3d_18, _KINETICS),
    "mc3_18": (mc3_18, _KINETICS),
    "r2plus1d_18": (r2plus1d_18, _KINETICS),
}
"""Another network is one more line: a module from [N, 3, T, H, W] to [N, D]."""


class VideoFeatures:
    """A network of `NETWORKS` with local weights."""

    def __init__(self, network: Network, *, weights: str, revision: str | None, device: torch.device) -> None:
        make, self._preparation = NETWORKS[network]
        module: Any = make()
        fill_module(module, read_tensors(weights, revision), where=f"{weights} ({network})")
        if hasattr(module, "fc"):
            module.fc = nn.Identity()
        if self._preparation.has_own_statistics:
            _forget_statistics(module)
        self._module, self._device = module.to(device).eval(), device

    @torch.inference_mode()
    def __call__(self, frames: Frames) -> NDArray[np.float32]:
        """float32 [D] of a video of one frame or more."""
        return self._module(self._pixels(frames))[0].float().cpu().numpy()

    def _pixels(self, frames: Frames) -> Tensor:
        prepared = self._preparation
        if prepared.side_px is not None:
            size = (prepared.side_px, prepared.side_px)
            frames = np.stack([np.asarray(cv2.resize(one, size, interpolation=cv2.INTER_AREA)) for one in frames])
        pixels = to_device(torch.from_numpy(np.ascontiguousarray(frames)), self._device)
        mean, std = (torch.tensor(values, device=self._device) for values in (prepared.mean, prepared.std))
        return ((pixels.float() / 255 - mean) / std).permute(3, 0, 1, 2)[None]


def _forget_statistics(module: nn.Module) -> None:
    """Without any that it kept, batch normalisation takes those of its input, in `eval` too; nothing is updated."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm3d):
            part.running_mean = part.running_var = None
