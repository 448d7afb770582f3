"""Videos on a local disk: listing a folder or a glob, and the check that a path stays below the input root."""

from __future__ import annotations

import errno
import functools
import glob
import itertools
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from vpdata.errors import ConfigError, Reason, RejectItem, StorageError
from vpdata.sources.settings import SourceSettings

_BAD_PATH = (errno.ELOOP, errno.ENAMETOOLONG)
"""Of one path that no disk is to blame for: a circle of links, or a name that no file can have."""
RUN_NAMES = ("run.yaml", "0-source")
"""What a run of vpdata holds, a file and a folder. Its report has videos, which are no sources."""
VIDEO_SUFFIXES = frozenset(
    f".{suffix}"
    for container in ("mp4 m4v mov 3gp", "mkv webm", "avi", "ts mts m2ts mpg mpeg vob", "flv", "wmv asf", "ogv")
    for suffix in container.split()
)


class Found(NamedTuple):
    """What an input names; paths of a disk, or uris."""

    videos: list[str]
    ignored: list[str]
    """What was passed over; a linked folder ends in `/`."""
    runs: list[str]
    """Folders below the input that are runs, passed over with all that is in them."""


def find(path: str, settings: SourceSettings) -> Found:
    """The videos that a file, folder or pattern names.

    Only a folder is searched by suffix. A linked folder in it is entered where it leads out of the folder and
    `allow_outside_links` is set: what lies inside is found anyway.
    """
    if os.path.isdir(path):
        return _walk(path, settings)
    if os.path.exists(path):
        return Found([path], [], [])
    if not glob.has_magic(path):
        raise ConfigError(f"{path}: no such file or folder")
    files = [found for found in glob.glob(path, recursive=True) if not os.path.isdir(found)]
    return _outside_runs(files, root_of(path))


def root_of(path: str) -> str:
    """The folder that the uris of an input are relative to: itself, a file's, or a pattern's part without wildcards.

    StorageError where there is no such input any more.
    """
    if os.path.isdir(path):
        return path
    if os.path.exists(path):
        return os.path.dirname(path)
    if not glob.has_magic(path):
        raise _gone(path)
    parts = path.split("/")
    return "/".join(parts[: next(at for at, part in enumerate(parts) if glob.has_magic(part))]) or "/"


@contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """A file to be read, such as a list."""
    try:
        with open(path, "rb") as file:
            yield file
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error


def relative_to_root(path: str, *, root: str) -> str:
    """`path` (absolute, or relative to `root`) relative to `root`; ConfigError if it is outside."""
    remedy = "; a list names files in its own folder or below: put it into a folder that holds all of them"
    if ".." in path.split("/"):
        raise ConfigError(f"got the path {path!r}, wanted one without '..' below the input folder{remedy}")
    inside = os.path.normpath(os.path.join(root, path))
    if os.path.commonpath([inside, root]) != root:
        real_root = os.path.realpath(root)
        if os.path.commonpath([inside, real_root]) != real_root:
            raise ConfigError(f"got the path {path!r}, wanted one below the input folder{remedy}")
        inside = os.path.join(root, os.path.relpath(inside, real_root))
    return os.path.relpath(inside, root)


def refuse_outside_link(relative: str, *, root: str) -> None:
    """ConfigError where a path relative to `root` is, or leads through, a link to a place outside."""
    if not _is_below(os.path.realpath(os.path.join(root, relative)), os.path.realpath(root)):
        raise ConfigError(
            f"got the path {relative!r}, a link that leads out of the input folder; for folders of your own give "
            "--set source.allow_outside_links=true"
        )


def refuse_gone(given: str, *, root: str) -> None:
    """StorageError where no file is to blame but the input `given`: it is gone, or its root is, or has no entries.

    The mount point of a disk that is not mounted is an empty folder.
    """
    try:
        with os.scandir(root) as entries:
            is_there = any(entries) and (os.path.exists(given) or glob.has_magic(given))
    except OSError as error:
        raise _gone(given) from error
    if not is_there:
        raise _gone(given)


def checked_file(relative: str, *, root: str, given: str, settings: SourceSettings) -> Path:
    """Path of a source that is there, regular, readable, inside the root and not too large; RejectItem otherwise.

    StorageError as from `refuse_gone`, and where the disk fails.
    """
    path = os.path.join(root, relative)
    # Again, as a link may have changed since the listing.
    if not settings.allow_outside_links and not _is_below(os.path.realpath(path), os.path.realpath(root)):
        raise RejectItem(Reason.BLOCKED_ADDRESS, "it is a link that leads out of the input folder")
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise RejectItem(Reason.NOT_VIDEO, "it is no regular file", wanted="a video file")
        with open(path, "rb"):
            pass
    except (FileNotFoundError, NotADirectoryError) as error:
        refuse_gone(given, root=root)
        raise RejectItem(Reason.SOURCE_GONE, "the file is no longer there") from error
    except PermissionError as error:
        raise RejectItem(Reason.FETCH_FAILED, "the file may not be read", got=error.strerror or "") from error
    except OSError as error:
        if error.errno in _BAD_PATH:
            why = error.strerror or ""
            raise RejectItem(Reason.SOURCE_GONE, "its path leads to no file", got=why, wanted="a file") from error
        raise StorageError(f"cannot read {relative!r}: {error.strerror or error}") from error
    if found.st_size > settings.max_bytes:
        wanted = f"at most {settings.max_bytes} bytes (source.max_bytes)"
        raise RejectItem(Reason.TOO_MANY_BYTES, "the source is too large", got=f"{found.st_size} bytes", wanted=wanted)
    return Path(path)


def _gone(given: str) -> StorageError:
    name = os.path.basename(given)
    what = f"the input {name!r} is gone, or its folder is empty (is its disk mounted?)"
    return StorageError(f"{what}; bring it back and run the same command again")


def _is_below(path: str, root: str) -> bool:
    return os.path.commonpath([path, root]) == root


def _is_run(folder: str) -> bool:
    return all(os.path.exists(os.path.join(folder, name)) for name in RUN_NAMES)


def _outside_runs(paths: list[str], root: str) -> Found:
    is_run = functools.cache(_is_run)
    found = Found([], [], [])
    for path in paths:
        names = os.path.relpath(path, root).split("/")[:-1]
        above = itertools.accumulate(names, os.path.join, initial=root)
        run = next(filter(is_run, itertools.islice(above, 1, None)), None)
        if run is None:
            found.videos.append(path)
        elif run not in found.runs:
            found.runs.append(run)
    return found


def _walk(root: str, settings: SourceSettings) -> Found:
    found: list[str] = []
    ignored: list[str] = []
    runs: list[str] = []
    real_root = os.path.realpath(root)
    # Each folder is entered once, by the first of its names, since links may lead in circles.
    entered = {real_root}
    for folder, subfolders, names in os.walk(root, onerror=_raise, followlinks=True):
        for name in sorted(subfolders):
            path = os.path.join(folder, name)
            real, is_link = os.path.realpath(path), os.path.islink(path)
            is_closed = is_link and (not settings.allow_outside_links or _is_below(real, real_root))
            if is_closed or real in entered:
                subfolders.remove(name)
                ignored.extend([f"{path}/"] if is_link else [])
            elif _is_run(path):
                subfolders.remove(name)
                runs.append(path)
            else:
                entered.add(real)
        for name in names:
            is_video = os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES
            (found if is_video else ignored).append(os.path.join(folder, name))
    return Found(found, ignored, runs)


def _raise(error: OSError) -> None:
    raise StorageError(f"cannot list the input folder: {error.strerror or error}: {error.filename}") from error
