"""Random weights in the files that `vpdata models fetch` writes, under the names that the benchmark asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.init import kaiming_normal_
from torchvision.models import alexnet, squeezenet1_1
from torchvision.models.video import r3d_18

from benchmark.metrics.i3d import I3d
from vpdata.models.pickled import rewrite
from vpdata.models.weights import Lock, locked, write_lock
from vpdata.storage import Folder

TRUNKS = {"squeeze": ("squeezenet1_1", squeezenet1_1), "alex": ("alexnet", alexnet)}


def save_trunk(root: Path, trunk: str) -> Mapping[str, Tensor]:
    """The parameters of a random trunk of LPIPS, saved below `root`."""
    name, network = TRUNKS[trunk]
    return _save(root, name, _lively(network, seed=4))


def save_head(root: Path, trunk: str) -> None:
    """The published heads of LPIPS, which are in the wheel of its authors, fetched as `vpdata models fetch` does."""
    spec = find_spec("lpips")
    assert spec is not None
    assert spec.origin is not None
    folder = root / f"lpips-{trunk}"
    folder.mkdir(parents=True)
    rewrite(Path(spec.origin).parent / f"weights/v0.1/{trunk}.pth", folder / "model.safetensors")
    _lock(folder, "lpips")


def save_video_network(root: Path, name: str = "i3d-rgb-imagenet") -> Mapping[str, Tensor]:
    """The parameters of a random I3D, or of a random ResNet 3D, saved below `root`."""
    return _save(root, name, _lively(r3d_18 if name == "r3d_18" else I3d, seed=5))


def _lively(make: Callable[[], nn.Module], *, seed: int) -> Mapping[str, Tensor]:
    """Random parameters under which pictures stay apart; by default little is left of them after some layers."""
    torch.manual_seed(seed)
    module = make()
    for parameter in module.parameters():
        if parameter.ndim > 2:
            kaiming_normal_(parameter)
    return module.state_dict()


def _save(root: Path, name: str, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    save_file(dict(tensors), folder / "model.safetensors")
    _lock(folder, name)
    return tensors


def _lock(folder: Path, source: str) -> None:
    files = locked(Folder(folder), ["model.safetensors"])
    write_lock(Folder(folder), Lock(source=source, revision="0123456789abcdef", files=files))
