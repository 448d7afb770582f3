"""`Input`: the videos that one uri names, as a list of sources, and each of them as a local file when it is needed."""

from __future__ import annotations

import heapq
import logging
import os
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from vpdata.errors import ConfigError, Reason, RejectItem, StorageError
from vpdata.records import Source, video_id
from vpdata.sources import download, guard, local, stores, uris
from vpdata.sources.lists import ListRow, is_list, read_list, refuse_other_lists
from vpdata.sources.settings import SourceSettings
from vpdata.storage import scratch

_log = logging.getLogger(__name__)

_NUM_HELD = 10_000
"""So many locators of a list a worker holds: all of it may be more than the memory of `cut`. They follow one another in
the order of ids, as the parts of a run do, so a worker reads a list of a million rows a hundred times (22 s each).
"""
_AFTER_ALL_IDS = "~"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    source: Source
    locator: str
    """How to open it: a path below the input root, or a uri. It may hold a secret and never leaves this module."""
    where: str
    """The list's row, for messages."""


class Input:
    """A folder, a glob, a CSV or Parquet list, or one video; on a local disk, on s3 or gs, or one http(s) URL.

    Picklable and cheap to send: a worker finds a source's locator again from the input itself.
    """

    def __init__(self, uri: str, settings: SourceSettings) -> None:
        """ConfigError for a scheme that is not allowed; nothing is opened yet."""
        try:
            self._scheme = uris.scheme_of(uri)
            if self._scheme == "file":
                self._uri = os.path.abspath(uris.path_of(uri))
            else:
                self._uri = uris.canonical_object(uri).rstrip("/") if self._scheme in ("s3", "gs") else uri
            self.name = self._public_name()
        except ConfigError as error:
            raise ConfigError(f"the input: {error}") from error
        if self._scheme in ("http", "https") and is_list(self.name):
            raise ConfigError(f"{self.name}: lists are read from a disk, s3 or gs; download it and give its path")
        self._settings = settings
        self._lock = threading.Lock()
        self._held: tuple[str, str, Mapping[str, str]] = (_AFTER_ALL_IDS, "", {})
        """What a worker knows of a list: from which id to which, both included, and the locators between."""

    name: str
    """The input without its folder, user info and signature: safe to print and to store."""

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self._uri, self._settings)

    def __repr__(self) -> str:
        return f"Input({self.name!r})"

    @property
    def is_slow_to_list(self) -> bool:
        """Whether a store is asked for its objects, a thousand at a time."""
        return self._scheme in ("s3", "gs") and not self._is_list

    def sources(self) -> list[Source]:
        """All sources, sorted by canonical uri, ids unique.

        ConfigError if nothing is found, if a list is malformed or names something forbidden, or if two sources clash;
        StorageError if a folder or store cannot be listed. No video is opened.
        """
        download.secret_headers(self._settings.credentials)
        found = self._found
        if not found:
            raise ConfigError(f"{self.name}: no video found, wanted files such as *.mp4 or *.mkv, or a list of uris")
        _log.info("%s: %d sources", self.name, len(found))
        return sorted((item.source for item in found), key=lambda source: source.uri)

    def lost(self, sources: Iterable[Source]) -> list[Source]:
        """Those of `sources` that the input does not name (any more), or whose local file cannot be opened.

        Errors as from `sources`. What lies on a server is not asked for.
        """
        return [one for one in sources if not self._is_there(one)]

    def local_size_bytes(self, source: Source) -> int | None:
        """Size of the local file that the input names under the id of `source`; None where it names none there."""
        locator = self._locators.get(source.id)
        if locator is None or uris.scheme_of(locator) != "file":
            return None
        try:
            return os.path.getsize(os.path.join(self._root, locator))
        except OSError:
            return None

    @contextmanager
    def local_file(self, source: Source) -> Iterator[Path]:
        """The source as a local file for as long as the block runs; a download is removed afterwards.

        RejectItem if this source is to blame, StorageError if its server, the network or the disk is.
        """
        locator = self._locator(source)
        if uris.scheme_of(locator) == "file":
            yield local.checked_file(locator, root=self._root, given=self._uri, settings=self._settings)
            return
        suffix = PurePosixPath(source.uri.partition("?")[0]).suffix.lower()
        try:
            folder = tempfile.TemporaryDirectory(prefix="vpdata-", dir=scratch())
        except OSError as error:
            raise _no_room(source, error) from error
        with folder:
            target = Path(folder.name, "source" + (suffix if suffix in local.VIDEO_SUFFIXES else ""))
            try:
                fetch = stores.fetch if uris.scheme_of(locator) in ("s3", "gs") else download.fetch
                fetch(locator, target, name=source.uri, settings=self._settings)
            except OSError as error:
                raise _no_room(source, error) from error
            yield target

    def _public_name(self) -> str:
        if self._scheme in ("http", "https"):
            return uris.canonical_url(self._uri)
        return uris.canonical_path(PurePosixPath(self._uri).name) if self._scheme == "file" else self._uri

    @cached_property
    def _root(self) -> str:
        """The folder that the list's relative uris, and the canonical uris of local files, are relative to."""
        return local.root_of(self._uri) if self._scheme == "file" else self._uri.rpartition("/")[0]

    @cached_property
    def _is_list(self) -> bool:
        return is_list(self._uri) and not self._is_local_folder

    @cached_property
    def _is_local_folder(self) -> bool:
        return self._scheme == "file" and os.path.isdir(self._uri)

    @cached_property
    def _found(self) -> list[_Found]:
        if self._is_list:
            return _without_repeats(map(self._resolved, self._rows()), self.name)
        if not self._is_local_folder:
            refuse_other_lists(self.name)
        if self._scheme == "file":
            found = local.find(self._uri, self._settings)
        elif self._scheme in ("s3", "gs"):
            found = stores.find(self._uri)
        else:
            found = local.Found([self._uri], [], [])
        self._tell(found)
        rows = (ListRow(number=0, uri=locator) for locator in found.videos)
        return _without_repeats(map(self._resolved, rows), self.name)

    def _rows(self) -> Iterator[ListRow]:
        """Of a list."""
        with local.opened(self._uri) if self._scheme == "file" else stores.opened(self._uri) as file:
            yield from read_list(file, name=self.name)

    def _tell(self, found: local.Found) -> None:
        """Warn of what was passed over, but for hidden files, such as those that file managers leave."""
        if found.runs:
            example = uris.canonical_path(min(found.runs).removeprefix(f"{self._root}/"))
            what = "%s: passed over %d folder(s) that hold a run of vpdata, such as %r"
            _log.warning(what, self.name, len(found.runs), example)
        relative = [path.removeprefix(f"{self._root}/") for path in found.ignored]
        seen = [path for path in relative if not any(part.startswith(".") for part in path.split("/"))]
        if not seen:
            return
        kinds = Counter("linked folder" if path.endswith("/") else PurePosixPath(path).suffix.lower() for path in seen)
        by_count = sorted((-count, kind or "without a suffix") for kind, count in kinds.items())
        counts = ", ".join(f"{-count} {kind}" for count, kind in by_count)
        hint = ""
        if "linked folder" in kinds:
            hint = "; --set source.allow_outside_links=true has those read that lead out of the input"
        example = uris.canonical_path(min(seen))
        _log.warning("%s: passed over what is no video: %s, such as %r%s", self.name, counts, example, hint)

    def _resolved(self, row: ListRow, *, follow_links: bool = True) -> _Found:
        where = f"{self.name}, row {row.number}" if row.number else self.name
        try:
            canonical, locator = self._canonical_and_locator(row.uri)
            if follow_links and uris.scheme_of(locator) == "file" and not self._settings.allow_outside_links:
                local.refuse_outside_link(locator, root=self._root)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from error
        source = Source(
            id=row.id or video_id(canonical),
            uri=canonical,
            licence=row.licence,
            attribution=row.attribution,
            caption=row.caption,
        )
        return _Found(source=source, locator=locator, where=where)

    def _canonical_and_locator(self, uri: str) -> tuple[str, str]:
        scheme = uris.scheme_of(uri)
        if scheme in ("http", "https"):
            host = uris.host_of(uri)
            address = guard.literal_address(host)
            if address is not None and not self._settings.allow_private_hosts and not guard.is_public(address):
                raise ConfigError(
                    f"got the address {host}, wanted a public one; for servers of your own set "
                    "source.allow_private_hosts"
                )
            return uris.canonical_url(uri), uri
        if scheme in ("s3", "gs"):
            canonical = uris.canonical_object(uri)
            return canonical, canonical
        path = uris.path_of(uri)
        if self._scheme != "file":
            if path.startswith("/"):
                raise ConfigError(f"got the path {path!r}, wanted one relative to the list's folder, or a URL")
            canonical = uris.canonical_object(f"{self._root}/{path}")
            return canonical, canonical
        relative = local.relative_to_root(path, root=self._root)
        return uris.canonical_path(relative), relative

    @cached_property
    def _locators(self) -> dict[str, str]:
        return {item.source.id: item.locator for item in self._found}

    def _is_there(self, source: Source) -> bool:
        locator = self._locators.get(source.id)
        if locator is None or uris.scheme_of(locator) != "file":
            return locator is not None
        try:
            local.checked_file(locator, root=self._root, given=self._uri, settings=self._settings)
        except RejectItem:
            return False
        return True

    def _locator(self, source: Source) -> str:
        # Only a list, or a name that had to be escaped, is looked up: a worker need not list a million objects again.
        if not self._is_list and "\\" not in source.uri:
            if self._scheme in ("http", "https"):
                return self._uri
            # A record may be of somebody else's run: what lies elsewhere is not asked for in this input's name.
            if uris.scheme_of(source.uri) != self._scheme:
                raise RejectItem(Reason.SOURCE_GONE, "the input does not name it", got=self.name)
            return source.uri
        if not self._is_list:
            self._refuse_gone()
        locator = (self._held_locators(source.id) if self._is_list else self._locators).get(source.id)
        if locator is None:
            raise RejectItem(Reason.SOURCE_GONE, "the input no longer names it", got=self.name)
        return locator

    def _refuse_gone(self) -> None:
        if self._scheme == "file":
            local.refuse_gone(self._uri, root=self._root)

    def _held_locators(self, id: str) -> Mapping[str, str]:
        """Locators of some sources of the list, that of `id` among them if the list names it."""
        with self._lock:
            first, last, held = self._held
            if not first <= id <= last:
                self._refuse_gone()
                listed = (self._resolved(row, follow_links=False) for row in self._rows())
                rows = heapq.nsmallest(
                    _NUM_HELD, ((one.source.id, one.locator) for one in listed if one.source.id >= id)
                )
                last = rows[-1][0] if len(rows) == _NUM_HELD else _AFTER_ALL_IDS
                held = dict(rows)
                self._held = id, last, held
            return held


def _without_repeats(found: Iterable[_Found], name: str) -> list[_Found]:
    """Rows that are equal in all they say count once; rows that share an id or a uri and differ are a ConfigError."""
    by_id: dict[str, _Found] = {}
    by_uri: dict[str, _Found] = {}
    num_repeats = 0
    for item in found:
        known = by_uri.get(item.source.uri) or by_id.get(item.source.id)
        if known is None:
            by_id[item.source.id] = by_uri[item.source.uri] = item
        elif (known.source, known.locator) == (item.source, item.locator):
            num_repeats += 1
        else:
            shared = "uri" if known.source.uri == item.source.uri else "id"
            raise ConfigError(
                f"{item.where}: got the same {shared} as {known.where} ({known.source.uri!r}, id {known.source.id}) "
                "but another address, id, licence, attribution or caption; wanted each video once"
            )
    if num_repeats:
        _log.warning("%s: %d rows repeat an earlier row and were left out", name, num_repeats)
    return list(by_uri.values())


def _no_room(source: Source, error: OSError) -> StorageError:
    return StorageError(
        f"{source.uri}: cannot store the download in {tempfile.gettempdir()}: {error.strerror or error}; "
        "free some space or set TMPDIR, then run the same command again"
    )
