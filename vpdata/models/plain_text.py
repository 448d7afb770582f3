"""What is kept of a text that a model wrote, which is untrusted."""

from __future__ import annotations

import unicodedata

MAX_CHARACTERS = 8000
"""What is longer is cut: no caption is, and a model caught in a loop fills any limit."""
REASONING = "<think>"
"""What models begin their reasoning with that write it before their answer."""
_DROPPED_CATEGORIES = ("Cc", "Cf", "Cs", "Co", "Cn")
"""Control and format characters (such as those that turn the direction of writing), surrogates, and unassigned ones."""


def plain_text(text: str) -> str:
    """The text without control characters other than line breaks, tabs as spaces, without blanks around it."""
    spaced = text[:MAX_CHARACTERS].replace("\r\n", "\n").replace("\r", "\n").replace("\t", " ")
    kept = (one for one in spaced if one == "\n" or unicodedata.category(one) not in _DROPPED_CATEGORIES)
    return "".join(kept).strip()


def without_reasoning(text: str) -> str:
    """What a model says behind its reasoning, of which some servers and chat templates leave the beginning away.

    Empty where the reasoning has no end.
    """
    _, end, answer = text.rpartition("</think>")
    return "" if not end and text.lstrip().startswith(REASONING) else answer
