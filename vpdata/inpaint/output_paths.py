"""Where outputs go: each appears whole or not at all, and nothing that is read or written beside it is lost."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path

from av.error import FFmpegError

from vpdata.errors import ConfigError, StorageError


def real_path(path: Path) -> Path:
    """The file that a path leads to, links followed; it need not exist."""
    return Path(os.path.realpath(path))


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


def check_place(path: Path) -> None:
    """ConfigError for a file that could not be written: a folder, a long name, or one in a folder that takes none."""
    if os.path.isdir(path):
        raise ConfigError(f"got the output {path}, which is a folder; wanted the name of a file")
    folder = real_path(path).parent
    if not os.path.isdir(folder):
        raise ConfigError(f"got the output {path}, but there is no folder {folder}")
    name = real_path(path).name
    try:
        # As long as the longest name beside an output, `.NAME.objects.json`.
        with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{name}", suffix=".json"):
            pass
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise ConfigError(
                f"got the output {path}, whose name has {len(os.fsencode(name))} bytes; wanted a shorter one, which "
                "leaves 14 bytes for names of files beside it"
            ) from error
        raise ConfigError(f"got the output {path}, but nothing can be written to {folder}: {error.strerror}") from error


@contextmanager
def publishing(target: Path) -> Iterator[Path]:
    """A path beside `target` to write to; it becomes `target` when the block ends well. StorageError otherwise."""
    target = real_path(target)
    aside = target.with_name(f".{target.name}.aside{target.suffix}")
    try:
        yield aside
        # Else a power cut may leave an empty file of that name, after the work that it was made from was removed.
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(aside, target)
    except (OSError, FFmpegError) as error:
        raise StorageError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        aside.unlink(missing_ok=True)


def _is_same(path: Path, other: Path) -> bool:
    # In a folder that nobody may look into, `Path.exists` is an error.
    if os.path.exists(path) and os.path.exists(other):
        return path.samefile(other)
    return real_path(path) == real_path(other)
