"""The stage caption on films of coloured squares."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest

from benchmark.footage import scene
from tests.fakes import LabelCaptioner, has_colour, make_clip, squares_film
from vpdata.config import fill
from vpdata.errors import ConfigError, Reason
from vpdata.media.masks import encode_mask
from vpdata.media.track_measures import measured_track
from vpdata.models.prompts import read_prompt
from vpdata.stages.base import Rejected
from vpdata.stages.caption import Caption, CaptionSettings, largest_views, spread
from vpdata.stages.detect import Detect, DetectSettings
from vpdata.stages.track import Track as TrackStage
from vpdata.stages.track import TrackSettings

NUM_FRAMES = 24
RED = [(4 + 2 * frame, 10, 28 + 2 * frame, 40) for frame in range(NUM_FRAMES)]
BLUE = [None] * 12 + [(60, 30, 62 + 2 * frame, 56) for frame in range(12)]


def track_of(boxes, *, id, label):
    counts = []
    for box in boxes:
        mask = np.zeros((64, 96), dtype=bool)
        if box:
            mask[box[1] : box[3], box[0] : box[2]] = True
        counts.append(encode_mask(mask))
    return measured_track(counts, id=id, label=label, score=0.9, height_px=64, width_px=96)


def tracked_clip(**options):
    record, data = make_clip(squares_film({"red square": RED, "blue square": BLUE}), **options)
    tracks = (track_of(RED, id=1, label="red square"), track_of(BLUE, id=2, label="blue square"))
    return dataclasses.replace(record, tracks=tracks), data


def captioned(*clips, settings=None, captioner=None):
    captioner = captioner or LabelCaptioner()
    stage = Caption(settings or CaptionSettings(), captioner=lambda: captioner)
    stage.setup()
    return list(stage.process_many(iter([stage.prepare(record, data) for record, data in clips])))


def test_clip_and_every_track_get_a_text():
    (result,) = captioned(tracked_clip())
    texts = {caption.scope: caption.text for caption in result.record.captions}
    assert texts[None] == "Seen: a red square, a blue square."
    assert texts[1] == "Seen: a red square."
    assert texts[2] == "Seen: a blue square."
    assert [caption.prompt for caption in result.record.captions] == ["dense_clip", "masked_object", "masked_object"]


def test_caption_of_the_source_list_is_kept_beside_ours():
    (result,) = captioned(tracked_clip(caption="two squares <b>dance</b>"))
    last = result.record.captions[-1]
    assert (last.text, last.model, last.scope, last.prompt) == ("two squares <b>dance</b>", "source", None, "")
    assert result.record.captions[0].model != "source"


def test_words_and_repetition_of_the_clips_caption_are_scored():
    class Parrot(LabelCaptioner):
        def caption(self, requests):
            return ["one two three one two three"] * len(requests)

    (result,) = captioned(tracked_clip(), captioner=Parrot())
    assert result.record.score("caption_words") == 6
    # Four phrases of three words: 123, 231, 312 and 123 again.
    assert result.record.score("caption_repetition_frac") == pytest.approx(1 / 4)


@pytest.mark.parametrize("empty_scope", [None, 2])
def test_missing_text_rejects_the_clip_and_no_other(empty_scope):
    class Silent(LabelCaptioner):
        def caption(self, requests):
            texts = super().caption(requests)
            is_mute = [one.track == empty_scope and one.record.id == bad.id for one in requests]
            return [" \n" if mute else text for text, mute in zip(texts, is_mute, strict=True)]

    (bad, data), good = tracked_clip(name="bad.mp4"), tracked_clip(name="good.mp4")
    rejected, result = captioned((bad, data), good, captioner=Silent())
    assert isinstance(rejected, Rejected)
    assert (rejected.reject.reason, rejected.reject.stage) == (Reason.CAPTION_FAILED, "caption")
    assert result.item_id == good[0].id


def test_captioner_sees_the_object_where_the_mask_says():
    captioner = LabelCaptioner()
    captioned(tracked_clip(), captioner=captioner)
    for request, label in zip(captioner.requests[1:], ("red square", "blue square"), strict=True):
        assert request.masks is not None
        assert request.masks.shape == request.images.shape[:3]
        colour = {"red square": (220, 30, 30), "blue square": (30, 30, 220)}[label]
        for image, mask in zip(request.images, request.masks, strict=True):
            assert mask.any()
            assert has_colour(image, colour)[mask].mean() > 0.8
        assert f'"{label}"' in request.prompt


def test_images_and_masks_are_scaled_together():
    captioner = LabelCaptioner()
    captioned(tracked_clip(), settings=CaptionSettings(max_short_side_px=32), captioner=captioner)
    clip, red, _ = captioner.requests
    assert clip.images.shape[1:] == red.images.shape[1:] == (32, 48, 3)
    assert red.masks is not None
    assert red.masks.shape[1:] == (32, 48)


def test_key_frames_run_from_the_first_to_the_last():
    assert spread(range(24), num=4) == (0, 8, 15, 23)
    assert spread(range(3), num=8) == (0, 1, 2)
    assert spread(range(9), num=1) == (0,)


def test_object_is_shown_where_it_is_seen_and_largest():
    blue = track_of(BLUE, id=2, label="blue square")
    assert largest_views(blue, num=3) == (15, 19, 23)
    assert largest_views(blue, num=100) == tuple(range(12, 24))


def test_texts_of_several_clips_share_a_batch():
    captioner = LabelCaptioner()
    clips = [tracked_clip(name=f"{number}.mp4") for number in range(3)]
    results = captioned(*clips, settings=CaptionSettings(batch_size=4), captioner=captioner)
    assert captioner.batch_sizes == [4, 4, 1]
    assert [result.item_id for result in results] == [record.id for record, _ in clips]
    assert results == [captioned(clip)[0] for clip in clips]


def test_prompts_are_filled_and_unknown_ones_listed():
    captioner = LabelCaptioner()
    captioned(tracked_clip(), captioner=captioner)
    assert "8 frames of one video clip of 2.0 seconds" in captioner.requests[0].prompt
    assert "{" not in "".join(request.prompt for request in captioner.requests)
    with pytest.raises(ConfigError, match=r"dense_clip, .*masked_object"):
        read_prompt("no such prompt")


def test_stage_pickles_before_setup_and_knows_its_prompts():
    stage = pickle.loads(pickle.dumps(Caption(CaptionSettings())))
    assert [card.role for card in stage.models] == ["captioner"]
    assert stage.identity["prompts"]["dense_clip"] == read_prompt("dense_clip")


def test_embedded_models_find_follow_and_describe_two_crossing_objects():
    footage = scene("crossing", seed=3)
    record, data = make_clip(footage.frames, fps=25)
    for stage in (Detect(DetectSettings()), TrackStage(TrackSettings()), Caption(CaptionSettings())):
        stage.setup()
        (result,) = stage.process_many(iter([stage.prepare(record, data)]))
        record = result.record
    assert [track.coverage_frac > 0.9 for track in record.tracks] == [True, True]
    texts = " ".join(caption.text for caption in record.captions)
    assert footage.labels == ("pink figure", "cyan blob")
    assert "A pink object, about 2 percent of the frame in size, that moves quickly to the right" in texts
    assert "A blue object, about 4 percent of the frame in size, that moves quickly to the left" in texts
    assert "The camera stands still." in texts


def test_wrong_settings_are_refused():
    with pytest.raises(ConfigError, match="num_key_frames"):
        fill(CaptionSettings, {"num_key_frames": 0}, where="caption")
