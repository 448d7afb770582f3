"""A web server on loopback whose answers a test writes itself, so that it can misbehave."""

from __future__ import annotations

import socket
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[[BaseHTTPRequestHandler], None]


class WebServer(ThreadingHTTPServer):
    """Answers each path as `routes` says and keeps what it was asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.routes: dict[str, Answer] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        """Path with query, and headers with lower-case names, in order of arrival."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: WebServer

    def do_GET(self) -> None:
        self.close_connection = True
        self.server.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        self.server.routes[self.path.partition("?")[0]](self)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


def answer(status: int = 200, body: bytes = b"", **headers: str | int) -> Answer:
    """A whole answer; `content_type="text/html"` is the header Content-Type."""

    def send(handler: BaseHTTPRequestHandler) -> None:
        send_head(handler, status, **{"content_length": len(body), **headers})
        handler.wfile.write(body)

    return send


def send_head(handler: BaseHTTPRequestHandler, status: int, **headers: str | int) -> None:
    """Status line and headers alone."""
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-").title(), str(value))
    handler.end_headers()


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    """End the connection in the middle of an answer."""
    handler.wfile.flush()
    handler.connection.shutdown(socket.SHUT_RDWR)
