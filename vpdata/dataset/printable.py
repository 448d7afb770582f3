"""Text from source lists and models, made fit for a terminal and a page."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""`text` in one line; what steers a terminal or hides (ESC, newline, NUL, turned writing) becomes `\x1b`, say."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
