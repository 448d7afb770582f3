"""Every implementation of a port: the fakes, the models that need no weights, and tiny checkpoints of those that do."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vpdata import models
from vpdata.config import ModelChoice
from vpdata.models import MODELS, Role

WITHOUT_WEIGHTS = ("embedded", "fixed", "scenedetect")


def implementations(role: Role, **fakes: Callable[[], Any]) -> list[Any]:
    """Parameters for pytest: calls that load an implementation, or skip where its package is missing."""
    real = {name: models.maker(role, ModelChoice(name=name)) for name in MODELS[role] if name in WITHOUT_WEIGHTS}
    return [pytest.param(make, id=name) for name, make in {**real, **TINY.get(role, {}), **fakes}.items()]


def _tiny_vlm() -> Any:
    pytest.importorskip("transformers")
    from tests.models.tiny_vlm import save_tiny_vlm

    with tempfile.TemporaryDirectory() as folder:
        weights = str(save_tiny_vlm(Path(folder)))
        options = {"weights": weights, "device": "cpu", "dtype": "float32", "max_new_tokens": 8}
        return models.maker("captioner", ModelChoice(name="vlm", options=options))()


TINY: dict[Role, dict[str, Callable[[], Any]]] = {"captioner": {"vlm": _tiny_vlm}}
