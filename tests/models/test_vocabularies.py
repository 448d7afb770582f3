"""Lists of object names."""

from __future__ import annotations

import pytest

from vpdata.errors import ConfigError
from vpdata.models.vocabularies import read_vocabulary


def test_lvis_holds_the_names_of_its_categories_without_underscores_and_brackets():
    names = read_vocabulary("lvis")
    assert len(names) == 1198  # of 1203, of which bow, fish, octopus, pan and salmon mean two things each
    assert {"person", "aerosol can", "bow", "flip-flop", "zucchini"} <= set(names)
    assert not any(character in "".join(names) for character in "_()#.?")


def test_list_of_ones_own_is_read_without_comments_and_empty_lines(tmp_path):
    (tmp_path / "own.txt").write_text("# mine\n\n  sea otter \nкит\n", encoding="utf-8")
    assert read_vocabulary(str(tmp_path / "own.txt")) == ("sea otter", "кит")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no names"),
        (b"# only this", "no names"),
        (b"cat\ndog\ncat ", "'cat' twice"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_list_that_is_none_is_refused(tmp_path, content, message):
    (tmp_path / "own.txt").write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_vocabulary(str(tmp_path / "own.txt"))


def test_unknown_list_names_the_known_ones(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'lvis'"):
        read_vocabulary("lviz")
    with pytest.raises(ConfigError, match="known: lvis"):
        read_vocabulary("openimages")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_vocabulary(str(tmp_path / "missing.txt"))
