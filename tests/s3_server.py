"""An S3 store on loopback (moto), reached as a user would reach one: by environment variables alone."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator

import fsspec
import pytest


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
def bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """`s3://<name>` of a fresh bucket; the environment leads s3fs to the store."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "planted-id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-key")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    store = fsspec.filesystem("s3")
    store.clear_instance_cache()
    name = f"test-{uuid.uuid4().hex}"
    fsspec.filesystem("s3").mkdir(name)
    yield f"s3://{name}"
    store.clear_instance_cache()
