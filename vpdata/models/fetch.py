"""Fills a folder or bucket with weights: `vpdata models fetch`."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from glob import escape
from pathlib import Path

from filelock import FileLock, Timeout

from vpdata.errors import BackendError, ConfigError, StorageError
from vpdata.models.catalogue import HUB_FILES, Published, find
from vpdata.models.hub import Hub, Snapshot, is_wanted
from vpdata.models.node_disk import node_folder
from vpdata.models.weights import Lock, check_name, locked, read_lock, verify, write_lock
from vpdata.storage import Folder

_SINGLE_FILE = "model.safetensors"
_OPEN_CLIP_CONFIG, _OPEN_CLIP_FILE = "open_clip_config.json", "open_clip_model.safetensors"
_OPEN_CLIP_PICKLE = "open_clip_pytorch_model.bin"
"""What older repositories in open_clip's layout hold instead."""
_PIPELINE_INDEX = "model_index.json"
"""Of a repository in diffusers' layout, whose parts are folders."""
_log = logging.getLogger(__name__)


def fetch(weights: str, *, to: Folder, hub: Hub, revision: str | None = None) -> Lock:
    """Download weights into the folder of their name inside `to`, and return what is there now.

    What is there already is verified, and downloaded again at the same revision where it is damaged; then its content
    must be what it was the first time. ConfigError for another revision than the one that is there. Of two fetches at
    once into one local folder, or on one node into one bucket, the second waits.
    """
    check_name(weights)
    folder = to.child(weights)
    old = _there(folder, revision)
    if old is not None and _is_whole(folder, old):
        return old
    with _staging(weights, to) as staging:
        # Whoever had the staging folder before may have brought them.
        old = _there(folder, revision)
        if old is not None and _is_whole(folder, old):
            return old
        return _fetch(weights, folder, old, hub, staging=staging, revision=revision)


def _there(folder: Folder, revision: str | None) -> Lock | None:
    """What is in the folder already; ConfigError where that is another revision."""
    old = read_lock(folder)
    if old is not None and not old.matches(revision):
        raise ConfigError(
            f"{folder.uri} holds revision {old.revision}, got {revision}: fetch it to another place, or remove that "
            "folder once nothing uses it"
        )
    return old


def _fetch(weights: str, folder: Folder, old: Lock | None, hub: Hub, *, staging: Path, revision: str | None) -> Lock:
    """Download into the staging folder, move to the folder what is as it was in `old`, and declare it complete."""
    known = find(weights)
    if known is not None and known.url is not None:
        source, at = known.url, _download_file(known, hub, to=staging, revision=revision)
    else:
        # The same commit again, even where the branch has moved on.
        pinned = old.revision if old else revision
        source, at = weights, _download_repository(weights, known, hub, to=staging, revision=pinned)
    names = sorted(_files(staging))
    if not any(fnmatch(name, "*.safetensors") for name in names):
        raise BackendError(f"{source} has no safetensors where they are looked for, and nothing else is opened")
    files = locked(Folder(staging), names)
    if old is not None and dict(old.files) != files:
        raise BackendError(f"{source} is not what it was when {folder.uri} was first fetched; remove that folder")
    for name in names:
        with folder.writing(name) as path:
            shutil.move(staging / name, path)
    lock = old or Lock(source=source, revision=at, asked_for=revision, files=files)
    write_lock(folder, lock)
    shutil.rmtree(staging)
    return lock


def _is_whole(folder: Folder, lock: Lock) -> bool:
    try:
        verify(folder, lock, remedy="")
    except BackendError:
        return False
    return True


@contextmanager
def _staging(weights: str, to: Folder) -> Iterator[Path]:
    """Where a download grows, held by one fetch: beside its target where that is local, so that it ends with a rename.

    Its name is the same each time, so that a fetch that was interrupted goes on.
    """
    root = Path(to.uri) if to.is_local else node_folder()
    staging = root / f".aside-{weights.replace('/', '--')}"
    held = FileLock(f"{staging}.lock")
    try:
        root.mkdir(parents=True, exist_ok=True)
        try:
            held.acquire(blocking=False)
        except Timeout:
            _log.warning("another process is fetching %s into %s; waiting for it", weights, root)
            held.acquire()
        staging.mkdir(exist_ok=True)
    except (OSError, NotImplementedError) as error:
        raise StorageError(f"cannot write to {root}, or lock a file there: {error}") from error
    try:
        yield staging
    finally:
        # What has come is kept for the next fetch; where nothing has, nothing stays.
        with suppress(OSError):
            staging.rmdir()
        held.release()


