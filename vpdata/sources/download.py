"""One guarded http(s) download: retries with back-off, resume, and limits of size, time and content type."""

from __future__ import annotations

import logging
import os
import random
import re
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

import httpx

from vpdata import __version__
from vpdata.errors import ConfigError, Reason, RejectItem, StorageError
from vpdata.sources.guard import GuardedTransport, Resolve
from vpdata.sources.settings import HostCredential, SourceSettings

# httpx logs each URL at INFO and httpcore each header at DEBUG: a signed URL or a key would end in a log file.
logging.getLogger("httpx").setLevel(logging.WARNING)
logging.getLogger("httpcore").setLevel(logging.WARNING)
_log = logging.getLogger(__name__)

_VIDEO_TYPES = re.compile(
    r"video/.+|(application|binary)/octet-stream|application/(mp4|ogg|x-matroska|vnd\.rn-realmedia)"
)
_BUSY = frozenset({408, 425, 429, 502, 503, 504})
"""Answers that speak of the server's state and not of this file."""
_MAX_REDIRECTS = 5


class _TryAgain(Exception):  # noqa: N818  a signal inside this module, never seen outside
    """This attempt failed; another may not."""

    def __init__(self, detail: str, *, reason: Reason | None, wait_s: float = 0.0) -> None:
        super().__init__(detail)
        self.reason = reason
        """What the source is rejected for after the last attempt; None where the server as a whole is unreachable."""
        self.wait_s = wait_s


def fetch(
    url: str, target: Path, *, name: str, settings: SourceSettings, resolve: Resolve = socket.getaddrinfo
) -> None:
    """Write what `url` holds to the file `target`. Messages call the source `name`, its canonical uri.

    RejectItem if the source is gone, no video, too large, too slow, at a forbidden address, or failing to the end.
    StorageError if the server is unreachable; OSError if the local disk fails.
    """
    limits = _Limits(settings)
    transport = GuardedTransport(
        allow_private=settings.allow_private_hosts,
        secret_headers=secret_headers(settings.credentials),
        resolve=resolve,
    )
    headers = {"User-Agent": f"vpdata/{__version__}", "Accept-Encoding": "identity"}
    jitter = random.Random(name)  # spreads the retries of many workers, the same way each time
    with (
        httpx.Client(
            transport=transport,
            headers=headers,
            timeout=min(settings.stall_s, settings.timeout_s),
            follow_redirects=True,
            max_redirects=_MAX_REDIRECTS,
            trust_env=False,
        ) as client,
        open(target, "wb") as file,
    ):
        partial = _Partial(file)
        for attempt in range(settings.retries + 1):
            try:
                _attempt(client, url, partial, limits)
                return
            except _TryAgain as failed:
                wait_s = max(failed.wait_s, settings.backoff_s * 2**attempt * jitter.uniform(0.75, 1.25))
                if attempt == settings.retries or wait_s > limits.left_s():
                    raise _given_up(failed, name, num_attempts=attempt + 1, settings=settings) from failed
                _log.debug("%s: attempt %d failed: %s", name, attempt + 1, failed)
            time.sleep(wait_s)


def _given_up(last: _TryAgain, name: str, *, num_attempts: int, settings: SourceSettings) -> Exception:
    if last.reason is None and settings.unreachable == "stop":
        return StorageError(
            f"{name}: its server is unreachable after {num_attempts} attempts: {last}. Run the same command again when "
            "it is back, or set source.unreachable=reject to give up the sources of servers that are down"
        )
    detail = f"the download failed after {num_attempts} attempts"
    return RejectItem(last.reason or Reason.FETCH_FAILED, detail, got=str(last), wanted="the whole file")


def secret_headers(credentials: Iterable[HostCredential]) -> Mapping[str, tuple[str, str]]:
    """Header and value by host; ConfigError names a variable that is not set."""
    found = {}
    for credential in credentials:
        value = os.environ.get(credential.env, "").strip()
        if not value or not value.isprintable():
            raise ConfigError(
                f"source.credentials: the environment variable {credential.env} is empty or not printable, wanted the "
                f"{credential.header} header for {credential.host}; set it on every worker"
            )
        found[credential.host.lower()] = (credential.header, value)
    return found


class _Limits:
    """Size and time of one download, all attempts together."""

    def __init__(self, settings: SourceSettings) -> None:
        self._settings = settings
        self._stop_at_s = time.monotonic() + settings.timeout_s

    def left_s(self) -> float:
        return self._stop_at_s - time.monotonic()

    def check_time(self) -> None:
        if self.left_s() <= 0:
            wanted = f"at most {self._settings.timeout_s:g} s (source.timeout_s)"
            raise RejectItem(Reason.FETCH_TIMEOUT, "the download passed its time limit", wanted=wanted)

    def check_size(self, num_bytes: int) -> None:
        if num_bytes > self._settings.max_bytes:
            wanted = f"at most {self._settings.max_bytes} bytes (source.max_bytes)"
            raise RejectItem(
                Reason.TOO_MANY_BYTES, "the source is too large", got=f"{num_bytes} or more bytes", wanted=wanted
            )


