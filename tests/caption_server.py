"""A server that speaks OpenAI's chat protocol on loopback, as well or as badly as a test wants."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Behaviour = Callable[[BaseHTTPRequestHandler], None]


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    prompt: str
    body: dict[str, Any]
    headers: dict[str, str]
    """With lower-case names."""
    path: str
    at_s: float


class CaptionServer(ThreadingHTTPServer):
    """Answers each request as `choose` says and keeps what it was asked."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.choose: Callable[[str, int], Behaviour] = lambda prompt, number: says(f"An answer to {prompt}")
        """The prompt, and how many requests came before, to a behaviour."""
        self.asked: list[Asked] = []
        self.most_at_once = 0
        self.num_open = 0
        self.lock = threading.Lock()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    @property
    def prompts(self) -> list[str]:
        return [one.prompt for one in self.asked]

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is what some tests are about."""


@contextlib.contextmanager
def serving(port: int = 0) -> Iterator[CaptionServer]:
    server = CaptionServer(port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    """Headers and body are written apart, and the second would wait 40 ms for the client's word on the first."""
    server: CaptionServer

    def do_POST(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        prompt = body["messages"][-1]["content"][-1]["text"]
        headers = {name.lower(): value for name, value in self.headers.items()}
        with server.lock:
            number = len(server.asked)
            server.asked.append(Asked(prompt, body, headers, self.path, time.monotonic()))
            server.num_open += 1
            server.most_at_once = max(server.most_at_once, server.num_open)
        try:
            server.choose(prompt, number)(self)
        finally:
            with server.lock:
                server.num_open -= 1

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


def says(text: Any, *, input_tokens: int = 100, output_tokens: int = 10, **choice: Any) -> Behaviour:
    """A chat completion; further arguments are fields of its choice."""
    completion = {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"} | choice],
        "usage": {"prompt_tokens": input_tokens, "completion_tokens": output_tokens},
    }
    return sends(json.dumps(completion).encode())


def sends(body: bytes, *, status: int = 200, content_type: str = "application/json", **headers: str) -> Behaviour:
    """A whole answer; `retry_after="1"` is the header Retry-After."""

    def send(handler: BaseHTTPRequestHandler) -> None:
        _send_head(handler, status, **{"content_type": content_type, "content_length": str(len(body)), **headers})
        handler.wfile.write(body)

    return send


def fails(status: int, *, code: str = "", message: str = "no", **headers: str) -> Behaviour:
    """An error as such servers write it."""
    return sends(json.dumps({"error": {"message": message, "code": code}}).encode(), status=status, **headers)


def breaks_off(handler: BaseHTTPRequestHandler) -> None:
    """Half of an answer."""
    _send_head(handler, 200, content_type="application/json", content_length="1000")
    handler.wfile.write(b'{"choices": [{"mess')
    handler.wfile.flush()
    handler.close_connection = True


def hangs(seconds: float) -> Behaviour:
    """No byte for so long, then the end of the connection."""

    def hang(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(seconds)
        handler.close_connection = True

    return hang


def drips(seconds: float) -> Behaviour:
    """A byte now and then: no single wait is long."""

    def drip(handler: BaseHTTPRequestHandler) -> None:
        _send_head(handler, 200, content_type="application/json", content_length="100000")
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.05)
        handler.close_connection = True

    return drip


def drips_headers(seconds: float) -> Behaviour:
    """A header that never ends."""

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Header: ")
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            handler.wfile.write(b"a")
            time.sleep(0.05)
        handler.close_connection = True

    return drip


def falls_silent(after_s: float, seconds: float) -> Behaviour:
    """A byte of the answer, then none for so long."""

    def fall_silent(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(after_s)
        _send_head(handler, 200, content_type="application/json", content_length="1000")
        handler.wfile.write(b"{")
        time.sleep(seconds)
        handler.close_connection = True

    return fall_silent


def slowly(seconds: float, then: Behaviour) -> Behaviour:
    """A behaviour after some time."""

    def wait(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(seconds)
        then(handler)

    return wait


def floods(handler: BaseHTTPRequestHandler) -> None:
    """An answer that ends only with the connection."""
    _send_head(handler, 200, content_type="application/json", connection="close")
    handler.close_connection = True
    handler.wfile.write(b'{"choices": "')
    while True:
        handler.wfile.write(b"x" * 100_000)


def _send_head(handler: BaseHTTPRequestHandler, status: int, **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-").title(), value)
    handler.end_headers()
