"""Prompts as named text files, so that a run can say which it used and a user can read them."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from importlib import resources as package_files
from string import Formatter

from vpdata.errors import ConfigError, StorageError
from vpdata.storage import Folder

_OWN = ".txt"
"""What the path or uri of a user's own prompt ends in, and no name of this package's."""


def read_prompt(name: str) -> str:
    """The text of a prompt file of this package, for `str.format`; ConfigError lists the known ones."""
    folder = package_files.files(__name__)
    file = folder / f"{name}.txt"
    if not file.is_file():
        known = sorted(entry.name.removesuffix(".txt") for entry in folder.iterdir() if entry.name.endswith(".txt"))
        raise ConfigError(f"unknown prompt {name!r}; known: {', '.join(known)}")
    return file.read_text(encoding="utf-8")


def open_prompt(source: str) -> str:
    """As `read_prompt`, and of a user's own file where `source` is a path or uri that ends in `.txt`.

    ConfigError for one that cannot be read, or is empty.
    """
    if not source.endswith(_OWN):
        return read_prompt(source)
    folder, name = posixpath.split(source)
    try:
        text = Folder(folder or ".").read(name).decode("utf-8-sig")
    except (StorageError, ValueError) as error:  # the latter of a name with a backslash, and of what is not UTF-8
        raise ConfigError(f"the prompt {source!r} cannot be read: {error}") from error
    if not text.strip():
        raise ConfigError(f"the prompt {source!r} is empty")
    # One form for all line ends. A text of one line that begins with "/" would be taken for a path to be shortened.
    return text.replace("\r\n", "\n").rstrip() + "\n"


def prompt_name(source: str) -> str:
    """What a run calls a prompt: of a user's own the file's name, since the path may name a user's home."""
    return posixpath.basename(source)


def fields_of(text: str) -> Iterator[str]:
    """What `str.format` fills in, as it stands between the braces; ValueError for a brace that is left alone."""
    for _, name, form, conversion in Formatter().parse(text):
        if name is not None:
            yield name + (f"!{conversion}" if conversion else "") + (f":{form}" if form else "")
