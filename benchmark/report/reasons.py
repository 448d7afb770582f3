"""Reasons as a report may hold them: without folders of the machine that they were written on."""

from __future__ import annotations

import re
from pathlib import Path

# A slash that begins a path, not one inside a URL, a date or a fraction, and all folders up to the last part.
_FOLDERS = re.compile(r"(?<![\w./:~-])~?(?:/[^\s/:;,'\"`()\[\]]+)+/(?=[^\s/])")


def public_reason(reason: str, root: Path) -> str:
    """Of paths the part inside the results' folder `root`, and of others the last part: the rest may name a home."""
    for folder in (root.absolute(), root):
        reason = reason.replace(f"{folder}/", "")
    return _FOLDERS.sub("", reason)
