import numpy as np
import pytest

from tests.fakes import COLOUR_OF, ColourDetector, ColourTracker, has_colour
from vpdata.errors import ConfigError
from vpdata.inpaint.objects import ObjectFinder, ObjectSettings
from vpdata.inpaint.options import FrameBox, FramePoint, Wanted

HEIGHT, WIDTH = 64, 96


def film(num_frames=20):
    """A red square moves to the right below; a blue one stands still above, from frame 8 on."""
    frames = np.full((num_frames, HEIGHT, WIDTH, 3), 120, np.uint8)
    for index, frame in enumerate(frames):
        frame[36:56, 4 + 3 * index : 24 + 3 * index] = COLOUR_OF["red square"]
        if index >= 8:
            frame[6:26, 40:60] = COLOUR_OF["blue square"]
    return frames


def found(wanted, frames, **settings):
    finder = ObjectFinder(
        ObjectSettings(**{"piece_frames": 6} | settings), detector=ColourDetector(), tracker=ColourTracker()
    )
    return np.stack(list(finder.masks(iter(frames), wanted, fps=4.0)))


def true_mask(frames, *names):
    return np.logical_or.reduce([np.stack([has_colour(one, COLOUR_OF[name]) for one in frames]) for name in names])


@pytest.mark.parametrize("num_frames", [1, 2, 6, 7, 11, 12, 20])
def test_named_object_is_followed_over_the_borders_of_pieces(num_frames):
    frames = film(num_frames)
    masks = found(Wanted(labels=("The red square",)), frames)
    assert np.array_equal(masks, true_mask(frames, "red square"))


def test_several_objects_are_one_mask_and_each_is_there_as_long_as_it_is_seen():
    frames = film()
    masks = found(Wanted(labels=("red square", "a blue square")), frames)
    assert np.array_equal(masks, true_mask(frames, "red square", "blue square"))


def test_boxed_object_is_followed_from_the_piece_of_its_frame():
    frames = film()
    masks = found(Wanted(boxes=(FrameBox(frame=9, box=(38, 4, 62, 28)),)), frames)
    assert not masks[:5].any()
    assert np.array_equal(masks[8:], true_mask(frames, "blue square")[8:])


def test_point_takes_the_object_that_is_under_it():
    frames = film()
    masks = found(Wanted(points=(FramePoint(frame=0, point=(10, 40)),)), frames)
    assert np.array_equal(masks, true_mask(frames, "red square"))


def test_point_adds_to_what_is_named():
    frames = film()
    wanted = Wanted(labels=("red square",), points=(FramePoint(frame=9, point=(50, 10)),))
    masks = found(wanted, frames, point_labels=("blue square",))
    assert np.array_equal(masks[:5], true_mask(frames, "red square")[:5])
    assert np.array_equal(masks[8:], true_mask(frames, "red square", "blue square")[8:])


def test_point_on_nothing_is_refused_with_its_place():
    with pytest.raises(ConfigError, match="point 90, 5 of frame 7"):
        found(Wanted(points=(FramePoint(frame=7, point=(90, 5)),)), film())


def test_what_is_nowhere_is_named():
    with pytest.raises(ConfigError, match="'green square' was not found"):
        found(Wanted(labels=("green square",)), film())
