"""Model weights on this machine: opened only if every byte is the one that was fetched."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import yaml
from filelock import FileLock

from vpdata.config import fill, to_plain
from vpdata.errors import BackendError, ConfigError, StorageError
from vpdata.models.node_disk import node_folder
from vpdata.storage import Folder

LOCK_FILE = "weights.lock.yaml"
"""Written last, so where it is, all the files it lists are."""
WEIGHTS_VARIABLE = "VPDATA_WEIGHTS"
"""Environment variable with the folder or uri that `vpdata models fetch` fills."""
Wanted = tuple[str, str | None]
"""A hub id, a name in the catalogue or a path, and the revision."""
_MAX_FILES_AT_ONCE = 4
_CHUNK_BYTES = 16 * 2**20
_SNAPSHOT = re.compile(r"/models--(?P<owner>[\w.-]+?)--(?P<name>[\w.-]+)/snapshots/(?P<commit>[0-9a-f]{40})/?$")
_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")

_FETCH_AGAIN = "run `vpdata models fetch` again, which replaces damaged files"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedFile:
    """One file as it was fetched."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """What was fetched, from where: the content of `weights.lock.yaml`."""

    source: str
    """Hub id, or URL."""
    revision: str
    """Commit of the hub id; of a URL the SHA-256 of what came from there."""
    asked_for: str | None = None
    """Branch, tag or commit that was asked for; None: the newest."""
    files: Mapping[str, LockedFile]

    def matches(self, revision: str | None) -> bool:
        """Whether these are the weights of that revision; None takes any."""
        return revision in (None, self.revision, self.asked_for)


def local_weights(weights: str, revision: str | None = None, *, only: Sequence[str] = ("",)) -> Path:
    """The folder on this machine with the files of a hub id, or of an absolute path, each checked by its hash.

    `only` files whose names begin so are checked, and brought here, at all: a pipeline has parts for several processes.

    A hub id is looked up in the folder or bucket that `VPDATA_WEIGHTS` names. A local folder is used as it is; from a
    bucket the first process on a node copies the files to the node's disk while the others wait. A path is a folder of
    your own; it needs no lock file. Hashing took a core 0.5 s per GB with SHA instructions; without, expect a few times
    that.

    BackendError where something is missing, cut short, changed, or of another revision.
    """
    if is_path(weights):
        return _own_folder(weights, revision, only)
    shared, lock = _fetched(weights, revision)
    lock = _part_of(lock, only)
    if shared.is_local:
        folder, remedy = shared, _FETCH_AGAIN
    else:
        folder = _on_this_node(shared, lock)
        remedy = f"remove {folder.uri}, and it is copied again"
    verify(folder, lock, remedy=remedy)
    return Path(folder.uri)


def refuse_missing(wanted: Iterable[Wanted]) -> None:
    """BackendError for weights that are missing, cut short or of another revision; nothing is hashed or copied.

    What was never fetched is named all at once, with the command.
    """
    wanted = list(dict.fromkeys(wanted))
    if missing := never_fetched(wanted):
        raise BackendError(how_to_fetch(missing))
    for name, revision in wanted:
        folder = weights_folder(name, revision)
        if lock := read_lock(folder):
            _check_revision(lock, revision, folder)
            check_sizes(folder, lock, remedy=_FETCH_AGAIN)


def never_fetched(wanted: Iterable[Wanted]) -> list[Wanted]:
    """Those that `vpdata models fetch` has not brought to where `VPDATA_WEIGHTS` points, each once."""
    root = os.environ.get(WEIGHTS_VARIABLE)
    ids = [(name, revision) for name, revision in dict.fromkeys(wanted) if not is_path(name)]
    return [one for one in ids if not root or read_lock(Folder(root).child(one[0])) is None]


def how_to_fetch(missing: Sequence[Wanted]) -> str:
    """What is missing, and the commands that bring it.

    ConfigError for what can be fetched from nowhere.
    """
    # It imports this module.
    from vpdata.models.catalogue import find

    for name, _ in missing:
        find(name)
    root = os.environ.get(WEIGHTS_VARIABLE)
    unlocked = [name for name, _ in missing if root and Folder(root).child(name).names()]
    found = (
        f" Of {', '.join(unlocked)} there are files, but no {LOCK_FILE}, with which a fetch ends." if unlocked else ""
    )
    names = ", ".join(name for name, _ in missing)
    asked = " ".join(f"{name}@{revision}" if revision else name for name, revision in missing)
    where = f"in {root}" if root else f"since {WEIGHTS_VARIABLE} is not set"
    place = root or "FOLDER_OR_URI"
    return (
        f"got no weights of {names} {where}.{found} Fetch them once to a place that every node can read, and name it "
        f"on every node:\n  vpdata models fetch {asked} --to {place}\n  export {WEIGHTS_VARIABLE}={place}"
    )


def fetched_revision(weights: str, revision: str | None = None) -> str | None:
    """The commit, or the SHA-256, that the lock file of these weights names; no other file is looked at.

    None where nothing, or nothing of that `revision`, has been fetched.
    """
    root = os.environ.get(WEIGHTS_VARIABLE)
    if is_path(weights):
        folder = Folder(weights)
    elif root:
        check_name(weights)
        folder = Folder(root).child(weights)
    else:
        return None
    lock = read_lock(folder)
    return lock.revision if lock is not None and lock.matches(revision) else None


def weights_folder(weights: str, revision: str | None = None) -> Folder:
    """Where the files of a hub id or a path are, a bucket perhaps, without a look at their content.

    For small files; BackendError as from `local_weights` where there is no such folder.
    """
    if not is_path(weights):
        return _fetched(weights, revision)[0]
    if not Path(weights).is_dir():
        raise BackendError(f"there is no folder {weights} with weights on this machine")
    return Folder(weights)


def is_path(weights: str) -> bool:
    """Whether a setting names a folder of the user's own, and no hub id."""
    return weights.startswith(("/", "./", "../"))


