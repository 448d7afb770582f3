"""Fills a folder or bucket with weights: `vpdata models fetch`."""

from __future__ import annotations

import shutil
from fnmatch import fnmatch
from pathlib import Path

from vpdata.errors import BackendError, ConfigError, StorageError
from vpdata.models.catalogue import HUB_FILES, Published, find
from vpdata.models.hub import Hub, Snapshot
from vpdata.models.weights import Lock, check_name, locked, node_folder, read_lock, verify, write_lock
from vpdata.storage import Folder

_SINGLE_FILE = "model.safetensors"


def fetch(weights: str, *, to: Folder, hub: Hub, revision: str | None = None) -> Lock:
    """Download weights into the folder of their name inside `to`, and return what is there now.

    What is there already is verified, and downloaded again at the same revision where it is damaged; then its content
    must be what it was the first time. ConfigError for another revision than the one that is there.
    """
    check_name(weights)
    folder = to.child(weights)
    old = read_lock(folder)
    if old is not None and not old.matches(revision):
        raise ConfigError(
            f"{folder.uri} holds revision {old.revision}, got {revision}: fetch it to another place, or remove that "
            "folder once nothing uses it"
        )
    if old is not None and _is_whole(folder, old):
        return old
    staging = _staging(weights, to)
    source, snapshot = _download(weights, find(weights), hub, to=staging, revision=old.revision if old else revision)
    names = sorted(path.name for path in staging.iterdir() if path.is_file())
    if not any(fnmatch(name, "*.safetensors") for name in names):
        raise BackendError(f"{source} has no safetensors at its top level, and nothing else is opened")
    files = locked(Folder(staging), names)
    for name, file in files.items():
        if snapshot.sha256.get(name, file.sha256) != file.sha256:
            shutil.rmtree(staging)
            stated = snapshot.sha256[name]
            raise BackendError(f"{source}/{name}: got SHA-256 {file.sha256}, the hub says {stated}; fetch it again")
    if old is not None and dict(old.files) != files:
        raise BackendError(f"{source} is not what it was when {folder.uri} was first fetched; remove that folder")
    for name in names:
        with folder.writing(name) as path:
            shutil.move(staging / name, path)
    lock = old or Lock(source=source, revision=snapshot.revision, asked_for=revision, files=files)
    write_lock(folder, lock)
    shutil.rmtree(staging)
    return lock


def _is_whole(folder: Folder, lock: Lock) -> bool:
    try:
        verify(folder, lock, remedy="")
    except BackendError:
        return False
    return True


def _staging(weights: str, to: Folder) -> Path:
    """Where a download grows: beside its target where that is local, so that the last step is a rename.

    Its name is the same each time, so that a fetch that was interrupted goes on.
    """
    root = Path(to.uri) if to.is_local else node_folder()
    staging = root / f".aside-{weights.replace('/', '--')}"
    try:
        staging.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot write to {root}: {error.strerror}") from error
    return staging


def _download(
    weights: str, published: Published | None, hub: Hub, *, to: Path, revision: str | None
) -> tuple[str, Snapshot]:
    """Where the weights came from, and what is known about their files."""
    if published is None or published.url is None:
        files = published.files if published else HUB_FILES
        return weights, hub.snapshot(weights, revision=revision, files=files, to=to)
    from vpdata.models.pickled import rewrite

    pickled = to / "published.pth"
    hub.file(published.url, to=pickled)
    sha256 = locked(Folder(to), [pickled.name])[pickled.name].sha256
    if not sha256.startswith(published.sha256):
        raise BackendError(f"{published.url}: got SHA-256 {sha256}, wanted {published.sha256}")
    if revision not in (None, sha256):
        raise ConfigError(f"{weights} has one revision, {sha256}; got {revision}")
    rewrite(pickled, to / _SINGLE_FILE)
    pickled.unlink()
    return published.url, Snapshot(revision=sha256, sha256={})
