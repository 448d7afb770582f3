"""What stands before every request: headers for the browser, a bound on bodies, and quotas."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Hashable

from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 4096
"""Answers to one page take a hundred."""
BODY_TIMEOUT_S = 10.0

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; media-src 'self'; "
    "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Robots-Tag": "noindex",
}


class SecurityHeaders:
    """Adds the headers that keep scripts, frames and addresses of others out; to errors too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, with_headers)


class BoundedBody:
    """Reads a request's body before the application does: 413 for a large one, 408 for one that takes too long."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = b""
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > MAX_BODY_BYTES:
                        await PlainTextResponse("the body is too large", 413)(scope, receive, send)
                        return
        except TimeoutError:
            await PlainTextResponse("the body took too long", 408)(scope, receive, send)
            return
        unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return unread.pop() if unread else await receive()

        await self._app(scope, replay, send)


class Quota:
    """A token bucket for each key: `burst` at once, then `per_s` a second. Threads may share it."""

    def __init__(self, *, per_s: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s, self._burst, self._clock = per_s, burst, clock
        self._lock = threading.Lock()
        self._levels: dict[Hashable, tuple[float, float]] = {}

    def allows(self, key: Hashable) -> bool:
        """Whether one more is within the quota, and if so, count it."""
        with self._lock:
            now = self._clock()
            if len(self._levels) > 10_000:  # keys of strangers must not fill the memory: full buckets say nothing
                self._levels = {key: kept for key, kept in self._levels.items() if self._level(kept, now) < self._burst}
            level = self._level(self._levels.get(key, (self._burst, now)), now)
            self._levels[key] = (max(0.0, level - 1), now)
            return level >= 1

    def _level(self, kept: tuple[float, float], now: float) -> float:
        level, then = kept
        return min(self._burst, level + (now - then) * self._per_s)
