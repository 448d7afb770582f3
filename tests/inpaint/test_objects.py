import numpy as np
import pytest

from tests.fakes import COLOUR_OF, ColourDetector, ColourTracker, has_colour
from vpdata.config import fill
from vpdata.errors import ConfigError
from vpdata.inpaint.objects import ObjectFinder, ObjectSettings
from vpdata.inpaint.options import FrameBox, FramePoint, Wanted
from vpdata.media.masks import decode_mask, encode_mask
from vpdata.models.ports import Box, ObjectMasks

HEIGHT, WIDTH = 64, 96


def film(num_frames=20):
    """A red square moves to the right below; a blue one stands still above, from frame 8 on."""
    frames = np.full((num_frames, HEIGHT, WIDTH, 3), 120, np.uint8)
    for index, frame in enumerate(frames):
        frame[36:56, 4 + 3 * index : 24 + 3 * index] = COLOUR_OF["red square"]
        if index >= 8:
            frame[6:26, 40:60] = COLOUR_OF["blue square"]
    return frames


def found(wanted, frames, *, detector=None, tracker=None, **settings):
    finder = ObjectFinder(
        ObjectSettings(**{"piece_frames": 6} | settings),
        detector=detector or ColourDetector(),
        tracker=tracker or ColourTracker(),
    )
    return np.stack(list(finder.masks(iter(frames), wanted, fps=4.0)))


class StillTracker:
    """A `MaskTracker` for a film in which nothing moves: every object fills its box."""

    max_short_side_px = None

    def track(self, frames, prompts, *, height_px, width_px, seed):
        counts = [encode_mask(boxed(prompt.box)) for prompt in prompts]
        return [ObjectMasks(counts=(one,) * len(frames), score=1.0) for one in counts]


class CrowdDetector:
    """A `Detector` that sees a person in each of `CROWD`."""

    context_s = ()
    has_own_labels = False

    def detect(self, key_frames):
        return [
            [Box(box=box, label="person", score=0.9) for box in CROWD if "person" in one.labels] for one in key_frames
        ]


CROWD = [(float(x), float(y), x + 6.0, y + 10.0) for y in (4, 20, 40) for x in range(2, 90, 16)]
"""18 boxes that do not touch."""


def boxed(*boxes):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    for x0, y0, x1, y1 in boxes:
        mask[int(y0) : int(y1), int(x0) : int(x1)] = True
    return mask


@pytest.mark.parametrize("step", [0, 1])
def test_every_box_is_followed_however_many_there_are(step):
    """All on one frame, and each on one of its own."""
    boxes = tuple(FrameBox(frame=step * index, box=box) for index, box in enumerate(CROWD))
    masks = found(Wanted(boxes=boxes), film(20), tracker=StillTracker(), piece_frames=20)
    assert (masks == boxed(*CROWD)).all()


def test_box_over_another_is_an_object_of_its_own():
    boxes = (10.0, 10.0, 30.0, 30.0), (12.0, 10.0, 36.0, 30.0), (16.0, 12.0, 34.0, 28.0)
    masks = found(Wanted(boxes=tuple(FrameBox(frame=0, box=box) for box in boxes)), film(3), tracker=StillTracker())
    assert (masks == boxed(*boxes)).all()


def test_every_object_that_is_detected_is_followed():
    masks = found(Wanted(labels=("person",)), film(3), detector=CrowdDetector(), tracker=StillTracker())
    assert (masks == boxed(*CROWD)).all()


@pytest.mark.parametrize("bound", ["max_objects", "max_rounds"])
def test_bounds_of_builds_are_refused_instead_of_ignored(bound):
    with pytest.raises(ConfigError, match=rf"objects.*follow\.{bound} bounds builds alone"):
        fill(ObjectSettings, {"follow": {bound: 1}}, where="objects")


