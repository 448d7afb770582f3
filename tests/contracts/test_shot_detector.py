"""What every ShotDetector promises."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from tests.contracts.implementations import implementations
from tests.fakes import textured_ground

CUT = 30


@pytest.fixture(params=implementations("shot_detector"), scope="module")
def detector(request):
    return request.param()


def film(detector, num_frames=60):
    """BGR frames at the wanted size: still noise, and from `CUT` on other, darker noise."""
    width, height = detector.frame_size(96, 64)
    before = textured_ground(height_px=height, width_px=width, seed=1)
    after = textured_ground(height_px=height, width_px=width, seed=2) // 4
    return [(before if frame < CUT else after).copy() for frame in range(num_frames)]


def starts(detector, frames):
    return list(detector.shot_starts(iter(frames), Fraction(25)))


def test_hard_cut_starts_a_shot_and_nothing_else_does(detector):
    answers = starts(detector, film(detector))
    assert [frame for frame, is_start in enumerate(answers) if is_start] == [0, CUT]


@pytest.mark.parametrize("num_frames", [0, 1, 2, 5])
def test_there_are_as_many_answers_as_frames(detector, num_frames):
    answers = starts(detector, film(detector, num_frames))
    assert answers == [frame == 0 for frame in range(num_frames)]


def test_no_state_is_kept_between_videos(detector):
    assert starts(detector, film(detector)) == starts(detector, film(detector))


def test_frames_are_consumed_lazily(detector):
    num_read = 0

    def endless():
        nonlocal num_read
        while True:
            num_read += 1
            yield np.zeros((*reversed(detector.frame_size(96, 64)), 3), dtype=np.uint8)

    assert next(iter(detector.shot_starts(endless(), Fraction(25)))) is True
    assert num_read < 500


def test_wanted_size_is_no_larger_than_the_video(detector):
    for width, height in ((96, 64), (1920, 1080), (64, 4000)):
        wanted_width, wanted_height = detector.frame_size(width, height)
        assert 1 <= wanted_width <= width
        assert 1 <= wanted_height <= height
