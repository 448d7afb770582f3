"""Ids that stay the same for ever, and lookups on a record."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.records import make_record
from vpdata.errors import Reason, RejectItem
from vpdata.records import Score, clip_id, is_valid_id, video_id


@pytest.mark.parametrize(
    ("uri", "wanted"),  # printf '%s' URI | sha256sum | cut -c1-16
    [
        ("a.mp4", "e6d48eabd560bc60"),
        ("sub/ü b.mp4", "db2dc0f4c56dbe49"),
        ("https://example.org/a.mp4?v=2", "d521ec7e16a6f4a1"),
    ],
)
def test_a_video_id_is_the_start_of_the_uris_sha256(uri, wanted):
    assert video_id(uri) == wanted


@pytest.mark.parametrize(
    ("start_s", "stop_s", "wanted"),
    [(0.0, 6.125, "v-0-6125"), (12.0001, 22.0004, "v-12000-22000"), (14399.9996, 14406.0, "v-14400000-14406000")],
)
def test_a_clip_id_holds_its_span_in_whole_milliseconds(start_s, stop_s, wanted):
    assert clip_id("v", start_s, stop_s) == wanted


@given(uri=st.text(st.characters(exclude_categories=["Cs"])), start_s=st.floats(0, 1e5), length_s=st.floats(0.01, 1e3))
def test_every_id_we_make_is_valid(uri, start_s, length_s):
    assert is_valid_id(clip_id(video_id(uri), start_s, start_s + length_s))


@pytest.mark.parametrize("text", ["", "A", "a.b", "a_b", "a b", "a/b", "ü", "a\n", "a" * 129])
def test_what_could_break_a_key_of_a_shard_is_no_id(text):
    assert not is_valid_id(text)


def test_a_score_is_found_by_name_and_an_unmeasured_one_is_an_error():
    scores = (Score(name="motion", value=0.5, model="m"), Score(name="sharpness", value=None, model="m"))
    record = replace(make_record(), scores=scores)
    assert record.score("motion") == 0.5
    assert record.score("sharpness") is None
    with pytest.raises(KeyError, match="exposure"):
        record.score("exposure")


def test_a_rejected_item_crosses_a_process_border_whole():
    error = pickle.loads(pickle.dumps(RejectItem(Reason.HDR, "it is HLG", got="arib-std-b67", wanted="bt709")))
    assert (error.reason, error.detail, error.got, error.wanted) == (Reason.HDR, "it is HLG", "arib-std-b67", "bt709")
    assert str(error) == "hdr: it is HLG"
