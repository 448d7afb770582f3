"""What holds for every test: no error is logged unseen, and random state does not leak."""

from __future__ import annotations

import importlib
import logging
import os
import random
import shutil
import tempfile
from collections.abc import Iterator

import numpy as np
import pytest


def pytest_configure(config: pytest.Config) -> None:
    """With `VPDATA_REQUIRE=packages`, what would skip without its package fails.

    Of several test processes each has a `TMPDIR` of its own, where its Ray finds no other's.
    """
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        # Short: Ray's sockets are below it, and their paths may have 107 bytes.
        os.environ["TMPDIR"] = tempfile.tempdir = folder = tempfile.mkdtemp(prefix=worker)
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    if "packages" in os.environ.get("VPDATA_REQUIRE", "").split(","):
        pytest.importorskip = importlib.import_module


@pytest.fixture(autouse=True)
def _no_error_is_logged(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    if request.node.get_closest_marker("logs_errors"):
        return
    errors = [r for r in caplog.get_records("call") if r.levelno >= logging.ERROR and r.name.startswith("vpdata")]
    assert not errors, f"logged: {[record.getMessage() for record in errors]}"


@pytest.fixture(autouse=True)
def _random_state_is_restored() -> Iterator[None]:
    python_state, numpy_state = random.getstate(), np.random.get_state()
    yield
    random.setstate(python_state)
    np.random.set_state(numpy_state)
