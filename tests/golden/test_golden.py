"""The format on disk is what it was; see make.py for what to do when it is not."""

from __future__ import annotations

import pytest

from tests.golden.make import FOLDER, golden_files

FILES = golden_files()


@pytest.mark.parametrize("name", sorted(FILES))
def test_the_format_is_what_it_was(name):
    assert FILES[name].decode() == (FOLDER / name).read_text(encoding="utf-8")
