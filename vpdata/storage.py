"""A folder on a local disk or on any fsspec store, in which files appear whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from vpdata.errors import ConfigError, StorageError
from vpdata.extras import how_to_install

SCRATCH_VARIABLE = "VPDATA_SCRATCH"
"""Names the folder that a worker removes with its process."""
_REMOTE_SCHEMES = ("s3", "gs", "memory")
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
"""What disks say that have no hard links, such as exFAT and many that are mounted over FUSE."""


class Folder:
    """Names are relative, with `/` between parts; one that would leave the folder is a ValueError.

    Picklable: workers open the same folder again. OSError becomes StorageError that names the file.
    """

    def __init__(self, uri: str | Path) -> None:
        uri = str(uri).removeprefix("file://")
        scheme, separator, place = uri.partition("://")
        if separator and (scheme not in _REMOTE_SCHEMES or not place.strip("/")):
            wanted = " or ".join(f"{known}://bucket/folder" for known in _REMOTE_SCHEMES)
            raise ConfigError(f"got {uri!r}, wanted a path, {wanted}")
        self.uri = uri.rstrip("/") or "/"
        self.is_local = not separator

    def __repr__(self) -> str:
        return f"Folder({self.uri!r})"

    def child(self, name: str) -> Folder:
        """The folder `name` inside this one."""
        return Folder(self._path(name))

    def path(self, name: str) -> Path:
        """Local path of a file; only for a local folder."""
        if not self.is_local:
            raise ValueError(f"{self.uri} is not on a local disk")
        return Path(self._path(name))

    def exists(self, name: str) -> bool:
        """Whether a file of that name is there."""
        with self._named_errors("read", name):
            return os.path.exists(self._path(name)) if self.is_local else self._fs.exists(self._path(name))

    def size(self, name: str) -> int:
        """Size of a file in bytes."""
        with self._named_errors("read", name):
            return os.path.getsize(self._path(name)) if self.is_local else int(self._fs.size(self._path(name)))

    def names(self, suffix: str = "") -> list[str]:
        """Sorted names of the finished files and the folders directly inside; [] where the folder does not exist."""
        with self._named_errors("list", ""):
            found = self._listed()
        return sorted(name for name in found if name.endswith(suffix) and not name.startswith(".aside-"))

    def read(self, name: str) -> bytes:
        """The whole file."""
        with self._named_errors("read", name):
            if self.is_local:
                return Path(self._path(name)).read_bytes()
            return self._fs.cat_file(self._path(name))

    def read_range(self, name: str, offset: int, num_bytes: int) -> bytes:
        """One ranged read; fewer bytes than asked for is a StorageError."""
        with self._named_errors("read", name):
            if self.is_local:
                # Unbuffered: a buffer reads the end in a call of its own. Some network disks give less than asked for.
                with open(self._path(name), "rb", buffering=0) as file:
                    file.seek(offset)
                    data = file.read(num_bytes)
                    while len(data) < num_bytes and (more := file.read(num_bytes - len(data))):
                        data += more
            else:
                data = self._fs.cat_file(self._path(name), start=offset, end=offset + num_bytes)
        if len(data) != num_bytes:
            raise StorageError(_cut_short(self._path(name), offset, got=len(data), wanted=num_bytes))
        return data

    def read_into(self, name: str, offset: int, buffer: memoryview) -> None:
        """Fill a buffer by one ranged read, on a local disk without a copy; a file too short for it is a StorageError.

        Of 7 MB a copy more costs as much CPU as the read.
        """
        if not self.is_local:
            buffer[:] = self.read_range(name, offset, len(buffer))
            return
        with self._named_errors("read", name), open(self._path(name), "rb", buffering=0) as file:
            file.seek(offset)
            num_bytes = 0
            while num_bytes < len(buffer) and (more := file.readinto(buffer[num_bytes:])):
                num_bytes += more
        if num_bytes < len(buffer):
            raise StorageError(_cut_short(self._path(name), offset, got=num_bytes, wanted=len(buffer)))

    def write(self, name: str, data: bytes) -> None:
        """Publish `data` as a whole file, replacing an older one."""
        with self.writing(name) as path:
            path.write_bytes(data)

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """A local path to write to; published under `name` when the block ends well, dropped otherwise."""
        target = self._path(name)
        with self._named_errors("write", name):
            if self.is_local:
                os.makedirs(os.path.dirname(target), exist_ok=True)
                aside = Path(os.path.dirname(target), f".aside-{uuid.uuid4().hex}")
            else:
                aside = Path(tempfile.mkdtemp(prefix="vpdata-", dir=scratch()), "aside")
            try:
                yield aside
                if self.is_local:
                    # Else a power cut may leave an empty file of that name, which says that a part is done. It costs
                    # 1 ms a file. The folder is not synced: a name that is lost leaves a part to be made again.
                    _sync(aside)
                    os.replace(aside, target)
                else:
                    self._fs.put_file(str(aside), target)
            finally:
                aside.unlink(missing_ok=True)
                if not self.is_local:
                    aside.parent.rmdir()

    def create(self, name: str, data: bytes) -> bool:
        """Write a file that must not exist yet, atomically; False if it does (O_EXCL, or a conditional put)."""
        with self._named_errors("write", name):
            if self.is_local:
                return self._create_locally(self._path(name), data)
            try:
                self._fs.pipe_file(self._path(name), data, mode="create")
            except FileExistsError:
                return False
        return True

    def remove(self, name: str) -> None:
        """Remove a file; one that is not there is no error."""
        with self._named_errors("remove", name):
            if self.is_local:
                Path(self._path(name)).unlink(missing_ok=True)
            elif self._fs.exists(self._path(name)):
                self._fs.rm_file(self._path(name))

    def remove_all(self) -> None:
        """Remove the folder with all that is in it."""
        with self._named_errors("remove", ""):
            if self.is_local:
                if os.path.isdir(self.uri):
                    shutil.rmtree(self.uri)
            elif self._fs.exists(self.uri):
                self._fs.rm(self.uri, recursive=True)

    def sweep(self, *, below: bool = False) -> None:
        """Remove what killed writers left unfinished, with `below` in all folders below too.

        Only where nobody writes to this folder now.
        """
        pattern = "**/.aside-*" if below else ".aside-*"
        with self._named_errors("remove", ""):
            for path in Path(self.uri).glob(pattern) if self.is_local else ():
                path.unlink(missing_ok=True)

    def _listed(self) -> list[str]:
        if self.is_local:
            return os.listdir(self.uri) if os.path.isdir(self.uri) else []
        # Not asked first whether the folder is there: a store answers that by listing it, too.
        try:
            listing = self._fs.ls(self.uri, detail=False)
        except FileNotFoundError:
            return []
        # A file of that name is listed as itself, and a folder that was made by hand may hold a mark of itself.
        own = self._fs._strip_protocol(self.uri)
        return [PurePosixPath(path).name for path in listing if path.rstrip("/") != own]

    def _create_locally(self, target: str, data: bytes) -> bool:
        folder = os.path.dirname(target)
        os.makedirs(folder, exist_ok=True)
        # Written aside and linked: no reader sees an empty file, and link() fails if the name is taken.
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".aside-") as aside:
            aside.write(data)
            aside.flush()
            try:
                os.link(aside.name, target)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                return _create_in_place(target, data)
        return True

    @property
    def _fs(self) -> Any:
        return filesystem(self._scheme)

    @property
    def _scheme(self) -> str:
        return self.uri.partition("://")[0] if not self.is_local else "file"

    def _path(self, name: str) -> str:
        if name and (name.startswith("/") or ".." in PurePosixPath(name).parts or "\0" in name or "\\" in name):
            raise ValueError(f"got the name {name!r}, wanted one that stays inside {self.uri}")
        return f"{self.uri.rstrip('/')}/{name}" if name else self.uri

    @contextmanager
    def _named_errors(self, what: str, name: str) -> Iterator[None]:
        try:
            yield
        except ConfigError:
            raise
        except store_errors(self._scheme) as error:
            is_full = isinstance(error, OSError) and error.errno == errno.ENOSPC
            hint = "; free some space and run the same command again" if is_full else ""
            text = getattr(error, "strerror", None) or error
            raise StorageError(f"cannot {what} {self._path(name)}: {text}{hint}") from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def scratch() -> str:
    """Where files in the making go: to what goes with this process, where a worker started it, else to TMPDIR."""
    return os.environ.get(SCRATCH_VARIABLE) or tempfile.gettempdir()


def _cut_short(path: str, offset: int, *, got: int, wanted: int) -> str:
    return f"{path}: got {got} bytes at {offset}, wanted {wanted}: the file is cut short"


def filesystem(scheme: str) -> Any:  # what fsspec annotates is not what its calls return
    """The fsspec file system of a remote scheme; ConfigError where its package is not installed.

    It keeps no listings: other workers write to the same folder, and a kept one hides their files.
    """
    import fsspec

    try:
        return fsspec.filesystem(scheme, use_listings_cache=False)
    except ImportError as error:
        raise ConfigError(f"{scheme}://: {error}; install the extra cloud, {how_to_install('cloud')}") from error


def store_errors(scheme: str) -> tuple[type[Exception], ...]:
    """What a scheme's library raises when I/O fails: not all of it is OSError (no credentials, no such endpoint).

    Both libraries read over aiohttp, whose error for a connection that is cut in mid-body comes through as it is.
    """
    if scheme == "s3":
        import aiohttp
        from botocore.exceptions import BotoCoreError, ClientError

        return (OSError, BotoCoreError, ClientError, aiohttp.ClientError)
    if scheme == "gs":
        import aiohttp
        from gcsfs.retry import HttpError  # pyright: ignore[reportMissingImports]  optional
        from google.auth.exceptions import GoogleAuthError

        return (OSError, HttpError, GoogleAuthError, aiohttp.ClientError)
    return (OSError,)


def _create_in_place(target: str, data: bytes) -> bool:
    """As good as a disk without hard links allows: a reader may see the file empty for a moment."""
    try:
        with open(target, "xb") as file:
            file.write(data)
    except FileExistsError:
        return False
    return True
