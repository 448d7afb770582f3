"""Canonical uris: the one name a source is stored under, free of secrets and of this machine's paths."""

from __future__ import annotations

import os
import re
from typing import Literal
from urllib.parse import SplitResult, unquote, unquote_plus, urlsplit

from vpdata.errors import ConfigError

Scheme = Literal["file", "http", "https", "s3", "gs"]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SECRET = re.compile(
    r"x-(amz|goog|oss|ms)-.*|.*(token|secret|passw|signature|credential|api[-_]?key|session).*"
    r"|auth(orization)?|(aws|oss)accesskeyid|googleaccessid|key(-pair-id)?|policy|sign?|hmac|jwt|exp(ires)?"
    r"|hdn(ts|ea|tl)|__gda__|pwd|sid|user(name)?"
)
_AZURE = re.compile(r"s[vsptre]|srt|spr|sip|sdd|ses|sk[evst]|sk[ot]id|s[acu]oid|scid")
"""Short names of an Azure signature; ordinary words elsewhere, so they count only beside `sig`."""


def scheme_of(uri: str) -> Scheme:
    """Scheme of a uri, "file" for a plain path; ConfigError for any scheme but ours and for chained ones."""
    match = _SCHEME.match(uri)
    if match is None:
        if "://" in uri:
            raise ConfigError("got a chained or malformed uri, wanted a path or one of file, http, https, s3, gs")
        return "file"
    scheme = match[1].lower()
    if scheme not in ("file", "http", "https", "s3", "gs"):
        raise ConfigError(f"got the scheme {scheme!r}, wanted a path or one of file, http, https, s3, gs")
    if scheme in ("s3", "gs") and "::" in uri:
        raise ConfigError(f"got a chained {scheme} uri, wanted {scheme}://bucket/name without '::'")
    return scheme  # pyright: ignore[reportReturnType]  narrowed by the test above


def canonical_url(url: str) -> str:
    """An http(s) URL without user info, fragment, default port and parameters that sign, identify or expire.

    Parameters dropped (any case): names that begin with x-amz-, x-goog-, x-oss-, x-ms-; names that hold token, secret,
    passw, signature, credential, apikey or session; the like of auth, key, policy, sig, hmac, jwt, expires, user; and
    the short names of an Azure signature where `sig` stands beside them. Everything else stays as written.
    """
    parts = _split(url)
    host = (parts.hostname or "").lower()
    if ":" in host:
        host = f"[{host}]"
    default_port = {"http": 80, "https": 443}[parts.scheme.lower()]
    port = f":{parts.port}" if parts.port not in (None, default_port) else ""
    query = _public_query(parts.query)
    return f"{parts.scheme.lower()}://{host}{port}{parts.path or '/'}{'?' + query if query else ''}"


def host_of(url: str) -> str:
    """Host of an http(s) URL in lower case, without the brackets of an IPv6 address."""
    return (_split(url).hostname or "").lower()


def canonical_object(uri: str) -> str:
    """An s3 or gs uri as it is, once it is known to hold a bucket, a name and no credentials."""
    scheme, _, rest = uri.partition("://")
    bucket, _, name = rest.partition("/")
    if not bucket or "@" in bucket:
        raise ConfigError(f"got no plain bucket name, wanted {scheme.lower()}://bucket/name without credentials")
    if ".." in name.split("/"):
        raise ConfigError("got '..' in an object's name, wanted a name without it")
    return f"{scheme.lower()}://{bucket}/{name}"


def canonical_path(relative: str) -> str:
    """A path below the input root as text: `/` between parts, bytes that are no UTF-8 written as \\xNN."""
    return os.fsencode(relative).decode("utf-8", "backslashreplace")


def path_of(uri: str) -> str:
    """The path in a `file://` uri (percent-encoding undone), or a plain path as it is."""
    if "://" not in uri:
        return uri
    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
        raise ConfigError("got a file uri with a host, query or fragment, wanted file:///path or a plain path")
    return unquote(parts.path)


def _split(url: str) -> SplitResult:
    # urlsplit drops tabs and newlines, and clients differ on backslashes: a checked URL must be the one that is opened.
    if re.search(r"[\x00-\x20\x7f\\]", url):
        raise ConfigError("got a URL with blanks, control characters or backslashes, wanted them percent-encoded")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ConfigError("got a malformed URL, wanted https://host/path") from None
    if not parts.hostname:
        raise ConfigError("got a URL without a host, wanted https://host/path")
    return parts


def _public_query(query: str) -> str:
    names = [unquote_plus(item.partition("=")[0]).lower() for item in query.split("&")]
    is_azure = "sig" in names
    items = zip(names, query.split("&"), strict=True)
    return "&".join(
        item for name, item in items if not (_SECRET.fullmatch(name) or (is_azure and _AZURE.fullmatch(name)))
    )
