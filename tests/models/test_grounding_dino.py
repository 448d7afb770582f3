"""Grounding DINO: a tiny random checkpoint, against transformers itself."""

from __future__ import annotations

import itertools
import logging

import numpy as np
import pytest

pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

from PIL import Image as Picture
from transformers import GroundingDinoForObjectDetection, GroundingDinoProcessor, pipeline

from tests.models.tiny_detectors import checkered, save_grounding_dino
from vpdata.models.huggingface.boxes import BoxLimits
from vpdata.models.huggingface.grounding_dino import GroundingDino
from vpdata.models.huggingface.settings import GroundingDinoSettings

ALL = BoxLimits(max_iou=1.0)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_grounding_dino(tmp_path_factory.mktemp("grounding-dino"))


@pytest.fixture(scope="module")
def detector(folder):
    def make(**options):
        known = {"weights": str(folder), "device": "cpu", "dtype": "float32", "min_score": 0.0, "limits": ALL}
        return GroundingDino(GroundingDinoSettings(**(known | options)))

    return make


CLOSE = 1e-6
"""In float32, of a batch against one by one: of a score, and of the longer side of a frame (docs/decisions.md)."""
OF_FRAME = np.array([96.0, 96.0, 96.0, 96.0, 1.0])
"""What `numbers` are told in: frames are of 96x64 and smaller."""


def numbers(boxes):
    """float [N, 5] in order of the edges: x0, y0, x1, y1, score."""
    return np.array(sorted((*box.box, box.score) for box in boxes)).reshape(-1, 5)


def test_answers_equal_those_of_transformers_pipeline(folder, detector):
    """The pipeline asks one label at a time, ends no phrase itself, cuts edges to whole pixels, and clips nothing."""
    key_frame = checkered(["red square"], seed=1)
    (boxes,) = detector().detect([key_frame])
    ask = pipeline("zero-shot-object-detection", model=str(folder), device="cpu", dtype=torch.float32)
    answers = ask(Picture.fromarray(key_frame.image), candidate_labels=["red square."], threshold=0.0)
    ours, theirs = numbers(boxes), np.array(sorted((*one["box"].values(), one["score"]) for one in answers))
    is_inside = (theirs[:, :2] > 0).all(axis=1) & (theirs[:, 2] < 96) & (theirs[:, 3] < 64)
    assert is_inside.sum() >= 10
    for *edges, score in theirs[is_inside]:
        (mine,) = ours[(ours[:, :4].astype(int) == edges).all(axis=1)]
        # The pipeline also counts a separator that fires, of which random weights make more than trained ones.
        assert mine[4] <= score + 1e-6
    assert np.isclose(ours[:, None, 4], theirs[None, :, 4], atol=1e-6).any(axis=1).sum() >= 10


@torch.inference_mode()
def test_many_labels_equal_one_call_of_the_model(folder, detector):
    """Scores by hand from the raw logits: of each box the best word, and the label that this word is part of."""
    labels = ("red square", "Cat", "sports ball")
    #        [CLS] red square . cat . sports ball . [SEP]
    words = {1: 0, 2: 0, 4: 1, 6: 2, 7: 2}
    key_frame = checkered(labels, seed=2)
    processor = GroundingDinoProcessor.from_pretrained(folder)
    inputs = processor(images=Picture.fromarray(key_frame.image), text=[list(labels)], return_tensors="pt")
    assert inputs["input_ids"].shape == (1, 10)
    outputs = GroundingDinoForObjectDetection.from_pretrained(folder)(**inputs)
    of_words = outputs.logits[0, :, list(words)].sigmoid()
    x, y, width, height = (outputs.pred_boxes[0] * torch.tensor([96, 64, 96, 64])).T
    edges = torch.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], dim=1)
    wanted = torch.cat([edges.clip(torch.zeros(4), torch.tensor([96, 64, 96, 64])), of_words.amax(1)[:, None]], dim=1)
    (boxes,) = detector().detect([key_frame])
    np.testing.assert_allclose(numbers(boxes), sorted(wanted.tolist()), atol=1e-4)
    fired = [labels[list(words.values())[word]] for word in of_words.argmax(1)]
    assert sorted(box.label for box in boxes) == sorted(fired)
    assert len(set(fired)) > 1


def test_batch_over_clips_equals_key_frames_one_by_one(detector):
    key_frames = [
        checkered(["cat", "dog"], seed=1),
        checkered(["sports ball"], seed=2, height_px=48, width_px=80),
        checkered([], seed=3),
        checkered(["tall red square", "fire truck", "a dog"], seed=4),
        checkered(["cat", "dog"], seed=5),
    ]
    ask = detector(batch_size=2, min_score=0.5).detect
    together, alone = ask(key_frames), [ask([key_frame])[0] for key_frame in key_frames]
    for several, one in zip(together, alone, strict=True):
        assert [box.label for box in several] == [box.label for box in one]
        # The last bits of a matrix product depend on the number of its rows.
        np.testing.assert_allclose(numbers(several) / OF_FRAME, numbers(one) / OF_FRAME, atol=CLOSE)
    assert [len(boxes) > 0 for boxes in together] == [True, True, False, True, True]


