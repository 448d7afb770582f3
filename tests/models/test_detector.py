"""EmbeddedDetector on footage whose objects and camera are known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from benchmark.footage import scene
from tests.fakes import squares_film, textured_ground
from vpdata.config import ModelChoice, fill
from vpdata.errors import ConfigError
from vpdata.media.masks import box_iou
from vpdata.models import describe
from vpdata.models.embedded.detector import EmbeddedDetector, EmbeddedDetectorSettings
from vpdata.models.ports import KeyFrame

FPS = 25


@pytest.fixture(scope="module")
def detector():
    return EmbeddedDetector(EmbeddedDetectorSettings())


def found(detector, frames, frame, labels=()):
    around = [min(max(frame + round(offset_s * FPS), 0), len(frames) - 1) for offset_s in detector.context_s]
    (boxes,) = detector.detect([KeyFrame(image=frames[frame], context=frames[around], labels=labels)])
    return boxes


def panned(ground, num_frames, *, step_px, width_px):
    """What a camera sees that goes to the right over a picture."""
    return np.stack([ground[:, step_px * frame : step_px * frame + width_px] for frame in range(num_frames)])


@pytest.mark.parametrize("is_panning", [False, True])
def test_moving_object_is_found_and_the_background_is_not(detector, is_panning):
    footage = scene("plain", seed=0, is_panning=is_panning)
    for frame in (10, 25, 40):
        (truth,) = footage.boxes(frame)
        boxes = [box for box in found(detector, footage.frames, frame) if box.score > 0.3]
        assert [box.label for box in boxes] == ["moving object"]
        assert box_iou(boxes[0].box, truth) > 0.5


def test_two_objects_get_two_boxes(detector):
    footage = scene("crossing", seed=1)
    boxes = found(detector, footage.frames, 10)
    for truth in footage.boxes(10):
        assert max(box_iou(box.box, truth) for box in boxes) > 0.5


def test_flat_ground_between_two_objects_does_not_join_them(detector):
    rng = np.random.default_rng(0)
    ground = textured_ground(height_px=180, width_px=320)
    ground[:, 100:230] = 225
    left, right = (cv2.resize(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8), (50, 50)) for _ in range(2))
    frames = []
    for shift_px in range(0, 21, 3):
        frame = ground.astype(np.float64)
        frame[60:110, 70 + shift_px : 120 + shift_px] = left
        frame[65:115, 210 - shift_px : 260 - shift_px] = right
        frames.append((frame + rng.normal(0, 1, frame.shape)).clip(0, 255).astype(np.uint8))
    boxes = found(detector, np.stack(frames), 3)
    assert len(boxes) == 2
    for truth in ((79, 60, 129, 110), (201, 65, 251, 115)):
        assert max(box_iou(box.box, truth) for box in boxes) > 0.5


def test_panning_over_a_still_scene_finds_nothing(detector):
    frames = panned(textured_ground(height_px=120, width_px=260), 12, step_px=4, width_px=200)
    assert found(detector, frames, 6) == []


def test_object_at_rest_is_no_moving_object(detector):
    frames = squares_film({"blue square": [(30, 20, 60, 50)] * 12})
    assert found(detector, frames, 6) == []


def test_ground_that_an_object_uncovers_is_not_part_of_it(detector):
    boxes = [(5 + 3 * frame, 20, 35 + 3 * frame, 50) for frame in range(12)]
    frames = squares_film({"blue square": boxes})
    (box,) = found(detector, frames, 6)
    # In 3 frames it uncovers 9 columns on one side and covers 9 on the other; half of that is what flow may blur.
    assert abs(box.box[0] - boxes[6][0]) < 4.5
    assert abs(box.box[2] - boxes[6][2]) < 4.5


def test_first_and_last_frame_need_only_one_neighbour(detector):
    boxes = [(10 + 2 * frame, 20, 40 + 2 * frame, 50) for frame in range(12)]
    frames = squares_film({"blue square": boxes})
    for frame in (0, 11):
        assert max(box_iou(box.box, boxes[frame]) for box in found(detector, frames, frame)) > 0.5


def test_walking_person_is_one_person_and_not_also_a_moving_object(detector):
    frames = np.stack([draw_person(x_px) for x_px in range(150, 174, 2)])
    (box,) = found(detector, frames, 6)
    assert box.label == "person"
    assert box_iou(box.box, (162 - 30, 63, 162 + 30, 225)) > 0.5
    (moving,) = found(detector, frames, 6, labels=("moving object",))
    assert moving.label == "moving object"


def test_face_is_found_only_where_it_was_asked_for(detector):
    frames = np.repeat(draw_face()[None], 3, axis=0)
    (box,) = found(detector, frames, 1)
    assert box.label == "face"
    assert box_iou(box.box, (92, 40, 188, 164)) > 0.5
    assert found(detector, frames, 1, labels=("person", "moving object")) == []


def test_model_is_described_without_being_loaded():
    card = describe("detector", ModelChoice(name="embedded", options={"motion_s": 0.2}))
    assert cv2.__version__ in card.source
    assert card.options["motion_s"] == 0.2


@pytest.mark.parametrize("wrong", [{"motion_s": 0.0}, {"min_area_frac": 0.7}, {"motion_short_side_px": 8}])
def test_wrong_options_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        fill(EmbeddedDetectorSettings, wrong)


def draw_person(x_px):
    """A dark standing figure, 162 px tall, before light noise: uint8 [280, 360, 3]."""
    image = (textured_ground(height_px=280, width_px=360, seed=3) * 0.2 + 150).astype(np.uint8)
    torso = [(-26, 102), (26, 102), (30, 165), (20, 165), (18, 150), (-18, 150), (-20, 165), (-30, 165)]
    legs = [(-18, 148), (18, 148), (20, 225), (6, 225), (0, 165), (-6, 225), (-20, 225)]
    cv2.ellipse(image, (x_px, 80), (13, 17), 0, 0, 360, (30, 30, 40), -1)
    for outline in (torso, legs):
        cv2.fillPoly(image, [np.add(outline, (x_px, 0))], (30, 30, 40))
    return cv2.GaussianBlur(image, (3, 3), 0)


def draw_face():
    """A face of 96 x 124 px around (140, 102): uint8 [200, 280, 3]."""
    image = np.full((200, 280, 3), 90, dtype=np.uint8)
    ellipses = [((140, 100), (48, 64), (205, 175, 150)), ((140, 110), (7, 16), (220, 190, 165))]
    ellipses += [((140, 124), (11, 4), (150, 115, 100)), ((140, 140), (20, 6), (150, 70, 70))]
    for x in (120, 160):
        ellipses += [((x, 84), (14, 9), (140, 110, 95)), ((x, 86), (9, 5), (235, 235, 235))]
        ellipses += [((x, 86), (5, 5), (30, 25, 25)), ((x, 74), (13, 2), (60, 45, 40))]
    for centre, axes, colour in ellipses:
        cv2.ellipse(image, centre, axes, 0, 0, 360, colour, -1)
    cv2.ellipse(image, (140, 52), (50, 26), 0, 180, 360, (50, 40, 35), -1)
    return cv2.GaussianBlur(image, (7, 7), 0)
