"""The stage caption on films of coloured squares."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest

from benchmark.footage import scene
from tests.fakes import LabelCaptioner, has_colour, make_clip, squares_film
from vpdata.config import ModelChoice, fill
from vpdata.errors import ConfigError, Reason
from vpdata.media.clips import ClipReader
from vpdata.media.masks import encode_mask
from vpdata.media.track_measures import measured_track
from vpdata.models.ports import unheard
from vpdata.models.prompts import read_prompt
from vpdata.stages.base import Rejected
from vpdata.stages.caption import Caption, CaptionSettings, largest_views, spread
from vpdata.stages.caption_checks import CaptionChecks
from vpdata.stages.detect import Detect, DetectSettings
from vpdata.stages.track import Track as TrackStage
from vpdata.stages.track import TrackSettings
from vpdata.storage import Folder

NUM_FRAMES = 24
SERVER = {"base_url": "http://127.0.0.1:9/v1", "model": "any"}
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
        def caption(self, requests, *, alive=unheard):
            return ["one two three one two three"] * len(requests)

    (result,) = captioned(tracked_clip(), captioner=Parrot())
    assert result.record.score("caption_words") == 6
    # Four phrases of three words: 123, 231, 312 and 123 again.
    assert result.record.score("caption_repetition_frac") == pytest.approx(1 / 4)


class Mute(LabelCaptioner):
    """Has nothing to say about some scopes of one film."""

    def __init__(self, *scopes, clip_id):
        super().__init__()
        self.mute = {(clip_id, scope) for scope in scopes}

    def caption(self, requests, *, alive=unheard):
        texts = super().caption(requests, alive=alive)
        is_mute = [(one.record.id, one.track) in self.mute for one in requests]
        return [" \n" if mute else text for text, mute in zip(texts, is_mute, strict=True)]


def test_clip_without_a_caption_is_rejected_and_no_other():
    (bad, data), good = tracked_clip(name="bad.mp4"), tracked_clip(name="good.mp4")
    rejected, result = captioned((bad, data), good, captioner=Mute(None, clip_id=bad.id))
    assert isinstance(rejected, Rejected)
    assert (rejected.reject.reason, rejected.reject.stage) == (Reason.CAPTION_FAILED, "caption")
    assert rejected.reject.track is None
    assert result.item_id == good[0].id


def test_track_without_a_description_is_dropped_and_the_clip_is_kept():
    (bad, data), good = tracked_clip(name="bad.mp4"), tracked_clip(name="good.mp4")
    rejected, result, other = captioned((bad, data), good, captioner=Mute(1, clip_id=bad.id))
    assert isinstance(rejected, Rejected)
    assert (rejected.item_id, rejected.reject.id, rejected.reject.track) == (bad.id, bad.id, 1)
    assert rejected.reject.reason == Reason.CAPTION_FAILED
    assert [track.id for track in result.record.tracks] == [2]
    assert [caption.scope for caption in result.record.captions] == [None, 2]
    assert [track.id for track in other.record.tracks] == [1, 2]


def test_clip_whose_tracks_all_lack_a_description_is_rejected():
    bad, data = tracked_clip()
    *tracks, clip = captioned((bad, data), captioner=Mute(1, 2, clip_id=bad.id))
    assert [one.reject.track for one in tracks] == [1, 2]
    assert isinstance(clip, Rejected)
    assert (clip.reject.reason, clip.reject.track) == (Reason.NO_TRACKS, None)


GOOD_CLIP = (
    "A red square slides to the right over grey ground. A blue square grows beside it. The camera stands still all the "
    "time."
)


class Scripted:
    """A Captioner that says what a test wrote down, by scope and turn; keeps the requests."""

    def __init__(self, **answers):
        """`clip=["first", "second"]`, `track1=[...]`; the last stays."""
        self.answers = {"clip": [GOOD_CLIP], "track1": ["a red square on grey"], "track2": ["a blue square"]} | answers
        self.requests = []

    def caption(self, requests, *, alive=unheard):
        self.requests += requests
        return [self._next("clip" if one.track is None else f"track{one.track}") for one in requests]

    def _next(self, scope):
        answers = self.answers[scope]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def prompts(self, track):
        return [one.prompt for one in self.requests if one.track == track]


CHECKED = CaptionSettings(checks=CaptionChecks())


def test_bad_text_is_asked_for_once_more_with_its_fault_named():
    captioner = Scripted(clip=["I'm sorry, I cannot see anything in these pictures that I could describe.", GOOD_CLIP])
    (result,) = captioned(tracked_clip(), settings=CHECKED, captioner=captioner)
    assert result.record.captions[0].text == GOOD_CLIP
    first, again = captioner.prompts(None)
    assert again.startswith(first.strip())
    assert "I'm sorry" in again.removeprefix(first.strip())
    assert len(captioner.requests) == 4


def test_text_that_stays_bad_drops_its_track_by_the_name_of_the_check():
    captioner = Scripted(track2=["a green circle that spins around", "a green triangle"])
    rejected, result = captioned(tracked_clip(), settings=CHECKED, captioner=captioner)
    assert rejected.reject.track == 2
    assert "'label'" in rejected.reject.detail
    assert rejected.reject.got == "no word for 'blue square'"
    assert [track.id for track in result.record.tracks] == [1]
    assert len(captioner.prompts(2)) == 2


@pytest.mark.parametrize(("brightness", "num_asked"), [(0, 1), (20, 1), (90, 2)])
def test_black_around_an_object_may_be_told_where_it_is_in_the_video(brightness, num_asked):
    ground = np.full((64, 96, 3), brightness, np.uint8)
    record, data = make_clip(squares_film({"red square": RED}, ground=ground))
    record = dataclasses.replace(record, tracks=(track_of(RED, id=1, label="red square"),))
    captioner = Scripted(track1=["a red square shown against a black background.", "a red square on grey"])
    (result,) = captioned((record, data), settings=CHECKED, captioner=captioner)
    assert len(captioner.prompts(1)) == num_asked
    assert ("black" in result.record.captions[1].text) == (num_asked == 1)


def test_rewritten_text_is_judged_by_the_pictures_that_it_is_about():
    for brightness, is_kept in ((0, True), (90, False)):
        record, data = make_clip(squares_film({"red square": RED}, ground=np.full((64, 96, 3), brightness, np.uint8)))
        record = dataclasses.replace(record, tracks=(track_of(RED, id=1, label="red square"),))
        rewriter = Scripted(track1=["a red square shown against a black background.", "a red square on grey"])
        stage = Caption(REWRITTEN, captioner=Scripted, rewriter=lambda rewriter=rewriter: rewriter)
        stage.setup()
        (result,) = stage.process_many(iter([stage.prepare(record, data)]))
        assert ("black" in result.record.captions[1].text) == is_kept


def test_clip_whose_text_stays_bad_is_rejected():
    captioner = Scripted(clip=["Too short."])
    (rejected,) = captioned(tracked_clip(), settings=CHECKED, captioner=captioner)
    assert (rejected.reject.reason, rejected.reject.got) == (Reason.CAPTION_FAILED, "2 words")
    assert "'length'" in rejected.reject.detail


def test_empty_answer_is_not_asked_for_again():
    captioner = Scripted(track1=[""])
    rejected, _ = captioned(tracked_clip(), settings=CHECKED, captioner=captioner)
    assert "'empty'" in rejected.reject.detail
    assert len(captioner.requests) == 3


def test_texts_asked_for_again_share_a_batch_and_spoil_no_order():
    answers = {"clip": ["Bad.", "Bad.", GOOD_CLIP], "track1": ["", "a red square", "a red square on grey"]}
    captioner = Scripted(**answers)
    clips = [tracked_clip(name=f"{number}.mp4") for number in range(2)]
    outcomes = captioned(*clips, settings=dataclasses.replace(CHECKED, batch_size=6), captioner=captioner)
    assert len(captioner.requests) == 8
    assert [outcome.item_id for outcome in outcomes] == [clips[0][0].id] * 2 + [clips[1][0].id]
    assert [caption.text for caption in outcomes[2].record.captions] == [GOOD_CLIP, "a red square", "a blue square"]


def test_text_asked_for_again_joins_the_next_call():
    num_texts = []

    class Counted(Scripted):
        def caption(self, requests, *, alive=unheard):
            num_texts.append(len(requests))
            return super().caption(requests, alive=alive)

    captioner = Counted(clip=["Bad.", GOOD_CLIP])
    clips = [tracked_clip(name=f"{number}.mp4") for number in range(3)]
    outcomes = captioned(*clips, settings=dataclasses.replace(CHECKED, batch_size=3), captioner=captioner)
    assert [outcome.item_id for outcome in outcomes] == [record.id for record, _ in clips]
    assert all(outcome.record.captions[0].text == GOOD_CLIP for outcome in outcomes)
    assert num_texts == [3, 3, 3, 1]


def test_line_breaks_of_a_text_become_blanks():
    captioner = Scripted(track1=["a red square\n\n on  grey"])
    (result,) = captioned(tracked_clip(), settings=CHECKED, captioner=captioner)
    assert result.record.captions[1].text == "a red square on grey"


REWRITTEN = CaptionSettings(
    checks=CaptionChecks(),
    rewriter=ModelChoice(name="openai", options={"base_url": "http://localhost/v1", "model": "writer"}),
)


def test_second_model_rewrites_texts_from_measured_facts_alone():
    captioner, rewriter = Scripted(), Scripted(track1=["a plain red square"])
    stage = Caption(REWRITTEN, captioner=lambda: captioner, rewriter=lambda: rewriter)
    stage.setup()
    (result,) = stage.process_many(iter([stage.prepare(*tracked_clip())]))
    clip, red, _ = rewriter.requests
    assert GOOD_CLIP in clip.prompt
    # 24 x 30 of 96 x 64 pixels.
    assert "about 12 percent of the" in clip.prompt
    assert "square, about 12 percent of the frame in size" in red.prompt
    assert "a red square on grey" in red.prompt
    assert {one.images.shape for one in rewriter.requests} == {(0, 64, 96, 3)}
    assert [one.masks for one in rewriter.requests] == [None] * 3
    caption = result.record.captions[1]
    assert caption.text == "a plain red square"
    assert caption.model.endswith(", rewritten by openai writer as served")
    assert caption.prompt == "masked_object, rewrite_object"


def test_rewritten_texts_are_checked_too_and_unusable_ones_are_not_rewritten():
    captioner, rewriter = Scripted(track1=[""]), Scripted(track2=["I cannot help with that blue square."])
    stage = Caption(REWRITTEN, captioner=lambda: captioner, rewriter=lambda: rewriter)
    stage.setup()
    *tracks, clip = stage.process_many(iter([stage.prepare(*tracked_clip())]))
    assert [one.reject.track for one in tracks] == [1, 2]
    assert ["'empty'" in tracks[0].reject.detail, "'refusal'" in tracks[1].reject.detail] == [True, True]
    assert clip.reject.reason == Reason.NO_TRACKS
    assert [one.track for one in rewriter.requests] == [None, 2, 2]


def test_models_and_prompts_of_both_writers_are_named():
    stage = Caption(REWRITTEN, captioner=Scripted, rewriter=Scripted)
    assert [card.name for card in stage.models] == ["embedded", "embedded", "openai writer"]
    assert {"rewrite_clip", "rewrite_object", "ask_again"} < set(stage.identity["prompts"])


def test_identity_does_not_depend_on_where_a_server_is():
    def identity(**options):
        options = {"base_url": "http://one/v1", "model": "m"} | options
        stage = Caption(CaptionSettings(captioner=ModelChoice(name="openai", options=options)))
        return stage.identity, stage.models

    assert identity() == identity(base_url="http://two/v1", concurrency=99, answers="/elsewhere")
    assert identity() != identity(model="n")
    assert identity() != identity(revision="2")
    assert identity() != identity(parameters={"temperature": 1.0})


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


HEARD = LabelCaptioner()


def heard():
    return HEARD


def test_own_prompt_goes_to_workers_as_its_text(tmp_path):
    """Pickled as for a worker on another node, which has no such file."""
    own = tmp_path / "mine.txt"
    own.write_bytes("\ufeffSay in {num_frames} words what you see.\r\nIn {{braces}}.".encode())
    sent = pickle.dumps(Caption(CaptionSettings(clip_prompt=str(own)), captioner=heard))
    own.unlink()
    stage = pickle.loads(sent)
    stage.setup()
    (result,) = stage.process_many(iter([stage.prepare(*tracked_clip())]))
    assert HEARD.requests[0].prompt == "Say in 8 words what you see.\nIn {braces}.\n"
    assert [one.prompt for one in result.record.captions] == ["mine.txt", "masked_object", "masked_object"]
    assert stage.identity["settings"]["clip_prompt"] == "mine.txt"
    assert str(tmp_path).encode() not in sent


@pytest.mark.parametrize(("setting", "model"), [("track_prompt", 0), ("rewrite_clip_prompt", 1)])
def test_own_prompts_of_objects_and_rewriter_are_asked(tmp_path, setting, model):
    (tmp_path / "mine.txt").write_text("My words, {label}" if model == 0 else "My words, {caption}")
    asked = [Scripted(), Scripted()]
    own = dataclasses.replace(REWRITTEN, **{setting: str(tmp_path / "mine.txt")})
    stage = Caption(own, captioner=lambda: asked[0], rewriter=lambda: asked[1])
    stage.setup()
    list(stage.process_many(iter([stage.prepare(*tracked_clip())])))
    wanted = {"My words, red square\n", "My words, blue square\n"} if model == 0 else {f"My words, {GOOD_CLIP}\n"}
    assert {one.prompt for one in asked[model].requests if one.prompt_name == "mine.txt"} == wanted


def test_own_prompt_in_a_bucket_is_read():
    Folder("memory://prompts").write("mine.txt", b"Seen in {num_frames} frames.")
    stage = Caption(CaptionSettings(clip_prompt="memory://prompts/mine.txt"))
    assert stage.identity["prompts"]["mine.txt"] == "Seen in {num_frames} frames.\n"


@pytest.mark.parametrize(
    ("setting", "text", "match"),
    [
        ("clip_prompt", "Of {num_frame} frames.", r"field {num_frame} in .*wanted {num_frames}, {duration_s}, and any"),
        ("clip_prompt", "Call it {label}.", r"clip_prompt: got the field {label}"),
        ("clip_prompt", "{duration_s:.1f} seconds", r"field {duration_s:\.1f}"),
        ("clip_prompt", 'Answer {"a": 1}', r"field {\"a\": 1}"),
        ("track_prompt", "{label.__class__}", r"field {label\.__class__} in .*{label}, and"),
        ("track_prompt", "{}", r"field {}"),
        ("track_prompt", "A } alone.", r"Single '}' .*any other brace twice, as {{ or }}"),
        ("rewrite_clip_prompt", "Only {facts}.", r"rewrite_clip_prompt: got no {caption}"),
        ("rewrite_track_prompt", "Only {num_frames}.", r"{caption}, {facts}, {label}"),
        ("clip_prompt", " \n", "is empty"),
        ("clip_prompt", b"\xff\xfe", "cannot be read"),
        ("clip_prompt", None, "No such file"),
    ],
)
def test_own_prompt_that_cannot_be_asked_is_refused_at_once(tmp_path, setting, text, match):
    own = tmp_path / "mine.txt"
    if text is not None:
        own.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError, match=match):
        Caption(dataclasses.replace(REWRITTEN, **{setting: str(own)}))


@pytest.mark.parametrize("source", [r"mine\prompt.txt", "https://example.org/mine.txt", "memory://prompts/none.txt"])
def test_own_prompt_that_is_at_no_place_to_read_from_is_refused(source):
    with pytest.raises(ConfigError, match=r"^caption\.clip_prompt: "):
        Caption(CaptionSettings(clip_prompt=source))


def test_two_prompts_of_one_name_are_refused(tmp_path):
    for folder in ("clip", "track"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.txt").write_text(f"Tell of the {folder}.")
    settings = CaptionSettings(clip_prompt=f"{tmp_path}/clip/mine.txt", track_prompt=f"{tmp_path}/track/mine.txt")
    with pytest.raises(ConfigError, match=r"track_prompt: got a second prompt called 'mine\.txt'"):
        Caption(settings)


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
    for wrong, match in (
        ({"num_key_frames": 0}, "num_key_frames"),
        ({"rewriter": {"name": "embedded"}}, "reads no text"),
        ({"checks": {"clip_words": [5, 4]}}, "clip_words"),
        ({"checks": {"min_latin_frac": 2}}, "min_latin_frac"),
    ):
        with pytest.raises(ConfigError, match=match):
            fill(CaptionSettings, wrong, where="caption")


@pytest.mark.parametrize(
    ("options", "timeout_s", "match"), [({"wait_for_s": 500}, 600, "takes waiting for a hang"), ({}, 400, "for 480 s")]
)
def test_a_server_that_may_be_waited_for_too_long_is_refused_where_it_is_to_be_asked(options, timeout_s, match):
    captioner = {"name": "openai", "options": SERVER | options}
    settings = fill(CaptionSettings, {"captioner": captioner, "resources": {"timeout_s": timeout_s}}, where="caption")
    with pytest.raises(ConfigError, match=match):
        Caption(settings)


def test_clips_caption_is_scored_with_the_frames_that_it_was_written_from(tmp_path):
    pytest.importorskip("open_clip")
    from tests.models.tiny_clip import IMAGE_SIZE_PX, save_tiny_clip
    from vpdata.models.openclip.scores import ClipAlignment
    from vpdata.models.openclip.settings import ClipSettings

    options = {"weights": str(save_tiny_clip(tmp_path)), "revision": "r1", "device": "cpu", "dtype": "float32"}
    settings = CaptionSettings(text_scorer=ModelChoice(name="openclip", options=options), num_key_frames=3)
    record, data = tracked_clip()
    (result,) = captioned((record, data), settings=settings)
    frames = ClipReader(data).read([0, 12, 23], max_short_side_px=IMAGE_SIZE_PX)
    alone = ClipAlignment(ClipSettings(**options)).score(frames, "Seen: a red square, a blue square.")
    (score,) = [score for score in result.record.scores if score.name == "text_alignment"]
    assert score.value == pytest.approx(alone["text_alignment"], abs=1e-6)
    assert score.model == f"{tmp_path.name} r1"
    assert [card.role for card in Caption(settings).models] == ["captioner", "text_scorer"]
