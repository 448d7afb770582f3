"""A hub that is a folder: one folder per repository, in it one per revision."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path

from vpdata.errors import ConfigError
from vpdata.models.hub import Snapshot


class LocalHub:
    """A `Hub` on a local folder. `calls` counts downloads; `stated` overrides what it says about hashes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls = 0
        self.stated: Mapping[str, str] = {}

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
        sha256 = {}
        for path in folder.iterdir():
            if path.is_file() and any(fnmatch(path.name, pattern) for pattern in files):
                shutil.copy(path, to / path.name)
                sha256[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        return Snapshot(revision=folder.resolve().name, sha256=sha256 | dict(self.stated))

    def file(self, url: str, *, to: Path) -> None:
        self.calls += 1
        shutil.copy(self.root / url.rpartition("/")[2], to)
