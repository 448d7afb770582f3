"""The same training learns what it did; see make_losses.py for what to do when it does not."""

import json

import pytest

from tests.golden.make_losses import BACKBONES, FILE, losses_on


@pytest.mark.parametrize("name", BACKBONES)
def test_ten_losses_are_what_they_were(name):
    # The last bits differ between processors; a change of what is computed shows in the first digits.
    assert losses_on(name) == pytest.approx(json.loads(FILE.read_text())[name], rel=1e-4)
