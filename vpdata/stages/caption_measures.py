"""Words and repetition of a caption: scores of the caption stage, and two of its checks."""

from __future__ import annotations

import re
from collections import Counter

_WORD = re.compile(r"\w+(?:['’-]\w+)*")
_PHRASE_WORDS = 3


def caption_measures(text: str) -> tuple[int, float]:
    """Number of words, and the share in [0, 1] of three-word phrases that repeat an earlier one.

    A model that is caught in a loop comes near 1. 0.0 for fewer than four words. After the repetition filters of Gopher
    (Rae et al. 2021, appendix A). A text written without spaces counts as one word per run of letters.
    """
    words = _WORD.findall(text.casefold())
    phrases = Counter(zip(*(words[start:] for start in range(_PHRASE_WORDS)), strict=False))
    num_phrases = phrases.total()
    return len(words), (num_phrases - len(phrases)) / num_phrases if num_phrases else 0.0