def hub_snapshot(weights: str) -> tuple[str, str] | None:
    """Hub id and commit of a folder in the Hugging Face cache; None for anything else."""
    found = _SNAPSHOT.search(weights)
    return (f"{found['owner']}/{found['name']}", found["commit"]) if found else None


def check_name(weights: str) -> None:
    """ConfigError for what is neither a hub id nor a path."""
    if not _NAME.fullmatch(weights):
        raise ConfigError(f"got the weights {weights!r}, wanted a hub id such as org/name, or an absolute path")


def read_lock(folder: Folder) -> Lock | None:
    """What is in a folder of weights; None where nothing was fetched, or not to the end. BackendError if damaged."""
    if not folder.exists(LOCK_FILE):
        return None
    try:
        return fill(Lock, yaml.safe_load(folder.read(LOCK_FILE)))
    except (yaml.YAMLError, UnicodeDecodeError, ConfigError) as error:
        raise BackendError(f"{folder.uri}/{LOCK_FILE} is damaged: {error}; remove it and fetch again") from error


def write_lock(folder: Folder, lock: Lock) -> None:
    """Declare the files of a folder complete."""
    folder.write(LOCK_FILE, yaml.safe_dump(to_plain(lock), sort_keys=False).encode())


def locked(folder: Folder, names: Iterable[str]) -> dict[str, LockedFile]:
    """Size and hash of files as they are now."""
    names = list(names)
    sizes = map(folder.size, names)
    return {
        name: LockedFile(size_bytes=size, sha256=digest)
        for name, size, digest in zip(names, sizes, _digests(folder, names), strict=True)
    }


def verify(folder: Folder, lock: Lock, *, remedy: str) -> None:
    """BackendError, with the remedy, for the first file that is missing, cut short or changed."""
    check_sizes(folder, lock, remedy=remedy)
    _check_hashes(folder, lock, uri=folder.uri, remedy=remedy)


