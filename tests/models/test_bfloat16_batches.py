"""In bfloat16 a batch gives what its items give one by one, within the tolerance that stands at each model.

SAM 2 is tested beside its other equalities; of a language model the likeliest word may change with the last bit.
"""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

from tests.models.tiny_clip import save_tiny_clip
from tests.models.tiny_detectors import save_grounding_dino, save_owlv2
from vpdata import models
from vpdata.config import ModelChoice
from vpdata.models.ports import KeyFrame

FRAMES = np.random.default_rng(0).integers(0, 255, (3, 64, 96, 3), dtype=np.uint8)
EPSILON = 2.0**-8
"""Half a unit in the last of bfloat16's 8 significant bits, of a number near 1."""


def load(role, name, weights, **options):
    options = {"weights": str(weights), "device": "cpu", "dtype": "bfloat16", **options}
    return models.maker(role, ModelChoice(name=name, options=options))()


@pytest.mark.parametrize(("name", "save"), [("grounding-dino", save_grounding_dino), ("owlv2", save_owlv2)])
def test_scores_and_boxes_of_a_detector(tmp_path, name, save):
    """Scores within 2 units of the last bit, edges within 1/256 of the frame."""
    limits = {"max_iou": 1.0, "max_boxes": 10_000}
    detector = load("detector", name, save(tmp_path), min_score=0.0, limits=limits)
    key_frames = [KeyFrame(image=frame, context=frame[None][:0], labels=("cat", "dog")) for frame in FRAMES]
    together, alone = detector.detect(key_frames), [detector.detect([one])[0] for one in key_frames]
    for several, one in zip(together, alone, strict=True):
        assert len(several) == len(one) > 10
        numbers = [np.array(sorted((*box.box, box.score) for box in boxes)) for boxes in (several, one)]
        np.testing.assert_allclose(numbers[0][:, :4], numbers[1][:, :4], atol=96 * EPSILON)
        np.testing.assert_allclose(numbers[0][:, 4], numbers[1][:, 4], atol=4 * EPSILON)


def test_embeddings_of_clip(tmp_path):
    """Numbers of a unit vector within 2 units of the last bit."""
    embedder = load("embedder", "openclip", save_tiny_clip(tmp_path))
    together = embedder.embed(FRAMES)
    alone = np.mean([embedder.embed(frame[None]) for frame in FRAMES], axis=0)
    np.testing.assert_allclose(together, alone / np.linalg.norm(alone), atol=4 * EPSILON)
