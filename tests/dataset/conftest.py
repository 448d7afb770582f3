"""A finished run to read, and a copy of it to break."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

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
