"""RAFT's small network with random weights, saved as the published ones are fetched."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torchvision.models.optical_flow import raft_small


def save_raft(folder: Path) -> Path:
    """The folder, with the weights in it."""
    torch.manual_seed(3)
    save_file(raft_small().state_dict(), folder / "model.safetensors")
    return folder
