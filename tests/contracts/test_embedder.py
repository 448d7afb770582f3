"""What every Embedder promises."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.contracts.implementations import implementations
from tests.fakes import squares_film

MOVING = squares_film({"red square": [(4 + 6 * frame, 10, 30 + 6 * frame, 40) for frame in range(8)]})


@pytest.fixture(params=implementations("embedder"), scope="module")
def embedder(request):
    return request.param()


def test_embedding_is_a_vector_of_unit_length_whatever_the_clip(embedder):
    lengths = set()
    for frames in (MOVING, MOVING[:1], np.zeros((3, 16, 16, 3), np.uint8)):
        vector = embedder.embed(frames)
        assert (vector.dtype, vector.ndim) == (np.float32, 1)
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
        lengths.add(len(vector))
    assert len(lengths) == 1


def test_equal_frames_give_equal_embeddings_and_stay_as_they_were(embedder):
    frames = MOVING.copy()
    frames.flags.writeable = False
    np.testing.assert_array_equal(embedder.embed(frames), embedder.embed(MOVING))


def test_clip_lies_nearer_to_its_own_copy_than_to_another_clip(embedder):
    # Copies differ as a second encoding does.
    noise = np.random.default_rng(0).integers(-3, 4, MOVING.shape)
    copy = np.clip(MOVING + noise, 0, 255).astype(np.uint8)
    first, again, other = map(embedder.embed, (MOVING, copy, 255 - MOVING[:, ::-1]))
    assert first @ again > first @ other


def test_threads_that_ask_at_once_get_what_each_would_get_alone(embedder):
    clips = [MOVING[:2], MOVING[1::-1], 255 - MOVING[:2], MOVING[2:4]]
    with ThreadPoolExecutor(4) as threads:
        at_once = list(threads.map(lambda frames: embedder.embed(frames), clips))
    np.testing.assert_array_equal(at_once, [embedder.embed(frames) for frames in clips])


def test_wanted_sampling_is_positive(embedder):
    assert embedder.sample_fps > 0
    assert embedder.max_short_side_px > 0
