from __future__ import annotations

import json

import pytest

from tests.report.conftest import HOSTILE
from vpdata.report.view import as_script_data, short_text


def test_data_can_close_no_element_and_survives() -> None:
    text = as_script_data({"text": HOSTILE, "uri": "Straße\u2029.mp4"})
    assert text.isascii()
    assert not set(text) & set("<>&")
    assert json.loads(text) == {"text": HOSTILE, "uri": "Straße\u2029.mp4"}


def test_number_that_json_lacks_is_an_error() -> None:
    with pytest.raises(ValueError, match="JSON"):
        as_script_data([float("nan")])


def test_long_text_is_cut_with_an_ellipsis() -> None:
    assert short_text("abcdef", max_chars=6) == "abcdef"
    assert short_text("abcdefg", max_chars=6) == "abcde…"
