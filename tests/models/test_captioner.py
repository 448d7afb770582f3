"""MeasuredCaptioner: what it says of films in which everything is known, and that it says nothing else."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.fakes import COLOUR_OF, make_clip, textured_ground
from vpdata.media.masks import encode_mask
from vpdata.media.track_measures import measured_track
from vpdata.models.embedded.captioner import MeasuredCaptioner, MeasuredCaptionerSettings
from vpdata.records import Score
from vpdata.stages.caption import Caption, CaptionSettings

HEIGHT, WIDTH, NUM_FRAMES, FPS = 180, 320, 36, 12
GROUND = textured_ground(height_px=300, width_px=700, seed=4)
STILL = [(100, 60)] * NUM_FRAMES
"""Upper left corner of what the camera sees of the ground, per frame."""
PAN_RIGHT = [(40 + 8 * frame, 60) for frame in range(NUM_FRAMES)]


def captions_of(boxes, *, camera=STILL, label="box", colour="red square", scores=(), ground=GROUND):
    """The captions of a clip with one coloured rectangle; scope None is the clip's and 1 the rectangle's."""
    frames, masks = [], []
    for (x, y), box in zip(camera, boxes, strict=True):
        frame, mask = ground[y : y + HEIGHT, x : x + WIDTH].copy(), np.zeros((HEIGHT, WIDTH), dtype=bool)
        if box is not None:
            x0, y0, x1, y1 = (max(edge, 0) for edge in box)
            frame[y0:y1, x0:x1] = COLOUR_OF[colour]
            mask[y0:y1, x0:x1] = True
        frames.append(frame)
        masks.append(encode_mask(mask))
    return write(np.stack(frames), masks, label=label, scores=scores)


def write(frames, masks, *, label, scores=()):
    record, data = make_clip(frames, fps=FPS)
    track = measured_track(masks, id=1, label=label, score=0.9, height_px=HEIGHT, width_px=WIDTH)
    stage = Caption(CaptionSettings())
    stage.setup()
    record = dataclasses.replace(record, tracks=(track,) if any(masks) else (), scores=scores)
    (result,) = stage.process_many(iter([stage.prepare(record, data)]))
    return {caption.scope: caption.text for caption in result.record.captions}


def moved(start, step, *, size=50):
    x, y = start
    return [(x + step[0] * n, y + step[1] * n, x + step[0] * n + size, y + step[1] * n + size) for n in range(36)]


@pytest.mark.parametrize(
    ("start", "step", "words"),
    [
        ((10, 60), (6, 0), "to the right, from the left to the right"),
        ((250, 60), (-6, 0), "to the left, from the right to the left"),
        ((130, 5), (0, 3), "down, from the top to the bottom"),
        ((130, 120), (0, -3), "up, from the bottom to the top"),
        ((20, 5), (6, 3), "down and to the right, from the upper left to the lower right"),
    ],
)
def test_motion_is_told_with_its_direction_and_places(start, step, words):
    text = captions_of(moved(start, step))[1]
    assert text.startswith("A red box, about 4 percent of the frame in size, that moves ")
    assert words in text


def test_speed_follows_the_distance_per_second():
    # Over 2.9 s, in diagonals of 367 px: 35, 140 and 245 px.
    for step, word in ((1, "slowly"), (4, "steadily"), (7, "quickly")):
        assert f"moves {word} to the right" in captions_of(moved((10, 60), (step, 0)))[1]


def test_object_and_camera_at_rest_are_told_to_be():
    texts = captions_of(moved((130, 60), (0, 0)))
    assert texts[1] == "A red box, about 4 percent of the frame in size, that stays in the centre."
    assert "stays in the centre" in texts[None]
    assert "The camera stands still." in texts[None]


def test_still_object_before_a_panning_camera_does_not_move():
    boxes = [(280 - 8 * frame, 60, 330 - 8 * frame, 110) for frame in range(NUM_FRAMES)]
    texts = captions_of([(x0, y0, max(x1, 1), y1) if x1 > 0 else None for x0, y0, x1, y1 in boxes], camera=PAN_RIGHT)
    assert "that passes from the right to the left of the frame as the camera moves" in texts[1]
    assert "The camera moves quickly to the right." in texts[None]


def test_swing_is_told_as_back_and_forth():
    swing = [min(frame % 18, 18 - frame % 18) for frame in range(NUM_FRAMES)]
    boxes = [(110 + 5 * step, 60, 160 + 5 * step, 110) for step in swing]
    assert "that moves back and forth in the centre" in captions_of(boxes)[1]


def test_way_there_and_back_names_both_ends():
    half = NUM_FRAMES / 2
    boxes = [
        (x, 60, x + 50, 110) for x in (round(10 + 250 * (1 - abs(frame - half) / half)) for frame in range(NUM_FRAMES))
    ]
    assert "that moves from the left to the right of the frame and back" in captions_of(boxes)[1]


def test_swing_to_both_sides_is_no_way_there_and_back():
    ways = np.round(125 * np.sin(np.linspace(0, 2 * np.pi, NUM_FRAMES))).astype(int)
    boxes = [(135 + way, 60, 185 + way, 110) for way in ways.tolist()]
    assert "that moves back and forth in the centre" in captions_of(boxes)[1]


def test_object_that_the_camera_follows_is_told_to_be_followed():
    text = captions_of(moved((130, 60), (0, 0)), camera=PAN_RIGHT)[1]
    assert "moves quickly to the right in the centre of the frame while the camera follows" in text


def test_camera_that_cannot_be_matched_leaves_motion_unsaid():
    rng = np.random.default_rng(0)
    masks, frames = [], rng.integers(0, 255, (NUM_FRAMES, HEIGHT, WIDTH, 3), dtype=np.uint8)
    for frame, (x0, y0, x1, y1) in zip(frames, moved((10, 60), (6, 0)), strict=True):
        frame[y0:y1, x0:x1] = COLOUR_OF["red square"]
        mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
        mask[y0:y1, x0:x1] = True
        masks.append(encode_mask(mask))
    texts = write(frames, masks, label="box")
    assert "is first on the left and finally on the right" in texts[1]
    assert "camera" not in texts[None]
    assert "moves" not in texts[1]


def test_score_of_a_standing_camera_is_believed():
    still = (Score(name="camera_motion", value=0.0, model="test"),)
    texts = captions_of(moved((10, 60), (6, 0)), scores=still, ground=np.full_like(GROUND, 120))
    assert "moves quickly to the right" in texts[1]
    assert "camera" in texts[None]


def test_coming_going_and_hiding_are_told_with_their_times():
    boxes = moved((130, 60), (0, 0))
    seen = [box if 12 <= frame < 18 or 24 <= frame < 30 else None for frame, box in enumerate(boxes)]
    text = captions_of(seen)[1]
    assert "appears after 1.0 seconds" in text
    assert "is out of sight for 0.5 seconds in between" in text
    assert "is gone after 2.5 seconds" in text


def test_change_of_size_is_told_by_how_much():
    growing = [(130, 60, 150 + frame, 80 + frame) for frame in range(NUM_FRAMES)]
    # First and last 7 frames: the mean of (20 + n) squared is 533 for n = 0..6 and 2708 for n = 29..35.
    assert "comes to fill about 5.1 times its first area" in captions_of(growing)[1]
    assert "shrinks to about 20 percent of its first area" in captions_of(growing[::-1])[1]


def test_colour_of_the_object_is_told_but_not_a_faces():
    boxes = moved((130, 60), (0, 0))
    assert captions_of(boxes, colour="blue square")[1].startswith("A blue box")
    assert captions_of(boxes, label="person")[1].startswith("A person in red,")
    assert captions_of(boxes, label="face")[1].startswith("A face,")


def test_light_and_surroundings_are_told_and_change_with_the_picture():
    dark = captions_of(moved((130, 60), (0, 0)), ground=(GROUND * 0.3).astype(np.uint8))[None]
    assert "The picture has low brightness" in dark or "Brightness and contrast are low." in dark
    assert "The surroundings are mainly grey" in captions_of(moved((130, 60), (0, 0)))[None]


def test_clip_without_tracks_still_has_a_caption():
    text = captions_of([None] * NUM_FRAMES)[None]
    assert text
    assert "object" not in text


def test_three_objects_alike_do_not_make_a_repetitive_text():
    record, _ = describe_squares([(20, 1), (20, 2), (20, 3)], labels=("person",) * 3, max_objects=3)
    assert record.score("caption_repetition_frac") <= 0.2


def test_most_objects_are_counted_and_the_largest_described():
    _, text = describe_squares([(20, 1), (60, 2), (40, 3), (30, 4)], labels=[f"box {n}" for n in range(1, 5)])
    assert text.index("box 2") < text.index("box 3")
    assert "box 1" not in text
    assert "Two more objects are seen." in text


def describe_squares(squares, *, labels, max_objects=2):
    """The record and the clip's caption for squares (side in px, column) at rest."""
    film = np.repeat(GROUND[None, :HEIGHT, :WIDTH], NUM_FRAMES, axis=0)
    record, data = make_clip(film, fps=FPS)
    tracks = []
    for number, ((side, column), label) in enumerate(zip(squares, labels, strict=True), start=1):
        mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
        mask[10 : 10 + side, 70 * column - 60 : 70 * column - 60 + side] = True
        masks = [encode_mask(mask)] * NUM_FRAMES
        tracks.append(measured_track(masks, id=number, label=label, score=1.0, height_px=HEIGHT, width_px=WIDTH))
    settings = MeasuredCaptionerSettings(max_objects=max_objects)
    stage = Caption(CaptionSettings(), captioner=lambda: MeasuredCaptioner(settings))
    stage.setup()
    (result,) = stage.process_many(iter([stage.prepare(dataclasses.replace(record, tracks=tuple(tracks)), data)]))
    return result.record, result.record.captions[0].text
