"""Rounds of prompting, with a tracker that knows where every object is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vpdata.media.masks import box_iou, encode_mask
from vpdata.models.ports import ObjectMasks
from vpdata.records import Detection
from vpdata.stages.follow import FollowSettings, follow_objects

HEIGHT, WIDTH, NUM_FRAMES = 40, 60, 6
A, B, C = (2, 2, 12, 12), (30, 10, 44, 30), (48, 30, 58, 38)


class World:
    """Objects that stand still in some frames; a prompt gets the object whose box is nearest to its own."""

    def __init__(self, **objects):
        self.objects = objects
        self.calls = []

    def __call__(self, prompts):
        self.calls.append([(prompt.frame, prompt.box) for prompt in prompts])
        return [self._follow(prompt) for prompt in prompts]

    def _follow(self, prompt):
        box, frames = max(self.objects.values(), key=lambda one: box_iou(one[0], prompt.box))
        held = box_iou(box, prompt.box) > 0.2 and prompt.frame in frames
        mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
        mask[box[1] : box[3], box[0] : box[2]] = held
        counts = tuple(encode_mask(mask) if frame in frames else None for frame in range(NUM_FRAMES))
        return ObjectMasks(counts=counts, score=0.9 if held else 0.0)


def detection(frame, box, *, label="thing", score=0.8):
    return Detection(frame=frame, box=tuple(map(float, box)), label=label, score=score)


def follow(world, detections, **settings):
    found = follow_objects(
        detections, track=world, settings=FollowSettings(**settings), height_px=HEIGHT, width_px=WIDTH
    )
    return [(one.label(("moving object",)), sum(counts is not None for counts in one.masks)) for one in found]


ALL = range(NUM_FRAMES)


def test_objects_of_the_best_frame_are_prompted_in_one_call():
    world = World(a=(A, ALL), b=(B, ALL))
    found = follow(world, [detection(0, A), detection(3, A), detection(3, B), detection(5, B)])
    assert found == [("thing", 6), ("thing", 6)]
    assert world.calls == [[(3, A), (3, B)]]


def test_object_that_appears_later_is_found_in_a_second_round():
    world = World(a=(A, ALL), b=(B, ALL), c=(C, range(4, 6)))
    detections = [detection(1, A), detection(1, B), detection(5, A), detection(5, C, score=0.5)]
    assert follow(world, detections) == [("thing", 6), ("thing", 6), ("thing", 2)]
    assert world.calls == [[(1, A), (1, B)], [(5, C)]]


def test_no_more_rounds_and_objects_than_allowed():
    objects = {"a": (A, ALL), "b": (B, ALL), "c": (C, ALL)}
    detections = [detection(0, A), detection(2, B), detection(4, C)]
    world = World(**objects)
    assert len(follow(world, detections, max_rounds=2)) == 2
    assert len(world.calls) == 2
    assert len(follow(World(**objects), detections, max_objects=1)) == 1
    crowded = [detection(0, box, score=score) for box, score in ((A, 0.5), (B, 0.9), (C, 0.7))]
    world = World(**objects)
    assert len(follow(world, crowded, max_objects=2)) == 2
    assert world.calls == [[(0, B), (0, C)]]


def test_object_that_cannot_be_held_is_asked_for_once():
    world = World(a=(A, ALL))
    assert follow(world, [detection(0, C), detection(0, A)]) == [("thing", 6)]
    assert world.calls == [[(0, A), (0, C)]] or world.calls == [[(0, C), (0, A)]]


def test_boxes_without_area_are_no_objects():
    world = World(a=(A, ALL))
    empty = [detection(0, (5, 5, 5, 5)), detection(0, (9, 9, 4, 12)), detection(2, (0, 3, 60, 3), score=0.99)]
    assert follow(world, [*empty, detection(0, A)]) == [("thing", 6)]
    assert world.calls == [[(0, A)]]
    assert follow(world, empty) == []


def test_any_label_wins_over_a_generic_one():
    world = World(a=(A, ALL))
    detections = [detection(0, A, label="moving object", score=0.9), detection(3, A, label="person", score=0.5)]
    detections += [detection(frame, A, label="moving object", score=0.9) for frame in (1, 2)]
    assert follow(world, detections) == [("person", 6)]


def test_label_with_the_highest_sum_of_scores_wins():
    world = World(a=(A, ALL))
    votes = [("cat", 0.6), ("dog", 0.9), ("cat", 0.6)]
    detections = [detection(frame, A, label=label, score=score) for frame, (label, score) in enumerate(votes)]
    assert follow(world, detections) == [("cat", 6)]


def test_part_of_a_tracked_object_gets_no_track_and_no_vote():
    world = World(b=(B, ALL))
    head = (32, 10, 40, 16)
    detections = [detection(2, B, label="person"), detection(2, head, label="face", score=0.99)]
    detections += [detection(frame, head, label="face", score=0.99) for frame in (0, 4)]
    assert follow(world, detections) == [("person", 6)]
    assert world.calls == [[(2, B)]]


def test_small_object_before_a_larger_box_is_tracked_once_the_larger_mask_leaves_it_out():
    ball = (46, 12, 54, 20)
    wide = (28, 8, 58, 38)
    world = World(body=(B, ALL), ball=(ball, ALL))
    found = follow(world, [detection(2, wide, label="person"), detection(2, ball, label="ball")])
    assert found == [("person", 6), ("ball", 6)]
    assert world.calls == [[(2, wide)], [(2, ball)]]


def test_two_prompts_that_give_the_same_masks_become_one_track():
    shifted = (A[0] + 5, A[1] + 5, A[2] + 5, A[3] + 5)
    world = World(a=(A, ALL))
    assert box_iou(A, shifted) < 0.5
    found = follow_objects(
        [detection(0, A, label="cat"), detection(0, shifted, label="dog", score=0.7)],
        track=lambda prompts: [world([prompt])[0] for prompt in [prompts[0]] * len(prompts)],
        settings=FollowSettings(),
        height_px=HEIGHT,
        width_px=WIDTH,
    )
    assert [dict(one.votes) for one in found] == [{"cat": 0.8, "dog": 0.7}]


def test_merged_track_fills_the_frames_in_which_the_first_was_lost():
    half = {"first": range(4), "second": range(2, 6)}

    def track(prompts):
        return [World(a=(A, half["first" if prompt.frame == 0 else "second"]))([prompt])[0] for prompt in prompts]

    found = follow_objects(
        [detection(0, A, score=0.9), detection(5, A)],
        track=track,
        settings=FollowSettings(),
        height_px=HEIGHT,
        width_px=WIDTH,
    )
    assert len(found) == 1
    assert all(counts is not None for counts in found[0].masks)


def rectangle(*boxes):
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    for x0, y0, x1, y1 in boxes:
        mask[int(y0) : int(y1), int(x0) : int(x1)] = True
    return encode_mask(mask)


def boxes_themselves(prompts):
    """A tracker of objects that fill their boxes and stand still."""
    return [ObjectMasks(counts=(rectangle(one.box),) * NUM_FRAMES, score=0.9) for one in prompts]


@pytest.mark.parametrize(("score", "frames"), [(0.31, [2]), (0.9, ALL)])
def test_box_of_the_whole_scene_takes_no_object_along(score, frames):
    objects = [("cat", A), ("dog", B), ("car", C)]
    detections = [detection(frame, box, label=label) for frame in (0, 2, 4) for label, box in objects]
    detections += [detection(frame, (0, 0, WIDTH, HEIGHT), label="street", score=score) for frame in frames]
    found = follow(boxes_themselves, detections)
    assert {"cat", "dog", "car"} <= {label for label, _ in found}


@pytest.mark.parametrize("wheel_score", [0.55, 0.7])
def test_boxes_in_boxes_in_boxes_wait_for_each_other_in_no_circle(wheel_score):
    street = detection(2, (0, 0, WIDTH, HEIGHT), label="street", score=0.3)
    car, wheel = detection(2, (4, 4, 40, 30), label="car", score=0.5), detection(2, (6, 20, 14, 28), label="wheel")
    detections = [street, car, replace(wheel, score=wheel_score), detection(5, C, label="dog", score=0.4)]
    assert {"car", "dog"} <= {label for label, _ in follow(boxes_themselves, detections)}


def test_answer_that_holds_nothing_but_an_earlier_object_is_none():
    def track(prompts):
        seen = [rectangle(A)] * 5 + [None]
        return [ObjectMasks(counts=tuple(seen), score=0.9) for _ in prompts]

    assert follow(track, [detection(0, A, score=0.9), detection(5, B)]) == [("thing", 5)]


def test_unsure_box_around_two_sure_ones_does_not_join_them():
    group = (0, 0, 46, 32)
    detections = [detection(frame, box, label=label) for frame in (0, 3) for label, box in (("cat", A), ("dog", B))]
    found = follow(boxes_themselves, [*detections, detection(0, group, label="animals", score=0.3)])
    assert {"cat", "dog"} <= {label for label, _ in found}


def test_rider_is_not_the_motorcycle():
    rider, motorcycle = (10, 2, 30, 26), (10, 8, 30, 34)
    assert 0.5 < box_iou(rider, motorcycle) < 0.75

    def track(prompts):
        seen = {"person": [(10, 2, 30, 6), (10, 2, 14, 26)], "motorcycle": [(10, 30, 30, 34), (26, 8, 30, 34)]}
        return [ObjectMasks(counts=(rectangle(*seen[one.label]),) * NUM_FRAMES, score=0.9) for one in prompts]

    detections = [detection(frame, rider, label="person", score=0.9) for frame in (0, 2)]
    detections += [detection(frame, motorcycle, label="motorcycle", score=0.7) for frame in (0, 2)]
    assert [label for label, _ in follow(track, detections)] == ["person", "motorcycle"]


def test_look_alike_that_the_tracker_finds_across_a_gap_stays_another_object():
    def track(prompts):
        first = [rectangle(A)] * 2 + [None] * 4
        second = [rectangle(A)] * 2 + [None] + [rectangle(B)] * 3
        return [ObjectMasks(counts=tuple(first if one.frame == 0 else second), score=0.9) for one in prompts]

    found = follow_objects(
        [detection(0, A, score=0.9), detection(4, B)],
        track=track,
        settings=FollowSettings(),
        height_px=HEIGHT,
        width_px=WIDTH,
    )
    assert [one.masks for one in found] == [
        [rectangle(A)] * 2 + [None] * 4,
        [None] * 3 + [rectangle(B)] * 3,
    ]


def test_merged_objects_without_confidence_keep_their_label():
    shifted = (A[0] + 5, A[1] + 5, A[2] + 5, A[3] + 5)
    detections = [detection(0, A, score=0.0), detection(0, shifted, score=0.0)]
    assert follow(lambda prompts: boxes_themselves(prompts[:1] * len(prompts)), detections) == [("thing", 6)]


def test_order_of_the_detections_does_not_matter():
    objects = {"a": (A, ALL), "b": (B, ALL), "c": (C, ALL)}
    detections = [detection(frame, box) for frame in (0, 3) for box in (A, B, C)]
    assert follow(World(**objects), detections) == follow(World(**objects), detections[::-1])


def test_no_detections_give_no_objects_and_no_call():
    world = World(a=(A, ALL))
    assert follow(world, []) == []
    assert world.calls == []
