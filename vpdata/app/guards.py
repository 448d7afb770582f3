"""Which requests the server of the page answers: none that another web site has a browser send."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class SameOriginMiddleware:
    """Status 403 where a page of another origin sends the request.

    A browser names the page's origin in all that changes something; a program on this machine names none and is
    answered. Source: OWASP's cheat sheet on cross-site request forgery, "verifying origin with standard headers".
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _is_foreign(Headers(scope=scope)):
            await PlainTextResponse("This page answers no other web site.", status_code=403)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _is_foreign(headers: Headers) -> bool:
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != headers.get("host")
