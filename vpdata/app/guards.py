"""Which requests the server of the page answers: none that another web site has a browser send."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class KnownSitesMiddleware:
    """Status 400 for a host name that is not the page's, 403 where a page of another site sends the request.

    A site may have a name of its own point to this machine, so names must be known; an address is nobody's to point.
    A browser names the page's origin in all that changes something; a program names none and is answered. Source:
    OWASP's cheat sheet on cross-site request forgery, "verifying origin with standard headers".
    """

    def __init__(self, app: ASGIApp, *, host: str, allowed_hosts: Collection[str]) -> None:
        """`host` is what the server listens on; `allowed_hosts` by what names a proxy or other machines reach it."""
        self._app = app
        self._names = {"localhost", host.lower(), *allowed_hosts}
        self._allowed_hosts = allowed_hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(Headers(scope=scope)) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, headers: Headers) -> PlainTextResponse | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        name = _name_in(f"//{host}")
        if name not in self._names and not _is_address(name):
            return PlainTextResponse(f"Not known as {name} here: add it to app.allowed_hosts.", status_code=400)
        # Behind a proxy `host` may be the machine's own.
        if origin is None or origin.partition("//")[2] == host or _name_in(origin) in self._allowed_hosts:
            return None
        return PlainTextResponse(
            "This page answers no other web site. If it is a proxy's, add its name to app.allowed_hosts.",
            status_code=403,
        )


def _name_in(url: str) -> str:
    """The host in a url without its port; empty where there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
