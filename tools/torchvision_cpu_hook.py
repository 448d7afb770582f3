"""Lets a CUDA build of torchvision be imported beside a CPU build of torch, where a machine has only those two.

Where its native operators do not load, `nms` is declared in Python before torchvision registers fakes for it.
`make` installs this file with `python -m tools.torchvision_cpu_hook`, only where it is needed; the package never does.
It leans on torchvision's module names, so constraints.txt pins torchvision.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

_INSTALLED_NAME = "_vpdata_torchvision_cpu_hook"


class _BeforeTorchvision(importlib.abc.MetaPathFinder):
    """Declares the missing operators when torchvision is first looked for."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "torchvision":
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is not None and spec.origin is not None and not _native_operators_load(Path(spec.origin).parent):
            _declare_operators()
            sys.meta_path.insert(0, _WithoutNativeCheck())
        return spec


class _WithoutNativeCheck(importlib.abc.MetaPathFinder):
    """torchvision.ops.boxes.nms refuses to run unless `_assert_has_ops` passes."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "torchvision.ops.boxes":
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        assert spec is not None
        assert spec.loader is not None
        run_module = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            run_module(module)
            module._assert_has_ops = lambda: None  # type: ignore[attr-defined]

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


_libraries: list[Any] = []
"""Kept alive: the operators vanish with their library."""


def _native_operators_load(folder: Path) -> bool:
    import torch

    try:
        torch.ops.load_library(folder / "_C.so")
    except OSError:
        return False
    return True


def _declare_operators() -> None:
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.impl("nms", _nms, "CPU")
    _libraries.append(library)


def _nms(dets: Any, scores: Any, iou_threshold: float) -> Any:
    """Indices of the boxes [N, 4] (x0 y0 x1 y1) that greedy non-maximum suppression keeps, best first."""
    import torch

    order = scores.argsort(descending=True, stable=True)
    boxes = dets[order]
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    suppressed = torch.zeros(len(boxes), dtype=torch.bool)
    kept: list[int] = []
    for index in range(len(boxes)):
        if suppressed[index]:
            continue
        kept.append(index)
        rest = boxes[index + 1 :]
        low, high = torch.maximum(boxes[index, :2], rest[:, :2]), torch.minimum(boxes[index, 2:], rest[:, 2:])
        overlap = (high - low).clamp(min=0).prod(dim=1)
        suppressed[index + 1 :] |= overlap / (areas[index] + areas[index + 1 :] - overlap) > iou_threshold
    return order[torch.tensor(kept, dtype=torch.long)]


def install() -> None:
    """Copy this file into the environment, to be loaded at every start of its Python, where torchvision needs it."""
    if importlib.util.find_spec("torchvision") is None:
        return
    if subprocess.run([sys.executable, "-c", "import torchvision"], capture_output=True, check=False).returncode == 0:
        return
    site = Path(sysconfig.get_path("purelib"))
    shutil.copyfile(__file__, site / f"{_INSTALLED_NAME}.py")
    (site / f"{_INSTALLED_NAME}.pth").write_text(f"import {_INSTALLED_NAME}\n")


if __name__ == "__main__":
    install()
elif __name__ == _INSTALLED_NAME:
    sys.meta_path.insert(0, _BeforeTorchvision())
