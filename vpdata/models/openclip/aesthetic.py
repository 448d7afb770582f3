"""LAION's aesthetic predictors: linear heads on the image embeddings of OpenAI's CLIP ViT-L/14."""

from __future__ import annotations

import re
from functools import reduce

import torch
from torch import Tensor

from vpdata.errors import BackendError
from vpdata.models.tensors import read_tensors

_LAYER = re.compile(r"layers\.(\d+)\.weight")


class AestheticHead:
    """How people would rate a picture, about 1 to 10.

    Opens both published layouts: `weight` and `bias` of the first predictor (LAION-AI/aesthetic-predictor), and
    `layers.<n>.weight` and `.bias` of the second (christophschuhmann/improved-aesthetic-predictor), whose five layers
    have no activation between them and so are one.
    """

    def __init__(self, weights: str, revision: str | None) -> None:
        tensors = {name: tensor.double() for name, tensor in read_tensors(weights, revision).items()}
        numbers = sorted(int(match[1]) for name in tensors if (match := _LAYER.fullmatch(name)))
        prefixes = [f"layers.{number}." for number in numbers] or [""]
        try:
            layers = [(tensors[f"{prefix}weight"], tensors[f"{prefix}bias"]) for prefix in prefixes]
            # In float64, so that folding the layers costs no precision.
            weight, bias = reduce(lambda before, layer: (layer[0] @ before[0], layer[0] @ before[1] + layer[1]), layers)
        except (KeyError, RuntimeError) as error:
            raise BackendError(f"{weights}: got {sorted(tensors)}, wanted the layers of an aesthetic head") from error
        if weight.shape[0] != 1:
            raise BackendError(f"{weights}: got a head with {weight.shape[0]} outputs, wanted one")
        self._weight, self._bias = weight[0], bias[0]

    @property
    def num_values(self) -> int:
        """Length of the embeddings that it was trained on."""
        return len(self._weight)

    def __call__(self, embeddings: Tensor) -> Tensor:
        """float64 [N] from the embeddings of N images, float32 [N, D] of unit length."""
        return torch.mv(embeddings.double(), self._weight) + self._bias
