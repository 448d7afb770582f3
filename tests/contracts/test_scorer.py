"""What every Scorer promises."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import get_args

import numpy as np
import pytest

from tests.contracts.implementations import implementations
from tests.fakes import squares_film
from vpdata import models
from vpdata.config import ModelChoice
from vpdata.records import ScoreName

MOVING = squares_film({"red square": [(4 + 6 * frame, 10, 30 + 6 * frame, 40) for frame in range(4)]})


@pytest.fixture(params=implementations("scorer"), scope="module")
def scorer(request):
    return request.param()


def test_scores_are_known_names_with_finite_numbers_or_none(scorer):
    scores = scorer.score(MOVING, fps=scorer.sample_fps)
    assert scores
    assert set(scores) <= set(get_args(ScoreName))
    assert all(value is None or math.isfinite(value) for value in scores.values())


def test_scores_are_named_before_it_is_loaded(scorer, request):
    choice = ModelChoice(name=request.node.callspec.id)
    assert set(models.scores_of("scorer", choice)) == set(scorer.score(MOVING, fps=4.0))


def test_same_names_come_for_every_clip(scorer):
    names = list(scorer.score(MOVING, fps=4.0))
    assert list(scorer.score(MOVING[:1], fps=4.0)) == names
    assert list(scorer.score(np.zeros((3, 16, 16, 3), dtype=np.uint8), fps=4.0)) == names


def test_equal_frames_give_equal_scores_and_stay_as_they_were(scorer):
    frames = MOVING.copy()
    frames.flags.writeable = False
    assert scorer.score(frames, fps=4.0) == scorer.score(MOVING, fps=4.0)


def test_threads_that_ask_at_once_get_what_each_would_get_alone(scorer):
    clips = [MOVING[:2], MOVING[1::-1], 255 - MOVING[:2], MOVING[2:4]]
    with ThreadPoolExecutor(4) as threads:
        at_once = list(threads.map(lambda frames: scorer.score(frames, fps=4.0), clips))
    assert at_once == [scorer.score(frames, fps=4.0) for frames in clips]


def test_wanted_sampling_is_positive(scorer):
    assert scorer.sample_fps > 0
    assert scorer.max_short_side_px > 0
