"""The measures by hand, and the targets of the embedded models on known truth."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from benchmark.quality.cases import film_cases, mask_cases
from benchmark.quality.davis import contour, contour_accuracy, j_and_f
from benchmark.quality.masks import score_masks
from benchmark.quality.shots import CutCounts, count_cuts
from benchmark.quality.tables import cut_table, mask_table
from vpdata.config import ModelChoice
from vpdata.models import maker
from vpdata.models.ports import ObjectMasks


def square(top, left, *, size=20, frame=100):
    mask = np.zeros((frame, frame), dtype=bool)
    mask[top : top + size, left : left + size] = True
    return mask


def test_contour_lies_above_and_left_of_the_edge_as_in_davis():
    expected = np.array(
        [
            [0, 0, 0, 0, 0, 0],
            [0, 1, 1, 1, 0, 0],
            [0, 1, 0, 1, 0, 0],
            [0, 1, 1, 1, 0, 0],
            [0, 0, 0, 0, 0, 0],
            [0, 0, 0, 0, 0, 0],
        ],
        dtype=bool,
    )
    assert np.array_equal(contour(square(2, 2, size=2, frame=6)), expected)


def test_contours_match_up_to_the_tolerance_of_two_pixels_in_a_hundred():
    # ceil(0.008 * sqrt(100^2 + 100^2)) = ceil(1.13) = 2
    assert contour_accuracy(square(30, 30), square(32, 30)) == 1.0
    assert contour_accuracy(square(30, 30), square(33, 30)) < 1.0
    assert contour_accuracy(square(10, 10), square(60, 60)) == 0.0


def test_finding_one_of_two_equal_parts_has_precision_one_and_recall_a_half():
    both = square(10, 10) | square(60, 60)
    assert contour_accuracy(both, square(10, 10)) == pytest.approx(2 * 1 * 0.5 / 1.5)


def test_empty_masks_agree_with_each_other_and_with_nothing_else():
    empty = np.zeros((100, 100), dtype=bool)
    assert contour_accuracy(empty, empty) == 1.0
    assert contour_accuracy(square(30, 30), empty) == 0.0
    assert contour_accuracy(empty, square(30, 30)) == 0.0


def test_first_and_last_frame_do_not_count():
    truth = np.stack([square(30, 30)] * 4)
    found = np.stack([square(70, 70), square(30, 30), square(30, 40), square(70, 70)])
    j, f = j_and_f(truth, found)
    # Frame 2: half of each square is common, a third of their union.
    assert j == pytest.approx((1 + 1 / 3) / 2)
    assert 0.5 < f < 1


def test_mask_on_the_other_object_is_a_switch():
    truth = np.stack([[square(10, 10)] * 3, [square(60, 60)] * 3])
    kept = np.stack([[square(10, 10)] * 3, [square(62, 62)] * 3])
    swapped = np.stack([[square(10, 10), square(60, 60), square(10, 10)], [square(60, 60)] * 3])
    assert [score.is_switched for score in score_masks(truth, kept)] == [False, False]
    assert [score.is_switched for score in score_masks(truth, swapped)] == [True, False]


def test_cuts_are_counted_one_to_one_and_gradual_ones_not_at_all():
    counts = count_cuts([10, 31, 50, 55, 90], cuts=[10, 30, 70], gradual=[(48, 58)])
    assert counts == CutCounts(num_right=2, num_wrong=1, num_missed=1)
    assert counts.f1 == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert count_cuts([10, 11], cuts=[10], gradual=[]) == CutCounts(num_right=1, num_wrong=1)


def shot_detector():
    return maker("shot_detector", ModelChoice(name="scenedetect"))()


def mask_tracker():
    return maker("mask_tracker", ModelChoice(name="embedded"))()


def test_hard_cuts_meet_their_target_on_two_films():
    cuts = cut_table(film_cases(None, num_seeds=1), shot_detector())
    assert cuts.is_met, cuts.markdown()


@pytest.mark.slow
def test_masks_meet_their_targets_on_one_short_shot_of_each_kind():
    masks = mask_table(mask_cases(None, num_seeds=1, num_frames=30), mask_tracker())
    assert masks.is_met, masks.markdown()


def test_a_detector_and_a_tracker_that_find_nothing_miss_the_targets():
    cuts = cut_table(islice(film_cases(None, num_seeds=1), 1), NoShots())
    assert not cuts.is_met
    masks = mask_table(mask_cases(None, num_seeds=1, num_frames=5), NoMasks())
    assert not masks.is_met


class NoShots:
    def frame_size(self, width_px, height_px):
        return 16, 9

    def shot_starts(self, frames, fps):
        for number, _ in enumerate(frames):
            yield number == 0


class NoMasks:
    max_short_side_px = None

    def track(self, frames, prompts, *, height_px, width_px, seed):
        return [ObjectMasks(counts=(None,) * len(frames), score=0.0) for _ in prompts]


@pytest.mark.slow
def test_embedded_models_meet_their_targets_over_drawn_backgrounds():
    cuts = cut_table(film_cases(None, num_seeds=5), shot_detector())
    assert cuts.is_met, cuts.markdown()
    masks = mask_table(mask_cases(None, num_seeds=5), mask_tracker())
    assert masks.is_met, masks.markdown()


@pytest.mark.slow
def test_embedded_models_meet_their_targets_over_real_footage():
    folder = Path("footage/demo")
    if not (folder / "bikes.mp4").is_file():
        pytest.skip("no real footage here: run python -m tools.demo_footage footage/demo")
    cuts = cut_table(film_cases(folder, num_seeds=3), shot_detector())
    assert cuts.is_met, cuts.markdown()
    masks = mask_table(mask_cases(folder, num_seeds=3), mask_tracker())
    assert masks.is_met, masks.markdown()
