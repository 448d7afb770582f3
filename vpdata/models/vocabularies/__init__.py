"""Published lists of object names as text files, one name a line."""

from __future__ import annotations

from collections import Counter
from importlib import resources as package_files
from pathlib import Path

from vpdata.config import nearest
from vpdata.errors import ConfigError


def read_vocabulary(name: str) -> tuple[str, ...]:
    """The names in a file of this package, or in a text file of your own if `name` is a path that ends in `.txt`.

    Empty lines and those that begin with `#` are left out. ConfigError where there is no such list, or no name in it,
    or one twice.
    """
    if name.endswith(".txt"):
        try:
            text = Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"the vocabulary {name} cannot be read: {error}") from error
    else:
        folder = package_files.files(__name__)
        known = sorted(entry.name.removesuffix(".txt") for entry in folder.iterdir() if entry.name.endswith(".txt"))
        if name not in known:
            tail = nearest(name, known) or f"; known: {', '.join(known)}"
            raise ConfigError(f"unknown vocabulary {name!r}{tail}; one of your own is a path that ends in .txt")
        text = (folder / f"{name}.txt").read_text(encoding="utf-8")
    lines = [line.strip() for line in text.splitlines()]
    names = tuple(line for line in lines if line and not line.startswith("#"))
    if not names:
        raise ConfigError(f"the vocabulary {name} holds no names, wanted one a line")
    if twice := [one for one, count in Counter(names).items() if count > 1]:
        raise ConfigError(f"the vocabulary {name} holds {twice[0]!r} twice, wanted each name once")
    return names