class _Partial:
    """The file as far as it has come, and the validator that tells whether the server still holds the same one."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._validator = ""
        self.num_bytes = 0

    def request_headers(self) -> dict[str, str]:
        """Ask for the rest, if the file has not changed; for all of it where nothing can tell."""
        if not self.num_bytes or not self._validator:
            return {}
        return {"Range": f"bytes={self.num_bytes}-", "If-Range": self._validator}

    def start_over(self) -> None:
        if self.num_bytes:
            self._file.seek(0)
            self._file.truncate()
        self._validator, self.num_bytes = "", 0

    def begin(self, response: httpx.Response) -> None:
        """Take the answer's status and headers: go on after what is there, or start over."""
        validator = _validator(response)
        if response.status_code != 206:
            self.start_over()
        elif not self.num_bytes or _first_byte(response) != self.num_bytes or validator != self._validator:
            self.start_over()
            raise _TryAgain("the server sent another range than asked for", reason=Reason.FETCH_FAILED)
        self._validator = validator

    def append(self, data: bytes) -> None:
        self._file.write(data)
        self.num_bytes += len(data)


def _attempt(client: httpx.Client, url: str, partial: _Partial, limits: _Limits) -> None:
    is_answered = False
    try:
        with client.stream("GET", url, headers=partial.request_headers()) as response:
            is_answered = True
            _check_status(response, partial)
            _check_content(response)
            partial.begin(response)
            limits.check_size(partial.num_bytes + _content_length(response))
            # No chunk size: what httpx gathers for a larger chunk is lost when the connection breaks.
            for chunk in response.iter_raw():
                limits.check_size(partial.num_bytes + len(chunk))
                partial.append(chunk)
                limits.check_time()
    except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise RejectItem(
            Reason.FETCH_FAILED, "it redirects to no valid address", wanted="an http or https URL"
        ) from error
    except httpx.TooManyRedirects as error:
        wanted = f"at most {_MAX_REDIRECTS}"
        raise RejectItem(Reason.FETCH_FAILED, "it redirects too many times", wanted=wanted) from error
    except httpx.TimeoutException as error:
        reason = Reason.FETCH_TIMEOUT if is_answered else None
        raise _TryAgain(f"no data in time ({type(error).__name__})", reason=reason) from error
    except httpx.ConnectError as error:
        if isinstance(_root_of(error), ssl.SSLCertVerificationError):
            raise RejectItem(Reason.FETCH_FAILED, "its host's certificate is not valid", got=str(error)) from error
        raise _TryAgain(str(error), reason=None) from error
    except httpx.TransportError as error:
        reason = Reason.FETCH_FAILED if is_answered else None
        raise _TryAgain(f"the connection broke ({type(error).__name__})", reason=reason) from error


def _check_status(response: httpx.Response, partial: _Partial) -> None:
    status = response.status_code
    got = f"HTTP {status}"
    if status in (200, 206):
        return
    if status in (404, 410):
        raise RejectItem(Reason.SOURCE_GONE, "the server no longer has it", got=got)
    if status == 416:
        partial.start_over()
        raise _TryAgain(got, reason=Reason.FETCH_FAILED)
    if status in _BUSY:
        wait = response.headers.get("retry-after", "")
        raise _TryAgain(got, reason=None, wait_s=float(wait) if wait.isdecimal() else 0.0)
    if status >= 500:
        # 500 is as often one broken file as a broken server, and one file must not stop a run.
        raise _TryAgain(got, reason=Reason.FETCH_FAILED)
    raise RejectItem(Reason.FETCH_FAILED, "the server refuses it", got=got, wanted="HTTP 200")


def _check_content(response: httpx.Response) -> None:
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind and not _VIDEO_TYPES.fullmatch(kind):
        detail = "the server says that this is not a video"
        raise RejectItem(Reason.WRONG_CONTENT_TYPE, detail, got=kind, wanted="video/* or application/octet-stream")
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        detail = "the server sent it compressed although it was asked not to"
        raise RejectItem(Reason.WRONG_CONTENT_TYPE, detail, got=encoding, wanted="identity")


def _validator(response: httpx.Response) -> str:
    """A strong ETag, else Last-Modified, else nothing; a weak ETag does not promise equal bytes."""
    tag = response.headers.get("etag", "")
    return tag if tag.startswith('"') else response.headers.get("last-modified", "")


def _first_byte(response: httpx.Response) -> int | None:
    match = re.match(r"bytes (\d+)-", response.headers.get("content-range", ""))
    return int(match[1]) if match else None


def _content_length(response: httpx.Response) -> int:
    length = response.headers.get("content-length", "")
    return int(length) if length.isdecimal() else 0


def _root_of(error: BaseException) -> BaseException:
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return error