def test_what_is_boxed_and_named_is_followed_once():
    tracker = ColourTracker()
    wanted = Wanted(labels=("red square",), boxes=(FrameBox(frame=0, box=(2, 34, 26, 58)),))
    masks = found(wanted, film(6), tracker=tracker)
    assert [len(prompts) for prompts in tracker.prompts] == [1]
    assert np.array_equal(masks, true_mask(film(6), "red square"))


def test_box_and_point_in_which_nothing_can_be_held_are_named():
    red = FrameBox(frame=0, box=(2, 34, 26, 58))
    with pytest.raises(ConfigError, match=r"nothing could be masked at the box 60,5,80,20.5 of frame 7"):
        found(Wanted(boxes=(red, FrameBox(frame=7, box=(60, 5, 80, 20.5)))), film())
    nothing = type("Nothing", (ColourTracker,), {"_follow": lambda *_: ObjectMasks(counts=(None,) * 6, score=0.0)})()
    with pytest.raises(ConfigError, match=r"nothing could be masked at the point 10, 40 of frame 0"):
        found(Wanted(points=(FramePoint(frame=0, point=(10, 40)),)), film(6), tracker=nothing)


def test_name_of_which_nothing_is_found_is_said(caplog):
    found(Wanted(labels=("red square", "the green square", "blue square")), film())
    assert [record.getMessage() for record in caplog.records] == [
        "'green square' was not found in the video; the mask is of the other objects alone"
    ]


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


def hiding(hidden, num_frames=20):
    """The film, without the red square on some frames."""
    frames = film(num_frames)
    frames[list(hidden), 30:] = 120
    return frames


class CountingTracker(ColourTracker):
    """Keeps how many frames it was given."""

    def track(self, frames, prompts, **others):
        self.num_frames = [*getattr(self, "num_frames", []), len(frames)]
        return super().track(frames, prompts, **others)


@pytest.mark.parametrize("hidden", [range(5, 6), range(4, 7), range(4, 8), range(9, 12), range(12, 20)])
def test_object_that_is_hidden_where_two_pieces_meet_is_found_again(hidden):
    """Pieces of 6 frames meet at the frames 5, 10 and 15 if nothing is hidden there."""
    frames, tracker = hiding(hidden), CountingTracker()
    masks = found(Wanted(boxes=(FrameBox(frame=0, box=(2, 34, 26, 58)),)), frames, tracker=tracker)
    assert np.array_equal(masks, true_mask(frames, "red square"))
    assert max(tracker.num_frames) == 6
    assert len(tracker.num_frames) <= 6


def test_object_that_is_hidden_too_long_is_told_of(caplog):
    frames, red, blue = hiding(range(2, 10)), (2.0, 34.0, 26.0, 58.0), (38.0, 4.0, 62.0, 28.0)
    wanted = Wanted(boxes=(FrameBox(frame=0, box=red), FrameBox(frame=9, box=blue)))
    masks = found(wanted, frames)
    assert np.array_equal(masks[:5], true_mask(frames, "red square")[:5])
    assert np.array_equal(masks[8:], true_mask(frames, "blue square")[8:])
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("what is at the box 2,34,26,58 of frame 0 is not found after frame 1; give a box")


def test_object_that_is_boxed_twice_is_handed_on_once():
    frames, tracker = film(), ColourTracker()
    wanted = Wanted(boxes=(FrameBox(frame=0, box=(2, 34, 26, 58)), FrameBox(frame=3, box=(11, 34, 35, 58))))
    assert np.array_equal(found(wanted, frames, tracker=tracker), true_mask(frames, "red square"))
    assert [len(prompts) for prompts in tracker.prompts] == [2, 1, 1, 1]


def test_object_that_is_boxed_where_it_comes_back_is_handed_on_once():
    """The two tracks share frames, but the first ends where the second goes on."""

    class EndingTracker(ColourTracker):
        def track(self, frames, prompts, **others):
            found = super().track(frames, prompts, **others)
            if len(self.prompts) == 1:
                found[0] = ObjectMasks(counts=(*found[0].counts[:5], None), score=1.0)
            return found

    tracker = EndingTracker()
    wanted = Wanted(boxes=(FrameBox(frame=0, box=(2, 34, 26, 58)), FrameBox(frame=3, box=(11, 34, 35, 58))))
    assert np.array_equal(found(wanted, film(), tracker=tracker), true_mask(film(), "red square"))
    assert [len(prompts) for prompts in tracker.prompts] == [2, 1, 1, 1]


