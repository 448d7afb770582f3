"""What every model on torch is asked in tests, and its answer as a list of numbers or texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tests.contracts.test_captioner import request as caption_request
from vpdata.models.ports import BoxPrompt, KeyFrame

FRAMES = np.random.default_rng(0).integers(0, 255, (3, 96, 128, 3), dtype=np.uint8)


def detect(model: Any) -> list[Any]:
    labels = ("red square", "ball")
    found = model.detect([KeyFrame(image=frame, context=frame[None][:0], labels=labels) for frame in FRAMES])
    return [number for boxes in found for box in boxes for number in (*box.box, box.score)]


def measure_motion(model: Any) -> list[Any]:
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


def find_shots(model: Any) -> list[Any]:
    frames = np.random.default_rng(1).integers(0, 255, (20, 27, 48, 3), dtype=np.uint8)
    return list(model.transition_probabilities(iter(frames)))


def track(model: Any) -> list[Any]:
    prompts = [BoxPrompt(frame=1, box=(8.0, 8.0, 60.0, 60.0), label="ball")]
    return [one.score for one in model.track(FRAMES, prompts, height_px=96, width_px=128, seed=0)]


QUESTIONS: Mapping[tuple[str, str], Callable[[Any], list[Any]]] = {
    ("detector", "grounding-dino"): detect,
    ("detector", "owlv2"): detect,
    ("captioner", "vlm"): caption,
    ("tagger", "openclip"): tag,
    ("scorer", "nsfw"): score,
    ("scorer", "openclip"): score,
    ("text_scorer", "openclip"): score_text,
    ("embedder", "openclip"): embed,
    ("scorer", "raft"): measure_motion,
    ("shot_detector", "transnetv2"): find_shots,
    ("mask_tracker", "sam2"): track,
    ("mask_tracker", "sam2-package"): track,
}
"""By role and name."""
