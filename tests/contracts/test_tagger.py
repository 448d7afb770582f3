"""What every Tagger promises."""

from __future__ import annotations

import pytest

from tests.contracts.implementations import implementations
from tests.fakes import squares_film
from vpdata.errors import RejectItem

CLIPS = [
    squares_film({"red square": [(8, 8, 40, 40)] * 3}),
    squares_film({"blue square": [(30, 20, 70, 60)] * 2}),
]


@pytest.fixture(params=implementations("tagger"), scope="module")
def tagger(request):
    return request.param()


def test_each_clip_gets_distinct_words(tagger):
    answers = tagger.tags(CLIPS)
    assert len(answers) == len(CLIPS)
    for tags in answers:
        if isinstance(tags, RejectItem):
            assert tags.got
            continue
        assert isinstance(tags, tuple)
        assert len(set(tags)) == len(tags)
        assert all(isinstance(tag, str) and tag.strip() == tag and tag for tag in tags)


def test_batch_equals_one_by_one(tagger):
    assert plain(tagger.tags(CLIPS)) == plain([tagger.tags([clip])[0] for clip in CLIPS])


def plain(answers):
    """Answers as what can be compared."""
    return [(one.reason, one.got) if isinstance(one, RejectItem) else one for one in answers]


def test_no_clips_give_no_answers(tagger):
    assert tagger.tags([]) == []
