"""Where outputs go: nothing that is read or written beside them may be lost."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

from vpdata.errors import ConfigError


def check_distinct(written: Mapping[str, Path | None], read: Mapping[str, Path | None]) -> None:
    """ConfigError where a file that is written is another one too; by what each is for, None where it is not given.

    Links are followed, and files need not exist yet.
    """
    outputs = [(name, path) for name, path in written.items() if path is not None]
    inputs = [(name, path) for name, path in read.items() if path is not None]
    pairs = [*combinations(outputs, 2), *((one, other) for one in outputs for other in inputs)]
    for (one, path), (other, other_path) in pairs:
        if _is_same(path, other_path):
            raise ConfigError(f"got {path} as {one} and {other}; name another {one}")


def _is_same(path: Path, other: Path) -> bool:
    if path.exists() and other.exists():
        return path.samefile(other)
    return path.resolve() == other.resolve()
