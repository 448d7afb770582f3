from __future__ import annotations

import numpy as np
import pytest

from benchmark.metrics.regions import composited
from benchmark.metrics.seam import seam
from benchmark.metrics.sums import NOTHING
from tests.benchmark.metrics.real_clip import real_clip


def test_a_step_at_the_border_by_hand():
    truth = np.full((1, 6, 6, 3), 50, np.uint8)
    holes = np.zeros((1, 6, 6), bool)
    holes[0, 2:4, 2:4] = True
    output = truth.copy()
    output[holes] += 51
    found = seam(output, truth, holes)
    # Two by two pixels have eight neighbours outside.
    assert (found.sum, found.count) == (pytest.approx(0.2 * 8 * 3), 8 * 3)
    output[0, 2, 2] -= 51
    assert seam(output, truth, holes).mean == pytest.approx(0.2 * 6 / 8)


def test_an_object_whose_outline_is_the_border_is_no_seam():
    _, truth, holes = real_clip()
    marked = truth.copy()
    marked[holes] = (255, 0, 0)
    assert seam(marked, marked, holes).sum == 0


def test_a_change_of_the_whole_frame_is_no_seam_until_known_pixels_are_put_back():
    _, truth, holes = real_clip()
    truth = np.minimum(truth, 200)
    brighter = truth + np.uint8(51)
    assert seam(brighter, truth, holes).sum == 0
    assert seam(composited(brighter, truth, holes), truth, holes).mean == pytest.approx(0.2)


def test_it_is_the_definition_pixel_by_pixel_on_a_real_clip():
    clip = output, truth, holes = tuple(array[:2, 30:110, 50:140] for array in real_clip())
    steps = []
    for made, true, hole in zip(output.astype(float) / 255, truth.astype(float) / 255, holes, strict=True):
        for row, column in np.ndindex(hole.shape):
            for other in ((row, column + 1), (row + 1, column)):
                if other[0] < hole.shape[0] and other[1] < hole.shape[1] and hole[row, column] != hole[other]:
                    step, wanted = made[row, column] - made[other], true[row, column] - true[other]
                    steps += np.abs(step - wanted).tolist()
    found = seam(*clip)
    assert found.count == len(steps) > 500
    assert found.mean == pytest.approx(np.mean(steps), abs=1e-6)


@pytest.mark.parametrize("fill", [False, True])
def test_an_empty_or_full_hole_has_no_border(fill):
    output, truth, holes = real_clip()
    assert seam(output, truth, np.full_like(holes, fill)) == NOTHING
