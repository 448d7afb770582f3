"""What every TextScorer promises."""

from __future__ import annotations

import math
from typing import get_args

import pytest

from tests.contracts.implementations import implementations
from tests.fakes import squares_film
from vpdata import models
from vpdata.config import ModelChoice
from vpdata.records import ScoreName

FRAMES = squares_film({"red square": [(4, 10, 30, 40)] * 3})
TEXTS = {
    "short": "A red square.",
    "dense": "A red square lies on grey ground, and nothing else is to be seen. " * 30,
    "foreign": "Ein rotes Quadrat auf grauem Grund; 灰色地面上的红色方块。",
    "empty": " ",
}


@pytest.fixture(params=implementations("text_scorer"), scope="module")
def scorer(request):
    return request.param()


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_scores_are_known_names_with_finite_numbers_or_none(scorer, text):
    scores = scorer.score(FRAMES, text)
    assert scores
    assert set(scores) <= set(get_args(ScoreName))
    assert all(value is None or math.isfinite(value) for value in scores.values())


def test_scores_are_named_before_it_is_loaded(scorer, request):
    choice = ModelChoice(name=request.node.callspec.id)
    assert set(models.scores_of("text_scorer", choice)) == set(scorer.score(FRAMES, TEXTS["short"]))


def test_text_without_words_cannot_be_scored(scorer):
    assert set(scorer.score(FRAMES, TEXTS["empty"]).values()) == {None}


def test_equal_input_gives_equal_scores(scorer):
    frames = FRAMES.copy()
    frames.flags.writeable = False
    assert scorer.score(frames, TEXTS["dense"]) == scorer.score(FRAMES, TEXTS["dense"])


def test_every_frame_counts(scorer):
    other = squares_film({"blue square": [(40, 10, 90, 60)] * 3})
    assert scorer.score(FRAMES, TEXTS["short"]) != scorer.score(other, TEXTS["short"])
