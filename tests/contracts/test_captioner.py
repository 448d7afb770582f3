"""What every Captioner promises."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.contracts.implementations import implementations
from tests.fakes import LabelCaptioner, make_clip, squares_film
from vpdata.media.masks import encode_mask
from vpdata.media.track_measures import measured_track
from vpdata.models.ports import CaptionRequest

NUM_FRAMES = 12
BOXES = [(6 + 4 * frame, 8, 30 + 4 * frame, 32) for frame in range(NUM_FRAMES)]
FRAMES = squares_film({"red square": BOXES})


def request(*, is_track=False, has_tracks=True):
    masks = np.zeros(FRAMES.shape[:3], dtype=bool)
    for mask, (x0, y0, x1, y1) in zip(masks, BOXES, strict=True):
        mask[y0:y1, x0:x1] = True
    record, _ = make_clip(FRAMES)
    counts = [encode_mask(mask) for mask in masks]
    track = measured_track(counts, id=1, label="red square", score=0.9, height_px=64, width_px=96)
    frames = (0, 4, 8, 11)
    return CaptionRequest(
        record=dataclasses.replace(record, tracks=(track,) if has_tracks else ()),
        track=1 if is_track else None,
        frames=frames,
        images=FRAMES[list(frames)],
        masks=masks[list(frames)] if is_track else None,
        prompt_name="masked_object" if is_track else "dense_clip",
        prompt="Describe it.",
    )


@pytest.fixture(params=implementations("captioner", fake=LabelCaptioner), scope="module")
def captioner(request):
    return request.param()


def test_each_request_gets_a_text_in_order(captioner):
    clip, track = captioner.caption([request(), request(is_track=True)])
    assert clip
    assert track
    assert captioner.caption([request(is_track=True), request()]) == [track, clip]


def test_batch_equals_one_by_one(captioner):
    requests = [request(), request(is_track=True), request(has_tracks=False)]
    assert captioner.caption(requests) == [captioner.caption([one])[0] for one in requests]


def test_no_requests_give_no_texts(captioner):
    assert captioner.caption([]) == []


def test_one_key_frame_is_enough(captioner):
    whole = request(is_track=True)
    assert whole.masks is not None
    one = dataclasses.replace(whole, frames=(4,), images=whole.images[1:2], masks=whole.masks[1:2])
    (text,) = captioner.caption([one])
    assert text
