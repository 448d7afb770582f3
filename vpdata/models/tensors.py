"""Single files of tensors, opened offline from safetensors."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from vpdata.errors import BackendError

FILE = "model.safetensors"


def read_tensors(weights: str, revision: str | None) -> dict[str, Tensor]:
    """The tensors of `model.safetensors` in the folder `weights`; BackendError where it is missing or damaged."""
    file = Path(weights) / FILE
    if not file.is_file():
        named = f"{weights} at revision {revision}" if revision else weights
        raise BackendError(f"the weights {named} are not on this machine; run `vpdata models fetch {weights}`")
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