def test_what_is_boxed_goes_on_rather_than_what_is_named_though_that_is_seen_longer(caplog):
    """Else nobody is told where the boxed one is lost."""

    class EndingTracker(ColourTracker):
        def track(self, frames, prompts, **others):
            found = super().track(frames, prompts, **others)
            if len(prompts) == 2:
                found[1] = ObjectMasks(counts=(*found[1].counts[:5], None), score=1.0)
            return found

    tracker = EndingTracker()
    wanted = Wanted(labels=("red square",), boxes=(FrameBox(frame=7, box=(23, 34, 47, 58)),))
    found(wanted, hiding(range(12, 20)), tracker=tracker)
    assert [len(prompts) for prompts in tracker.prompts if prompts][:3] == [1, 2, 1]
    assert any("what is at the box 23,34,47,58 of frame 7 is not found" in text for text in caplog.messages)


class ExclusiveTracker(ColourTracker):
    """Gives each pixel to one object alone: the one at `first` of the prompts, where it holds it."""

    def __init__(self, first):
        super().__init__()
        self.first = first

    def track(self, frames, prompts, *, height_px, width_px, seed):
        size = {"height_px": height_px, "width_px": width_px}
        found = super().track(frames, prompts, **size, seed=seed)
        taken = np.zeros((len(frames), height_px, width_px), bool)
        for index in sorted(range(len(found)), key=lambda index: index != self.first):
            masks = np.stack([decode_mask(counts, **size) for counts in found[index].counts]) & ~taken
            taken |= masks
            found[index] = ObjectMasks(counts=tuple(map(encode_mask, masks)), score=1.0)
        return found


@pytest.mark.parametrize("later", [3, 8])
@pytest.mark.parametrize("first", [0, 1])
def test_object_that_is_boxed_twice_may_be_held_as_one_of_the_two(first, later, caplog):
    """On frames of one piece, or of two."""
    box = (2 + 3 * later, 34, 26 + 3 * later, 58)
    wanted = Wanted(boxes=(FrameBox(frame=0, box=(2, 34, 26, 58)), FrameBox(frame=later, box=box)))
    masks = found(wanted, film(), tracker=ExclusiveTracker(first))
    assert np.array_equal(masks, true_mask(film(), "red square"))
    assert not caplog.messages


def test_box_beside_what_is_held_is_still_refused():
    """A mask in a corner of it says nothing of what was boxed."""
    boxes = (2, 34, 26, 58), (20, 0, 90, 58)
    wanted = Wanted(boxes=tuple(FrameBox(frame=0, box=box) for box in boxes))
    with pytest.raises(ConfigError, match=r"nothing could be masked at the box 20,0,90,58 of frame 0"):
        found(wanted, film(6), tracker=ExclusiveTracker(0))


class LTracker(StillTracker):
    """Holds the first object alone, as an L along two edges of the box 10,10,60,50."""

    def track(self, frames, prompts, *, height_px, width_px, seed):
        mask = np.zeros((height_px, width_px), bool)
        mask[10:50, 10:13] = mask[47:50, 10:60] = True
        counts = [encode_mask(mask), *[None] * (len(prompts) - 1)]
        return [ObjectMasks(counts=(one,) * len(frames), score=1.0) for one in counts]


def test_box_like_that_of_what_is_held_is_refused_where_no_mask_is_in_it():
    boxes = (10, 10, 60, 50), (22, 10, 60, 44)
    wanted = Wanted(boxes=tuple(FrameBox(frame=0, box=box) for box in boxes))
    with pytest.raises(ConfigError, match=r"nothing could be masked at the box 22,10,60,44 of frame 0"):
        found(wanted, film(3), tracker=LTracker())


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