def test_prompts_of_any_length_can_be_asked_together(tmp_path):
    """Prompts of 4, 6, 82 and 194 tokens: each is padded as it would be alone."""
    folder = save_grounding_dino(tmp_path, max_text_len=256)
    settings = GroundingDinoSettings(weights=str(folder), device="cpu", dtype="float32", min_score=0.0, limits=ALL)
    ask = GroundingDino(settings).detect
    firsts, seconds, thirds = (
        ("red", "blue", "tall"),
        ("cat", "dog", "ball", "sports"),
        ("square", "truck", "photo", "fire"),
    )
    long = [" ".join(words) for words in itertools.product(firsts, seconds, thirds)]
    key_frames = [checkered(labels, seed=1) for labels in (["cat"], long, ["dog", "ball"], long[:20])]
    together, alone = ask(key_frames), [ask([key_frame])[0] for key_frame in key_frames]
    for several, one in zip(together, alone, strict=True):
        assert [box.label for box in several] == [box.label for box in one]
        np.testing.assert_allclose(numbers(several) / OF_FRAME, numbers(one) / OF_FRAME, atol=CLOSE)


def test_labels_that_do_not_fit_one_prompt_are_asked_in_several(tmp_path):
    folder = save_grounding_dino(tmp_path, max_text_len=16)
    settings = GroundingDinoSettings(
        weights=str(folder), device="cpu", dtype="float32", min_score=0.0, limits=ALL, batch_size=1
    )
    detect = GroundingDino(settings).detect
    # 14 tokens beside [CLS] and [SEP]: three labels of three words, each with its dot.
    labels = [f"{first} {second} square" for first in ("red", "blue") for second in ("cat", "dog", "ball")]
    (boxes,) = detect([checkered(labels, seed=1)])
    (first,), (second,) = (detect([checkered(some, seed=1)]) for some in (labels[:3], labels[3:]))
    assert len(boxes) == len(first) + len(second) == 60
    assert sorted(boxes, key=str) == sorted([*first, *second], key=str)


def test_boxes_bear_the_label_exactly_as_it_was_asked(detector):
    """A full stop or a question mark ends a phrase for the model; in a label it must not."""
    (plain,), (odd,) = (detector().detect([checkered([label], seed=1)]) for label in ("fire truck", "Fire? truck."))
    assert {box.label for box in plain} == {"fire truck"}
    assert {box.label for box in odd} == {"Fire? truck."}
    np.testing.assert_array_equal(numbers(plain), numbers(odd))


@pytest.mark.parametrize("label", ["...", "red " * 80], ids=["no words", "too many words"])
def test_label_that_cannot_be_read_whole_is_logged(detector, label, caplog):
    with caplog.at_level(logging.WARNING):
        (boxes,) = detector().detect([checkered([label, "cat"], seed=1)])
    assert repr(label) in caplog.text
    assert {"cat"} <= {box.label for box in boxes} <= {"cat", label}


def test_nothing_to_look_for_finds_nothing(detector):
    assert detector().detect([checkered([], seed=1)]) == [[]]
    assert detector().detect([]) == []


def test_five_hundred_boxes_become_the_best_and_are_logged(tmp_path, caplog):
    folder = save_grounding_dino(tmp_path, num_queries=500, short_side_px=192)
    options = {"weights": str(folder), "device": "cpu", "dtype": "float32", "min_score": 0.0}
    key_frame = checkered(["cat"], seed=1)
    (every,) = GroundingDino(GroundingDinoSettings(**options, limits=BoxLimits(max_iou=1.0, max_boxes=500))).detect(
        [key_frame]
    )
    assert len(every) > 450
    with caplog.at_level(logging.WARNING):
        (best,) = GroundingDino(GroundingDinoSettings(**options, limits=BoxLimits(max_iou=1.0))).detect([key_frame])
    assert best == every[:100]
    assert f"up to {len(every)} boxes" in caplog.text


def test_weak_boxes_are_dropped(detector):
    key_frame = checkered(["red square", "cat"], seed=1)
    (every,), (strong,) = detector().detect([key_frame]), detector(min_score=0.9).detect([key_frame])
    assert strong == [box for box in every if box.score > 0.9]
    assert 0 < len(strong) < len(every)


def test_bfloat16_stays_close_to_float32(detector):
    key_frame = checkered(["red square", "cat"], seed=1)
    (exact,), (rough,) = (detector(dtype=dtype).detect([key_frame]) for dtype in ("float32", "bfloat16"))
    assert not np.array_equal(numbers(exact), numbers(rough))
    distances = np.abs(numbers(exact)[:, None] - numbers(rough)[None]).max(axis=2)
    assert np.median(distances.min(axis=1)) < 0.5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_agrees_with_cpu(detector):
    key_frame = checkered(["red square", "cat"], seed=1)
    (on_cpu,), (on_gpu,) = (detector(device=device).detect([key_frame]) for device in ("cpu", "cuda"))
    np.testing.assert_allclose(numbers(on_gpu), numbers(on_cpu), atol=0.1)
