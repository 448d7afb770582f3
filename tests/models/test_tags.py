"""FixedTags and its settings."""

from __future__ import annotations

import numpy as np
import pytest

from vpdata.config import ModelChoice, fill
from vpdata.errors import ConfigError
from vpdata.models import maker
from vpdata.models.embedded.tags import FixedTags, FixedTagsSettings

CLIP = np.zeros((2, 8, 8, 3), dtype=np.uint8)


def test_every_clip_gets_the_labels_of_the_settings():
    tagger = maker("tagger", ModelChoice(name="fixed", options={"labels": ["person", "dog"]}))()
    assert tagger.tags([CLIP, CLIP]) == [("person", "dog"), ("person", "dog")]


def test_no_labels_mean_everything_the_detector_knows():
    assert FixedTags(FixedTagsSettings()).tags([CLIP]) == [()]


@pytest.mark.parametrize("labels", [["dog", "dog"], ["dog", " "]])
def test_empty_and_repeated_labels_are_refused(labels):
    with pytest.raises(ConfigError, match="labels"):
        fill(FixedTagsSettings, {"labels": labels})
