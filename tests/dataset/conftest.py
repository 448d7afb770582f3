"""A finished run and a published data set to read, and copies of them to break."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.dataset.published import CAPTION, PEXELS, write_csv, write_published
from tests.runs import make_run
from vpdata.dataset.run import Run
from vpdata.storage import Folder


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Five clips in three shards. Only to be read."""
    return make_run(tmp_path_factory.mktemp("finished") / "run", num_clips=5)


@pytest.fixture
def run(finished_run: Run, tmp_path: Path) -> Run:
    """The same, for one test to change."""
    shutil.copytree(finished_run.folder.uri, tmp_path / "run")
    return Run(Folder(tmp_path / "run"))


@pytest.fixture(scope="session")
def published_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published") / "data"
    write_published(folder)
    return folder


@pytest.fixture
def published(published_once: Path, tmp_path: Path) -> Path:
    """The published layout of two videos."""
    shutil.copytree(published_once, tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def in_two_parts(published) -> Path:
    """As many rows without a video between the two videos as make the second one the start of another part."""
    gone = [(f"{2000 + number:012d}_1.mp4", 0, 12, 12.0, 7, CAPTION) for number in range(63)]
    write_csv(published, [(PEXELS, 0, 12, 12.0, 7, CAPTION), *gone])
    return published
