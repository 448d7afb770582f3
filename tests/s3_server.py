"""An S3 store on loopback (moto), reached as a user would reach one: by environment variables alone."""

from __future__ import annotations

import http.server
import logging
import threading
import uuid
from collections.abc import Iterator

import pytest

from vpdata.storage import filesystem


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Address of a store that is empty when the session starts."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """`s3://<name>` of a fresh bucket; the environment leads s3fs to the store."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "planted-id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-key")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    name = f"test-{uuid.uuid4().hex}"
    filesystem("s3").mkdir(name)
    return f"s3://{name}"


@pytest.fixture
def bucket_of_a_dead_store(bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket in a store that stopped: nobody listens where the environment leads."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    filesystem("s3").clear_instance_cache()  # a client keeps the endpoint that it was made with
    yield bucket
    filesystem("s3").clear_instance_cache()


class _CutShort(http.server.BaseHTTPRequestHandler):
    """Says of every object that it has 1000 bytes, and hangs up after 100."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.send_header("ETag", '"0"')
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(bytes(100))

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


@pytest.fixture
def bucket_of_a_store_that_hangs_up(bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket in which `a.mp4` has 1000 bytes, of which none but the first 100 arrive."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _CutShort) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        filesystem("s3").clear_instance_cache()
        yield bucket
        filesystem("s3").clear_instance_cache()
        server.shutdown()
