"""The guard against private addresses: each host is resolved once, checked, and connected to by the checked address."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx

from vpdata.errors import Reason, RejectItem

Resolve = Callable[..., Sequence[tuple[Any, ...]]]
"""Signature of `socket.getaddrinfo`."""

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether an IP address is an ordinary public one; an IPv4 address inside an IPv6 one is judged itself."""
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour
        if parsed in _NAT64:
            inner = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if parsed.is_site_local:  # fec0::/10, which `is_global` does not know as private
            return False
    return parsed.is_global and not (parsed.is_multicast or parsed.is_reserved or parsed.is_unspecified)


def literal_address(host: str) -> str | None:
    """The address that `host` spells out, None for a name; resolvers also read `127.1` and `2130706433`."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except (OSError, UnicodeEncodeError):
        return None


class GuardedTransport(httpx.BaseTransport):
    """An httpx transport that opens no connection to an address `is_public` refuses, whatever names and redirects say.

    The connection goes to the address that was checked, so a name server cannot answer differently the second time;
    TLS still verifies the host's name. Secrets are sent to their own host alone, over https.
    """

    def __init__(
        self,
        *,
        allow_private: bool,
        secret_headers: Mapping[str, tuple[str, str]],
        resolve: Resolve = socket.getaddrinfo,
    ) -> None:
        # No connection is kept: two hosts may share an address, and a TLS connection is verified for one name only.
        self._inner = httpx.HTTPTransport(limits=httpx.Limits(max_keepalive_connections=0))
        self._allow_private = allow_private
        self._secret_headers = secret_headers
        self._resolve = resolve

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Try the host's addresses in turn; RejectItem(BLOCKED_ADDRESS) if any of them is not public."""
        if request.url.scheme not in ("http", "https"):
            detail = "it redirects to a scheme that is not allowed"
            raise RejectItem(Reason.BLOCKED_ADDRESS, detail, got=request.url.scheme, wanted="http or https")
        error: httpx.TransportError = httpx.ConnectError("the host has no address")
        for address in self._addresses(request.url):
            try:
                return self._inner.handle_request(self._addressed(request, address))
            except (httpx.ConnectError, httpx.ConnectTimeout) as failed:
                error = failed
        raise error

    def close(self) -> None:
        """Close what is open."""
        self._inner.close()

    def _addresses(self, url: httpx.URL) -> list[str]:
        host = url.raw_host.decode("ascii").strip("[]")
        try:
            found = self._resolve(host, url.port or 0, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise httpx.ConnectError(f"the host's name does not resolve: {error.strerror}") from error
        except UnicodeError as error:
            raise RejectItem(Reason.FETCH_FAILED, "its host is not a valid name", got=host) from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        for address in addresses:
            if not self._allow_private and not is_public(address):
                raise RejectItem(
                    Reason.BLOCKED_ADDRESS,
                    "its host, or one it redirects to, has an address that is not public; for a server of your own set "
                    "source.allow_private_hosts",
                    got=f"{host} = {address}",
                    wanted="a public address",
                )
        return addresses

    def _addressed(self, request: httpx.Request, address: str) -> httpx.Request:
        headers = request.headers.copy()
        secret = self._secret_headers.get(request.url.host.lower())
        if secret is not None and request.url.scheme == "https":
            headers[secret[0]] = secret[1]
        return httpx.Request(
            request.method,
            request.url.copy_with(host=address),
            headers=headers,
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": request.url.raw_host.decode("ascii")},
        )
