"""A folder on the node's own disk, for copies of weights and what was computed with them."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from vpdata.errors import BackendError, StorageError


def node_folder() -> Path:
    """Where this user keeps files on this node's own disk, in TMPDIR.

    BackendError where it is another user's, or open to others: in a shared TMPDIR anyone may take the name first, and
    what lies there is opened. StorageError where it cannot be made.
    """
    user = os.getuid()
    folder = Path(tempfile.gettempdir(), f"vpdata-weights-{user}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        # A link there is whose it is, wherever it leads.
        named, found = folder.lstat(), folder.stat()
    except OSError as error:
        raise StorageError(f"cannot make {folder}: {error.strerror}; set TMPDIR to a folder of your own") from error
    owners = {named.st_uid, found.st_uid}
    if owners != {user} or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise BackendError(
            f"{folder}: got a folder of the users {sorted(owners)}, {stat.filemode(found.st_mode)}, "
            f"wanted one of user {user} that nobody else may write to; remove it, or set TMPDIR to a folder of your own"
        )
    return folder
