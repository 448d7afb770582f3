"""OWLv2: a tiny random checkpoint, against transformers itself."""

from __future__ import annotations

import logging

import numpy as np
import pytest

pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

from PIL import Image as Picture
from transformers import Owlv2ForObjectDetection, Owlv2Processor, pipeline

from tests.models.tiny_detectors import checkered, save_owlv2
from vpdata.models.huggingface.boxes import BoxLimits
from vpdata.models.huggingface.owlv2 import Owlv2
from vpdata.models.huggingface.settings import Owlv2Settings


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_owlv2(tmp_path_factory.mktemp("owlv2"))


@pytest.fixture(scope="module")
def detector(folder):
    def make(**options):
        limits = BoxLimits(max_iou=1.0)
        known = {"weights": str(folder), "device": "cpu", "dtype": "float32", "min_score": 0.0, "limits": limits}
        return Owlv2(Owlv2Settings(**(known | options)))

    return make


CLOSE = 1e-6
"""In float32, of a batch against one by one: of a score, and of the longer side of a frame (docs/decisions.md)."""
OF_FRAME = np.array([96.0, 96.0, 96.0, 96.0, 1.0])
"""What `numbers` are told in: frames are of 96x64 and smaller."""


def numbers(boxes):
    """float [N, 5] in order of the edges: x0, y0, x1, y1, score."""
    return np.array(sorted((*box.box, box.score) for box in boxes)).reshape(-1, 5)


def seen(answers):
    """The library's boxes clipped to 96x64, those without a pixel left out, in the order and form of `numbers`."""
    edges, scores = np.clip(answers[:, :4], 0, [96, 64, 96, 64]), answers[:, 4:]
    holds_a_pixel = (edges[:, 2:] - edges[:, :2] >= 1).all(axis=1)
    return np.array(sorted(np.hstack([edges, scores])[holds_a_pixel].tolist())).reshape(-1, 5)


def test_answers_equal_those_of_transformers_pipeline(folder, detector):
    """The pipeline cuts edges down to whole pixels and clips nothing; it answers once per label, we with the best."""
    labels = ["red square", "cat", "sports ball"]
    key_frame = checkered(labels, seed=1)
    ask = pipeline("zero-shot-object-detection", model=str(folder), device="cpu", dtype=torch.float32)
    texts = [f"a photo of a {label}" for label in labels]
    answers = ask(Picture.fromarray(key_frame.image), candidate_labels=texts, threshold=0.0)
    best = {}
    for one in sorted(answers, key=lambda one: one["score"]):
        best[tuple(one["box"].values())] = (one["score"], one["label"].removeprefix("a photo of a "))
    (boxes,) = detector().detect([key_frame])
    inside = [box for box in boxes if box.box[0] > 0 and box.box[1] > 0 and box.box[2] < 96 and box.box[3] < 64]
    assert len(inside) >= 10
    for box in inside:
        score, label = best[tuple(int(edge) for edge in box.box)]
        assert (box.label, box.score) == (label, pytest.approx(score, abs=1e-5))


@torch.inference_mode()
def test_answers_equal_those_of_the_processor(folder, detector):
    labels = ["red square", "cat", "sports ball"]
    key_frame = checkered(labels, seed=2)
    processor = Owlv2Processor.from_pretrained(folder)
    texts = [[f"a photo of a {label}" for label in labels]]
    inputs = processor(text=texts, images=Picture.fromarray(key_frame.image), return_tensors="pt")
    outputs = Owlv2ForObjectDetection.from_pretrained(folder)(**inputs)
    (found,) = processor.post_process_grounded_object_detection(
        outputs, threshold=0.3, target_sizes=[(64, 96)], text_labels=[labels]
    )
    (boxes,) = detector(min_score=0.3).detect([key_frame])
    wanted = seen(torch.cat([found["boxes"], found["scores"][:, None]], dim=1).numpy())
    np.testing.assert_allclose(numbers(boxes), wanted, atol=1e-4)
    assert {box.label for box in boxes} <= set(found["text_labels"])
    assert len(boxes) >= 10


def test_batch_over_clips_equals_key_frames_one_by_one(detector):
    key_frames = [
        checkered(["cat", "dog"], seed=1),
        checkered(["sports ball"], seed=2, height_px=48, width_px=80),
        checkered([], seed=3),
        checkered(["tall red square", "fire truck", "dog"], seed=4),
    ]
    ask = detector(batch_size=3, min_score=0.5).detect
    together, alone = ask(key_frames), [ask([key_frame])[0] for key_frame in key_frames]
    for several, one in zip(together, alone, strict=True):
        assert [box.label for box in several] == [box.label for box in one]
        # The last bits of a matrix product depend on the number of its rows.
        np.testing.assert_allclose(numbers(several) / OF_FRAME, numbers(one) / OF_FRAME, atol=CLOSE)
    assert [len(boxes) > 0 for boxes in together] == [True, True, False, True]


def test_labels_do_not_change_each_other_s_scores(detector):
    asked = [f"object {number}" for number in range(300)]
    ask = detector().detect
    few, many = ask([checkered(["cat"], seed=1)])[0], ask([checkered(["cat", *asked], seed=1)])[0]
    alone = {box.box: box.score for box in few}
    still = [box for box in many if box.label == "cat"]
    assert still
    assert all(box.score == pytest.approx(alone[box.box], abs=1e-5) for box in still)
    assert len({box.label for box in many}) > 1


def test_nothing_to_look_for_finds_nothing(detector):
    assert detector().detect([checkered([], seed=1)]) == [[]]
    assert detector().detect([]) == []


def test_label_that_cannot_be_read_whole_is_logged(detector, caplog):
    label = "a very long story about one single cat"
    with caplog.at_level(logging.WARNING):
        (boxes,) = detector().detect([checkered([label], seed=1)])
    assert repr(label) in caplog.text
    assert {box.label for box in boxes} == {label}


@pytest.mark.parametrize("label", ["{}", "{label}", "50% {", "<|endoftext|>", "кошка 🐈"])
def test_any_text_can_be_a_label(detector, label):
    (boxes,) = detector().detect([checkered([label], seed=1)])
    assert {box.label for box in boxes} == {label}


def test_bfloat16_stays_close_to_float32(detector):
    key_frame = checkered(["red square", "cat"], seed=1)
    (exact,), (rough,) = (detector(dtype=dtype).detect([key_frame]) for dtype in ("float32", "bfloat16"))
    assert not np.array_equal(numbers(exact), numbers(rough))
    distances = np.abs(numbers(exact)[:, None] - numbers(rough)[None])
    nearest = distances[..., :4].max(axis=2).argmin(axis=1)
    assert (distances[np.arange(len(exact)), nearest] < [0.5, 0.5, 0.5, 0.5, 0.05]).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_agrees_with_cpu(detector):
    key_frame = checkered(["red square", "cat"], seed=1)
    (on_cpu,), (on_gpu,) = (detector(device=device).detect([key_frame]) for device in ("cpu", "cuda"))
    np.testing.assert_allclose(numbers(on_gpu), numbers(on_cpu), atol=0.1)
