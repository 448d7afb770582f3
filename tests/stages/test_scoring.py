"""What a stage measures beside its own work."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest

from tests.fakes import make_clip, squares_film
from vpdata.config import ModelChoice
from vpdata.errors import ConfigError, Reason, RejectItem
from vpdata.media.clips import ClipReader
from vpdata.models.embedded.measures import FrameMeasures, FrameMeasuresSettings
from vpdata.records import Score
from vpdata.stages.scoring import Scoring, key_frames

FILM = squares_film({"red square": [(4 + frame, 10, 28 + frame, 40) for frame in range(24)]})


def embedded(**options):
    return ModelChoice(name="embedded", options=options)


def loaded(*scorers):
    scoring = pickle.loads(pickle.dumps(Scoring(scorers, None)))
    scoring.setup()
    return scoring


def sampled(scoring, data):
    reader = ClipReader(data)
    frames = scoring.frames(reader.num_frames, fps=float(reader.fps))
    return scoring.samples(dict(enumerate(reader.read())), frames)


def test_key_frames_are_the_middles_of_equal_spans():
    assert key_frames(100, fps=25, interval_s=1.0) == (12, 37, 62, 87)
    assert key_frames(100, fps=25, interval_s=2.0) == (25, 75)
    assert key_frames(10, fps=25, interval_s=1.0) == (5,)
    assert key_frames(1, fps=25, interval_s=1.0) == (0,)
    assert key_frames(3, fps=25, interval_s=0.001) == (0, 1, 2)


def test_scorer_sees_frames_as_dense_and_as_large_as_it_wants():
    scoring = loaded(embedded(sample_fps=4.0, short_side_px=32))
    _, data = make_clip(FILM)
    assert scoring.frames(24, fps=12.0) == [(1, 4, 7, 10, 13, 16, 19, 22)]
    (samples,) = sampled(scoring, data)
    assert samples.shape == (8, 32, 48, 3)
    wanted = ClipReader(data).read([1, 4, 7, 10, 13, 16, 19, 22], max_short_side_px=32)
    np.testing.assert_array_equal(samples, wanted)


def test_scores_are_those_of_the_scorer_on_these_frames():
    scoring = loaded(embedded(sample_fps=4.0, short_side_px=32))
    record, data = make_clip(FILM)
    samples = sampled(scoring, data)
    measured = scoring.measured(record, samples)
    alone = FrameMeasures(FrameMeasuresSettings(short_side_px=32)).score(samples[0], fps=4.0)
    assert {score.name: score.value for score in measured.scores} == alone
    assert {score.model for score in measured.scores} == {f"{scoring.models[0].name} {scoring.models[0].revision}"}
    assert measured.embedding is None


def test_score_that_is_measured_again_replaces_the_older_one():
    scoring = loaded(embedded())
    record, data = make_clip(FILM)
    older = (Score(name="motion", value=7.0, model="older"), Score(name="unsafe", value=0.5, model="older"))
    record = dataclasses.replace(record, scores=older)
    measured = scoring.measured(record, sampled(scoring, data))
    names = [score.name for score in measured.scores]
    assert len(set(names)) == len(names)
    assert names[:2] == ["motion", "unsafe"]
    assert measured.score("motion") < 1
    assert measured.score("unsafe") == 0.5


def test_models_that_see_the_same_share_one_array(tmp_path):
    pytest.importorskip("open_clip")
    from tests.models.tiny_clip import save_tiny_clip

    options = {"weights": str(save_tiny_clip(tmp_path)), "device": "cpu", "dtype": "float32"}
    clip = ModelChoice(name="openclip", options=options)
    scoring = Scoring((clip, embedded()), clip)
    scoring.setup()
    first, second, third = sampled(scoring, make_clip(FILM)[1])
    assert first is third
    assert (len(first), len(second)) == (2, 8)


def test_two_scorers_of_one_score_are_refused_with_the_option_that_parts_them():
    pytest.importorskip("transformers")
    pytest.importorskip("open_clip")
    nsfw, clip = ModelChoice(name="nsfw"), ModelChoice(name="openclip")
    for scorers in ((nsfw, clip), (clip, embedded(), nsfw)):
        with pytest.raises(ConfigError, match=r"'nsfw'.* measure 'unsafe'.*safety: false"):
            Scoring(scorers, None)
    with pytest.raises(ConfigError, match="'embedded' and 'raft', which both measure 'motion'"):
        Scoring((embedded(), ModelChoice(name="raft")), None)
    looks = ModelChoice(name="openclip", options={"safety": False, "aesthetic_head": "laion-aesthetic-v2"})
    assert len(Scoring((nsfw, looks, embedded()), None).models) == 3


def test_nothing_is_measured_where_no_model_is_named():
    scoring = loaded()
    record, data = make_clip(FILM)
    assert sampled(scoring, data) == ()
    assert scoring.measured(record, ()) == record


def test_embedding_is_stored_as_text_with_its_model(tmp_path):
    pytest.importorskip("open_clip")
    from tests.models.tiny_clip import NUM_VALUES, save_tiny_clip
    from vpdata.stages.semantic_duplicates import from_text

    options = {"weights": str(save_tiny_clip(tmp_path)), "revision": "r1", "device": "cpu", "dtype": "float32"}
    scoring = Scoring((embedded(),), ModelChoice(name="openclip", options=options))
    scoring.setup()
    record, data = make_clip(FILM)
    samples = sampled(scoring, data)
    embedding = scoring.measured(record, samples).embedding
    assert embedding.model == f"{tmp_path.name} r1"
    (vector,) = from_text([embedding.values])
    assert vector.shape == (NUM_VALUES,)
    np.testing.assert_allclose(vector, scoring._embedder.embed(samples[-1]), atol=1e-3)


@pytest.mark.parametrize("projection", [0.0, float("nan")])
def test_clip_whose_embedding_has_no_direction_is_rejected_where_it_is_measured(tmp_path, projection):
    pytest.importorskip("open_clip")
    from safetensors.torch import load_file, save_file

    from tests.models.tiny_clip import save_tiny_clip

    file = save_tiny_clip(tmp_path) / "open_clip_model.safetensors"
    tensors = load_file(file)
    tensors["visual.proj"].fill_(projection)
    save_file(tensors, file)
    options = {"weights": str(tmp_path), "device": "cpu", "dtype": "float32"}
    scoring = Scoring((), ModelChoice(name="openclip", options=options))
    scoring.setup()
    record, data = make_clip(FILM)
    with pytest.raises(RejectItem, match="without a direction") as caught:
        scoring.measured(record, sampled(scoring, data))
    assert caught.value.reason is Reason.SCORE_FAILED
    assert caught.value.got == f"length {projection:g}"
