"""Settings of a training that cannot be meant."""

import pytest

from tests.train.fixtures import settings_for


def test_negative_seed_is_refused(tmp_path):
    with pytest.raises(ValueError, match="got seed -1, wanted 0 or more"):
        settings_for(tmp_path, seed=-1)
