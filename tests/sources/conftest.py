"""Servers on loopback, and settings that allow them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.sources.web_server import WebServer
from vpdata.sources import SourceSettings


@pytest.fixture
def web() -> Iterator[WebServer]:
    """A running web server."""
    server = WebServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def settings() -> SourceSettings:
    """Loopback allowed, and no waiting."""
    return SourceSettings(allow_private_hosts=True, retries=2, backoff_s=0.01, stall_s=5)
