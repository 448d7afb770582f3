"""Small networks whose weights are one file of tensors."""

from __future__ import annotations

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from vpdata.errors import BackendError
from vpdata.models.weights import local_weights

FILE = "model.safetensors"


def read_tensors(weights: str, revision: str | None) -> dict[str, Tensor]:
    """The tensors in `model.safetensors` of these weights; BackendError where it is missing or damaged."""
    file = local_weights(weights, revision) / FILE
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise BackendError(f"{file}: the weights cannot be read: {error}; fetch them again") from error


def fill_module(module: nn.Module, tensors: dict[str, Tensor], *, where: str) -> None:
    """Put the tensors into the module; BackendError where they are not exactly those that it wants."""
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise BackendError(f"{where}: got weights of another architecture: {error}") from error
