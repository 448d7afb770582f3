"""Checkpoints that were published as pickles, rewritten as safetensors."""

from __future__ import annotations

import pickle
from pathlib import Path

from vpdata.errors import BackendError
from vpdata.extras import needs

with needs("models", "rewriting a pickle"):
    import torch
    from safetensors.torch import save_file


def rewrite(source: Path, to: Path) -> None:
    """Read a `.pt` or `.pth` file with torch's restricted unpickler and write its tensors, by name, to safetensors.

    The names stay as they are. BackendError for a file that holds more than tensors, no dictionary of them by name, or
    some that safetensors has no form for, such as sparse and quantized ones.
    """
    try:
        state = torch.load(source, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise BackendError(f"{source.name} cannot be read as plain tensors: {error}") from error
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in state.items()
    ):
        raise BackendError(f"{source.name}: got a {type(state).__name__}, wanted a dictionary of tensors by name")
    try:
        # Copied, since safetensors refuses tensors that share memory.
        save_file({name: value.clone().contiguous() for name, value in state.items()}, to)
    except (KeyError, RuntimeError) as error:
        raise BackendError(f"{source.name}: got tensors that safetensors cannot hold: {error}") from error