def _download_repository(weights: str, known: Published | None, hub: Hub, *, to: Path, revision: str | None) -> str:
    """The commit that the files are of."""
    files = known.files if known else HUB_FILES
    listed = hub.snapshot(weights, revision=revision, files=[_PIPELINE_INDEX], to=to)
    if _PIPELINE_INDEX in listed.files:
        files = _pipeline_files(weights, listed, to)
    snapshot = hub.snapshot(weights, revision=listed.revision, files=files, to=to)
    _compare(weights, snapshot, to)
    if (to / _OPEN_CLIP_CONFIG).exists() and not (to / _OPEN_CLIP_FILE).exists():
        _compare(weights, hub.snapshot(weights, revision=snapshot.revision, files=[_OPEN_CLIP_PICKLE], to=to), to)
        _rewrite(to / _OPEN_CLIP_PICKLE, to / _OPEN_CLIP_FILE)
    return snapshot.revision


def _pipeline_files(weights: str, listed: Snapshot, folder: Path) -> list[str]:
    """Patterns of the index and of the files of each part that it names, without a second copy of their weights.

    Such copies lie in one file or in folders for other programs, or are variants, as `model.fp16.safetensors` is.
    """
    try:
        index = json.loads((folder / _PIPELINE_INDEX).read_bytes())
    except ValueError as error:
        raise BackendError(f"{weights}: {_PIPELINE_INDEX} is damaged: {error}; fetch it again") from error
    if not isinstance(index, dict):
        raise BackendError(f"{weights}: got a {type(index).__name__} in {_PIPELINE_INDEX}, wanted a mapping of parts")
    # A part is the library and the class that open it, both null where the pipeline does without.
    parts = [name for name, value in index.items() if isinstance(value, list) and any(value)]
    patterns = [f"{escape(part)}/{pattern}" for part in parts for pattern in HUB_FILES]
    found = [name for name in listed.files if is_wanted(name, patterns) and not fnmatch(name, "*/*.*.safetensors")]
    return [_PIPELINE_INDEX, *map(escape, found)]


def _download_file(known: Published, hub: Hub, *, to: Path, revision: str | None) -> str:
    """The SHA-256 of what was at the URL."""
    assert known.url is not None
    pickled = to / "published.pth"
    hub.file(known.url, to=pickled)
    sha256 = locked(Folder(to), [pickled.name])[pickled.name].sha256
    if not sha256.startswith(known.sha256):
        raise BackendError(f"{known.url}: got SHA-256 {sha256}, wanted {known.sha256}")
    if revision not in (None, sha256):
        raise ConfigError(f"{known.name} has one revision, {sha256}; got {revision}")
    _rewrite(pickled, to / _SINGLE_FILE)
    return sha256


def _compare(weights: str, snapshot: Snapshot, folder: Path) -> None:
    """BackendError where a file is not what the hub says."""
    # An interrupted fetch of another revision may have left some.
    for name in _files(folder):
        if name not in snapshot.files:
            (folder / name).unlink()
    large = {name: sha256 for name, sha256 in snapshot.files.items() if sha256 and (folder / name).exists()}
    for name, file in locked(Folder(folder), large).items():
        if file.sha256 != large[name]:
            # Else the next fetch would take it for finished.
            shutil.rmtree(folder)
            raise BackendError(
                f"{weights}/{name}: got SHA-256 {file.sha256}, the hub says {large[name]}; fetch it again"
            )


def _files(folder: Path) -> list[str]:
    """Names of the files in a folder and in its folders, but for what the hub's client keeps in a hidden one."""
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return [name for name in names if not name.startswith(".cache/")]


def _rewrite(pickled: Path, to: Path) -> None:
    from vpdata.models.pickled import rewrite

    if pickled.exists():
        rewrite(pickled, to)
        pickled.unlink()
