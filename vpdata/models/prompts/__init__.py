"""Prompts as named text files, so that a run can say which it used and a user can read them."""

from __future__ import annotations

from importlib import resources as package_files

from vpdata.errors import ConfigError


def read_prompt(name: str) -> str:
    """The text of a prompt file of this package, for `str.format`; ConfigError lists the known ones."""
    folder = package_files.files(__name__)
    file = folder / f"{name}.txt"
    if not file.is_file():
        known = sorted(entry.name.removesuffix(".txt") for entry in folder.iterdir() if entry.name.endswith(".txt"))
        raise ConfigError(f"unknown prompt {name!r}; known: {', '.join(known)}")
    return file.read_text(encoding="utf-8")
