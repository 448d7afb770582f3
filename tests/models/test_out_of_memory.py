"""A GPU too small for a batch: every model on torch halves it, and rejects the one item that never fits.

The lack of memory is played: the first layer of a real network refuses batches above a size, as torch would.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from tests.contracts.implementations import TINY
from tests.models.questions import QUESTIONS
from vpdata import models
from vpdata.config import ModelChoice
from vpdata.errors import BackendError, Reason, RejectItem

IMAGES = torch.nn.Conv2d
"""What each network of images begins with."""
TOKENS = torch.nn.Embedding
"""What each network of words begins with."""


CASES = [
    ("detector", "grounding-dino", IMAGES, 1),
    ("detector", "owlv2", IMAGES, 1),
    ("captioner", "vlm", TOKENS, 1),
    ("tagger", "openclip", IMAGES, 1),
    ("scorer", "nsfw", IMAGES, 1),
    ("scorer", "openclip", IMAGES, 1),
    ("text_scorer", "openclip", IMAGES, 1),
    ("embedder", "openclip", IMAGES, 1),
    # RAFT looks at both frames of a pair at once.
    ("scorer", "raft", IMAGES, 2),
]


@contextmanager
def small_gpu(kind: type, *, capacity: int) -> Iterator[list[int]]:
    """Layers of this kind take batches up to the capacity; yields the sizes that were refused."""
    refused: list[int] = []

    def refuse(module: Any, arguments: tuple[Any, ...]) -> None:
        if isinstance(module, kind) and len(arguments[0]) > capacity:
            refused.append(len(arguments[0]))
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.00 GiB")

    handle = torch.nn.modules.module.register_module_forward_pre_hook(refuse)
    try:
        yield refused
    finally:
        handle.remove()


@pytest.mark.parametrize(("role", "name", "kind", "least"), CASES, ids=[f"{one[0]}-{one[1]}" for one in CASES])
def test_batch_is_halved_until_it_fits_and_an_item_that_never_does_is_rejected(role, name, kind, least):
    model, ask = TINY[role][name](), QUESTIONS[role, name]
    wanted = ask(model)
    with small_gpu(kind, capacity=least) as refused:
        found = ask(model)
    assert refused
    assert wanted
    assert found == pytest.approx(wanted, abs=1e-3)
    with small_gpu(kind, capacity=0), pytest.raises(RejectItem, match=r"3\.00 GiB") as caught:
        ask(model)
    assert caught.value.reason is Reason.GPU_MEMORY


def test_video_whose_thumbnails_do_not_fit_is_rejected():
    model = TINY["shot_detector"]["transnetv2"]()
    with small_gpu(torch.nn.Conv3d, capacity=0), pytest.raises(RejectItem, match=r"3\.00 GiB") as caught:
        QUESTIONS["shot_detector", "transnetv2"](model)
    assert caught.value.reason is Reason.GPU_MEMORY


@pytest.mark.parametrize(
    ("role", "name", "save"),
    [
        ("detector", "owlv2", "tiny_detectors:save_owlv2"),
        ("mask_tracker", "sam2", "tiny_sam2:save_tiny_sam2"),
        ("captioner", "vlm", "tiny_vlm:save_tiny_vlm"),
        ("scorer", "nsfw", "tiny_vit:save_tiny_vit"),
        ("scorer", "openclip", "tiny_clip:save_tiny_clip"),
        ("scorer", "raft", "tiny_raft:save_raft"),
    ],
)
def test_weights_that_do_not_fit_are_no_items_fault(tmp_path, monkeypatch, role, name, save):
    def refuse(module: Any, *place: object, **options: object) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 17.00 GiB")

    module, _, function = save.partition(":")
    weights = str(getattr(import_module(f"tests.models.{module}"), function)(tmp_path))
    options = {"weights": weights, "device": "cpu"} | ({"size": "small"} if name == "raft" else {})
    monkeypatch.setattr(torch.nn.Module, "to", refuse)
    with pytest.raises(BackendError, match=r"do not fit .* 17\.00 GiB.*resources\.gpu_memory_gb"):
        models.maker(role, ModelChoice(name=name, options=options))()
