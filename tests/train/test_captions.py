import pytest

from vpdata.train.captions import TextSettings, caption_of

TEXTS = ("clip", "1", "2")


def captions(tracks=(1,), *, kind="track", texts=TEXTS, num=200, **settings):
    chosen = TextSettings(**settings)
    return [
        caption_of(tracks, kind=kind, texts=texts, settings=chosen, seed=0, ordinal=ordinal) for ordinal in range(num)
    ]


def test_captions_are_dropped_and_chosen_as_often_as_asked():
    drawn = captions(drop_frac=0.2, object_frac=0.25, num=1000)
    assert set(drawn) == {None, "clip", "1"}
    assert drawn.count(None) == pytest.approx(200, abs=50)
    assert drawn.count("1") == pytest.approx(200, abs=50)
    assert captions(drop_frac=0.2, object_frac=0.25, num=1000) == drawn


@pytest.mark.parametrize(
    ("tracks", "kind"), [((1, 2), "tracks"), ((), "davis"), ((), "full_frame"), ((1,), "inverted"), ((3,), "track")]
)
def test_holes_that_are_not_one_described_object_get_the_clips_caption(tracks, kind):
    assert set(captions(tracks, kind=kind, drop_frac=0.0, object_frac=1.0)) == {"clip"}


def test_what_there_is_no_caption_of_gets_the_other_or_none():
    assert set(captions(texts=("1",), drop_frac=0.0, object_frac=0.0)) == {"1"}
    assert set(captions((2,), texts=("1",), drop_frac=0.0)) == {None}


def test_shares_beyond_one_are_refused():
    with pytest.raises(ValueError, match=r"drop_frac 1\.5"):
        TextSettings(drop_frac=1.5)
