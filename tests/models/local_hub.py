"""A hub that is a folder: one folder per repository, in it one per revision."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from vpdata.errors import ConfigError, StorageError
from vpdata.models.hub import Snapshot, is_wanted


class LocalHub:
    """A `Hub` on a local folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls = 0
        """Times that something was asked for so far."""
        self.stated: dict[str, str | None] = {}
        """Hashes to state in the place of the true ones."""
        self.fails_after: str | None = None
        """The file after which the connection breaks."""

    def publish(self, repo: str, files: Mapping[str, bytes], *, revision: str = "c0ffee") -> None:
        """Add a revision, which becomes the newest."""
        folder = self.root / repo / revision
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        (self.root / repo / "main").unlink(missing_ok=True)
        (self.root / repo / "main").symlink_to(folder)

    def snapshot(self, repo: str, *, revision: str | None, files: Sequence[str], to: Path) -> Snapshot:
        folder = self.root / repo / (revision or "main")
        if not folder.exists():
            raise ConfigError(f"the hub has no {repo} at revision {revision}")
        self.calls += 1
        listing: dict[str, str | None] = {}
        for path in filter(Path.is_file, folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            listing[name] = hashlib.sha256(path.read_bytes()).hexdigest()
            if is_wanted(name, files):
                (to / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, to / name)
                if self.fails_after is not None and name == self.fails_after:
                    raise StorageError("the connection broke")
        return Snapshot(revision=folder.resolve().name, files=listing | self.stated)

    def file(self, url: str, *, to: Path) -> None:
        self.calls += 1
        shutil.copy(self.root / url.rpartition("/")[2], to)
