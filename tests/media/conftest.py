from __future__ import annotations

from pathlib import Path

import pytest

from tests.media.footage import grey_ramp, write_video


@pytest.fixture(scope="session")
def mp4(tmp_path_factory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "ok.mp4", grey_ramp())
