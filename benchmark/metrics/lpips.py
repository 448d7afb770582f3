"""LPIPS: how different two pictures look to a network that people's judgements have calibrated."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize
from torchvision.models import alexnet, squeezenet1_1

from benchmark.metrics.regions import Frame
from vpdata.errors import BackendError
from vpdata.models.gpu import to_device
from vpdata.models.tensors import fill_module, read_tensors

Trunk = Literal["squeeze", "alex"]
_TRUNKS: dict[Trunk, tuple[Any, tuple[int, ...]]] = {
    "squeeze": (squeezenet1_1, (1, 4, 7, 9, 10, 11, 12)),
    "alex": (alexnet, (1, 4, 7, 9, 11)),
}
"""Torchvision's network, and after which of its layers the two pictures are compared."""
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""What takes a colour in [-1, 1] to the range that the trunks were trained on."""


class Lpips:
    """The learned perceptual distance, version 0.1, of Zhang et al. 2018 (https://arxiv.org/abs/1801.03924), eq. 1."""

    def __init__(self, trunk: Trunk, *, trunk_weights: str, head_weights: str, device: torch.device) -> None:
        network, self._ends = _TRUNKS[trunk]
        module: nn.Module = network()
        fill_module(module, read_tensors(trunk_weights, None), where=f"{trunk_weights} ({trunk})")
        self._layers: Any = module.get_submodule("features").to(device).eval()
        heads = read_tensors(head_weights, None)
        try:
            self._heads = [heads[f"lin{index}.model.1.weight"].to(device) for index in range(len(self._ends))]
        except KeyError as error:
            raise BackendError(f"{head_weights}: got {sorted(heads)}, wanted the heads of LPIPS {trunk}") from error
        self._device = device
        self._shift, self._scale = (torch.tensor(value, device=device).view(1, 3, 1, 1) for value in (_SHIFT, _SCALE))

    @torch.inference_mode()
    def __call__(self, output: Frame, truth: Frame) -> tuple[float, NDArray[np.float32]]:
        """The distance of two frames of one size, uint8 [H, W, 3] RGB, and a map of it, float32 [H, W].

        The distance is the sum over layers of each layer's mean, as published. The map is the sum of the layers' maps,
        scaled up bilinearly, as the authors' package gives it with `spatial`: what a region's mean is taken of.
        """
        distance, heat = torch.zeros((), device=self._device), torch.zeros(1, 1, *output.shape[:2], device=self._device)
        for features, head in zip(self._features(np.stack([output, truth])), self._heads, strict=True):
            unit = normalize(features, dim=1, eps=1e-10)
            difference = (torch.square(unit[:1] - unit[1:]) * head).sum(dim=1, keepdim=True)
            distance += difference.mean()
            heat += interpolate(difference, output.shape[:2], mode="bilinear", align_corners=False)
        return distance.item(), heat[0, 0].cpu().numpy()

    def _features(self, frames: NDArray[np.uint8]) -> list[Tensor]:
        pixels = to_device(torch.from_numpy(frames), self._device).permute(0, 3, 1, 2).float() / 127.5 - 1
        values, found = (pixels - self._shift) / self._scale, []
        for index, layer in enumerate(self._layers):
            values = layer(values)
            if index in self._ends:
                found.append(values)
        return found
