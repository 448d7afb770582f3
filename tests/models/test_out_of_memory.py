"""A GPU too small for a batch: every model on torch halves it, and rejects the one item that never fits.

The lack of memory is played: the first layer of a real network refuses batches above a size, as torch would.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tests.contracts.implementations import TINY
from tests.contracts.test_captioner import request as caption_request
from vpdata.errors import Reason, RejectItem
from vpdata.models.ports import KeyFrame

FRAMES = np.random.default_rng(0).integers(0, 255, (3, 96, 128, 3), dtype=np.uint8)
IMAGES = torch.nn.Conv2d
"""What each network of images begins with."""
TOKENS = torch.nn.Embedding
"""What each network of words begins with."""


def detect(model: Any) -> list[Any]:
    labels = ("red square", "ball")
    found = model.detect([KeyFrame(image=frame, context=frame[None][:0], labels=labels) for frame in FRAMES])
    return [number for boxes in found for box in boxes for number in (*box.box, box.score)]


def track_of_flow(model: Any) -> list[Any]:
    return list(model.score(FRAMES, fps=4.0).values())


def caption(model: Any) -> list[Any]:
    return model.caption([caption_request(), caption_request(is_track=True), caption_request(has_tracks=False)])


def tag(model: Any) -> list[Any]:
    return [tag for tags in model.tags([FRAMES[:1], FRAMES[1:]]) for tag in tags]


def score(model: Any) -> list[Any]:
    return list(model.score(FRAMES, fps=1.0).values())


def score_text(model: Any) -> list[Any]:
    return list(model.score(FRAMES, "A red ball. It rolls.").values())


def embed(model: Any) -> list[Any]:
    return model.embed(FRAMES).tolist()


CASES = [
    ("detector", "grounding-dino", IMAGES, detect, 1),
    ("detector", "owlv2", IMAGES, detect, 1),
    ("captioner", "vlm", TOKENS, caption, 1),
    ("tagger", "openclip", IMAGES, tag, 1),
    ("scorer", "openclip", IMAGES, score, 1),
    ("text_scorer", "openclip", IMAGES, score_text, 1),
    ("embedder", "openclip", IMAGES, embed, 1),
    # RAFT looks at both frames of a pair at once.
    ("scorer", "raft", IMAGES, track_of_flow, 2),
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


@pytest.mark.parametrize(("role", "name", "kind", "ask", "least"), CASES, ids=[f"{one[0]}-{one[1]}" for one in CASES])
def test_batch_is_halved_until_it_fits_and_an_item_that_never_does_is_rejected(role, name, kind, ask, least):
    model = TINY[role][name]()
    wanted = ask(model)
    with small_gpu(kind, capacity=least) as refused:
        found = ask(model)
    assert refused
    assert wanted
    assert found == pytest.approx(wanted, abs=1e-3)
    with small_gpu(kind, capacity=0), pytest.raises(RejectItem, match=r"3\.00 GiB") as caught:
        ask(model)
    assert caught.value.reason is Reason.GPU_MEMORY
