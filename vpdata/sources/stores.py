"""Videos on s3 and gs, through fsspec: listing, reading a list file, and download within limits."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from glob import has_magic
from itertools import compress
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from fsspec.callbacks import Callback

from vpdata.errors import Reason, RejectItem, StorageError
from vpdata.sources.local import RUN_NAMES, VIDEO_SUFFIXES, Found
from vpdata.sources.settings import SourceSettings
from vpdata.storage import filesystem, scratch, store_errors


def find(uri: str) -> Found:
    """The videos that an object, folder or pattern names; of a pattern all objects, also those in runs.

    Only a folder is searched by suffix. What has the uri as its name goes before what it matches as a pattern.
    """
    bucket = uri.split("/")[2]
    with _named_errors("list", uri) as store:
        names = [] if has_magic(bucket) else [_with_scheme(name, uri) for name in store.find(uri)]
        if not names and has_magic(uri):
            found = store.glob(uri, detail=True)
            return Found([_with_scheme(name, uri) for name, info in found.items() if info["type"] == "file"], [], [])
    runs = _runs_of(names, below=uri)
    names = [name for name in names if not name.startswith(runs)]
    is_video = [name == uri or PurePosixPath(name).suffix.lower() in VIDEO_SUFFIXES for name in names]
    ignored = [name for name, kept in zip(names, is_video, strict=True) if not kept]
    return Found(list(compress(names, is_video)), ignored, [run.removesuffix("/") for run in runs])


def _runs_of(names: list[str], *, below: str) -> tuple[str, ...]:
    """Folders among the uris `names` that are runs, with `/` at the end, but for the input itself."""
    config, sources = RUN_NAMES
    with_config = {name.removesuffix(config) for name in names if name.endswith(f"/{config}")}
    with_sources = {name.partition(f"/{sources}/")[0] + "/" for name in names if f"/{sources}/" in name}
    return tuple(sorted((with_config & with_sources) - {f"{below}/"}))


@contextmanager
def opened(uri: str) -> Iterator[BinaryIO]:
    """A local copy of an object, such as a list, to be read; it is removed afterwards."""
    with tempfile.NamedTemporaryFile(prefix="vpdata-", dir=scratch()) as file:
        with _named_errors("read", uri) as store:
            store.get_file(uri, file.name)
        yield file  # pyright: ignore[reportReturnType]  it has all of a BinaryIO


def fetch(uri: str, target: Path, *, name: str, settings: SourceSettings) -> None:
    """Write an object to the file `target`; the store's own library retries and resumes. Messages call it `name`.

    RejectItem if it is gone, forbidden, too large or too slow; StorageError if the store or the local disk fails.
    """
    with _named_errors("read", name) as store:
        try:
            limits = _Limits(settings)
            limits.check_size(store.info(uri)["size"])
            store.get_file(uri, str(target), callback=limits)
        except FileNotFoundError as error:
            raise RejectItem(Reason.SOURCE_GONE, "the store no longer has it") from error
        except PermissionError as error:
            raise RejectItem(Reason.FETCH_FAILED, "the store refuses it", got="permission denied") from error


class _Limits(Callback):
    """Ends a download that passes its limits; fsspec calls it after each piece."""

    def __init__(self, settings: SourceSettings) -> None:
        super().__init__()
        self._settings = settings
        self._stop_at_s = time.monotonic() + settings.timeout_s

    def relative_update(self, inc: int = 1) -> None:
        super().relative_update(inc)
        self.check_size(self.value)
        if time.monotonic() >= self._stop_at_s:
            wanted = f"at most {self._settings.timeout_s:g} s (source.timeout_s)"
            raise RejectItem(Reason.FETCH_TIMEOUT, "the download passed its time limit", wanted=wanted)

    def check_size(self, num_bytes: int) -> None:
        if num_bytes > self._settings.max_bytes:
            wanted = f"at most {self._settings.max_bytes} bytes (source.max_bytes)"
            raise RejectItem(Reason.TOO_MANY_BYTES, "the source is too large", got=f"{num_bytes} bytes", wanted=wanted)


@contextmanager
def _named_errors(what: str, uri: str) -> Iterator[Any]:
    scheme = uri.partition("://")[0]
    store = filesystem(scheme)
    try:
        yield store
    except store_errors(scheme) as error:
        raise StorageError(f"cannot {what} {uri}: {error}") from error


def _with_scheme(name: str, uri: str) -> str:
    return f"{uri.partition('://')[0]}://{name}"