def _fetched(weights: str, revision: str | None) -> tuple[Folder, Lock]:
    """Where a hub id was fetched to, and what was."""
    check_name(weights)
    root = os.environ.get(WEIGHTS_VARIABLE)
    if not root or (lock := read_lock(shared := Folder(root).child(weights))) is None:
        raise BackendError(how_to_fetch([(weights, revision)]))
    _check_revision(lock, revision, shared)
    return shared, lock


def _own_folder(path: str, revision: str | None, only: Sequence[str]) -> Path:
    folder = weights_folder(path)
    if lock := read_lock(folder):
        _check_revision(lock, revision, folder)
        verify(folder, _part_of(lock, only), remedy=_FETCH_AGAIN)
    return Path(path)


def _part_of(lock: Lock, only: Sequence[str]) -> Lock:
    return replace(lock, files={name: file for name, file in lock.files.items() if name.startswith(tuple(only))})


def _check_revision(lock: Lock, revision: str | None, folder: Folder) -> None:
    if not lock.matches(revision):
        raise BackendError(
            f"{folder.uri}: got revision {lock.revision}, wanted {revision}: change the setting, or fetch that "
            "revision to another place"
        )


def _on_this_node(shared: Folder, lock: Lock) -> Folder:
    """A copy of a bucket's files on the node's own disk, made by the first process that asks."""
    content = hashlib.sha256(repr(to_plain(lock)).encode()).hexdigest()[:16]
    target = node_folder() / content
    aside = target.with_suffix(".aside")
    with FileLock(target.with_suffix(".lock")):
        if not target.exists():
            _log.info("copying the weights %s to %s", shared.uri, target)
            check_sizes(shared, lock, remedy=_FETCH_AGAIN)
            try:
                # What a killed process left.
                shutil.rmtree(aside, ignore_errors=True)
                aside.mkdir()
                with ThreadPoolExecutor(_MAX_FILES_AT_ONCE) as pool:
                    list(pool.map(lambda name: _copy(shared, name, aside / name), lock.files))
                _check_hashes(Folder(aside), lock, uri=shared.uri, remedy=_FETCH_AGAIN)
                aside.rename(target)
            except OSError as error:
                raise StorageError(f"cannot copy {shared.uri} to {target}: {error.strerror or error}") from error
    return Folder(target)


def _copy(shared: Folder, name: str, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    with to.open("wb") as file:
        for chunk in _chunks(shared, name):
            file.write(chunk)


def check_sizes(folder: Folder, lock: Lock, *, remedy: str) -> None:
    """BackendError, with the remedy, for the first file that is missing or cut short; no file is read."""
    for name, wanted in lock.files.items():
        size_bytes = folder.size(name) if folder.exists(name) else None
        if size_bytes != wanted.size_bytes:
            got = "no file" if size_bytes is None else f"{size_bytes} bytes"
            raise BackendError(f"{folder.uri}/{name}: got {got}, wanted {wanted.size_bytes} bytes: {remedy}")


def _check_hashes(folder: Folder, lock: Lock, *, uri: str, remedy: str) -> None:
    for (name, wanted), digest in zip(lock.files.items(), _digests(folder, lock.files), strict=True):
        if digest != wanted.sha256:
            raise BackendError(f"{uri}/{name}: got SHA-256 {digest}, wanted {wanted.sha256}: {remedy}")


def _digests(folder: Folder, names: Iterable[str]) -> list[str]:
    with ThreadPoolExecutor(_MAX_FILES_AT_ONCE) as pool:
        return list(pool.map(lambda name: _digest(folder, name), names))


def _digest(folder: Folder, name: str) -> str:
    digest = hashlib.sha256()
    for chunk in _chunks(folder, name):
        digest.update(chunk)
    return digest.hexdigest()


def _chunks(folder: Folder, name: str) -> Iterator[bytes]:
    size_bytes = folder.size(name)
    for offset in range(0, size_bytes, _CHUNK_BYTES):
        yield folder.read_range(name, offset, min(_CHUNK_BYTES, size_bytes - offset))
