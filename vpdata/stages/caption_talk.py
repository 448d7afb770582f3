"""What a model says to whoever asks it, or about the pictures themselves, instead of describing what they show.

A caption speaks in the third person about a scene, so a first or second person gives talk away. What a good caption may
say too ("he is unable to", a sign that reads "I can't stop", "her face cannot be seen") is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_PICTURES = r"(?:frame|image|picture|photo|clip|video|footage)s?"
_A_TEXT = r"(?:caption|description|summary|paragraph|sentence|rewrite|version|response|answer)"

_ANYWHERE = {
    r"\bI(?:'m|'d|'ve|'ll| (?:am|can|can't|cannot|could|couldn't|do|don't|didn't|will|won't|would|have|haven't|must"
    r"|need|see|notice|think|believe|hope|apologi[sz]e|understand|should|want))\b(?: \w+)?"
    r"|\b(?:let|for|to|allow|help|give|tell|with|provide) me\b|\bmy (?:apologies|guidelines|training)\b"
    r"|(?:^|[.!?,] )let's\b": "the first person",
    r"\bas an? (?:ai\b|llm\b|(?:\w+ )?language model|virtual assistant)": "a model about itself",
    r"\b(?:could|can|would) you\b|\bfeel free\b|\byour (?:request|message|question|prompt|instructions)\b"
    r"|\bif you(?:'d|'re| (?:can|could|would|have|need|want|like|tell|share|provide|give|prefer|wish))\b"
    r"|\byou(?:'ve| have) (?:provided|shared|uploaded|attached|sent|given)\b|\b(?:happy|glad) to (?:help|assist)\b"
    r"|\bplease (?:provide|share|upload|try|note|send|attach|specify|clarify)\b": "the second person",
    r"\bthe user (?:wants|asks|asked|is asking|requests|requested|provided|needs|said)\b": "a model's own thoughts",
    r"\b(?:usage|content) (?:policy|policies|guidelines)\b"
    r"|\b(?:request|prompt|question) (?:can't|cannot|could not|couldn't) be\b"
    r"|\b(?:goes against|violates?|violating) (?:(?:the|our|its) )?(?:\w+ )?(?:policy|policies|guidelines|terms)\b"
    rf"|\b{_PICTURES} (?:can't|cannot|could not|couldn't) be (?:processed|loaded|opened|analy[sz]ed)\b"
    r"|\bit(?:'s| is) (?:not possible|impossible) to (?:identify|determine|describe|provide)\b"
    r"|\bit(?:'s| is) (?:unclear|not clear) what\b": "a refusal",
    r"\bword count\b|\bnote:": "a remark about the text",
    r"\b(?:in|from|at|by|to|and) (?:the )?(?:frame|image|picture)s? (?:#|number )?\d|\b(?:frame|image)s? \d+\s*[:(–-]"
    r"|\bin the (?:second|third|fourth|fifth|sixth|seventh|eighth|next) (?:frame|image)\b"
    r"|\bin the (?:first|last|final) image\b|\bnone of the (?:frame|image)s\b": "pictures by number",
    rf"\b(?:the|these|those) (?:provided|given|supplied|attached|uploaded|submitted) {_PICTURES}\b"
    rf"|\b{_PICTURES} (?:(?:that )?(?:were|was|are|is) )?(?:provided|supplied|attached|uploaded)\b": (
        "the pictures as such"
    ),
    r"\bthere (?:is|are) no (?:visible|discernible|recogni[sz]able|identifiable) (?:content|objects?|subjects?)\b"
    rf"|\b{_PICTURES} (?:is|are) too (?:dark|blurry|blurred|unclear|small) to\b"
    rf"|\b{_PICTURES} (?:seem|appear)s? (?:to be )?(?:completely|entirely) (?:black|blank)\b"
    r"|\bnothing (?:\w+ ){0,3}(?:described|discerned|recogni[sz]ed|identified)\b": "a remark that nothing is there",
}
"""Pattern to what it gives away."""
_AT_THE_START = {
    r"(?:sure|certainly|of course|absolutely|definitely|okay|ok|alright|great|got it|understood|no problem|yes|well)"
    r"(?: thing)?\s*(?:[!,.:;–—]|here\b|i\b)": "an opening to the asker",
    rf"(?:here(?:'s| is| are)|below is|the following is)\b[^.!?\n]{{0,60}}?\b{_A_TEXT}\b"
    r"|here you go\b": "an opening to the asker",
    r"(?:(?:so|very|really|truly) )?sorry\b(?!-)|apologies\b|unfortunately\b|regrettably\b": "an apology",
    r"(?:(?:the|a|an) )?(?:(?:final|video|clip|dense|short|detailed|revised|rewritten|object|image|scene) )*"
    rf"{_A_TEXT}(?: of [^.:\n]{{1,40}})?(?: is)?\s*:|(?:assistant|model|user)\s*:": "a heading",
    rf"based on (?:the|these|those) (?:\w+ )?{_PICTURES}\b": "the pictures as such",
}
_OF_AN_OBJECT = {
    r"\bthe outlined \w|\boutline (?:around|surrounding) (?:it|him|her|them)\b": "the outline, not in the video",
    r"^there(?:'s| is| are| (?:seem|appear)s? to be) no\b"
    r"|^there (?:isn't|aren't|doesn't|don't|is not|are not|does not|do not)\b"
    r"|^(?:the|this) (?:\w+ ){1,2}(?:is|are) not (?:\w+ )?(?:visible|present|shown|discernible|identifiable)\b"
    r"|^(?:the|this) (?:object|subject|item|area|region) (?:is|appears|seems)(?: to be)? (?:too|completely|entirely)"
    r" (?:dark|black|blurry|small|hidden)\b": "a remark that nothing is there",
}
_ON_BLACK = re.compile(
    r"\b(?:shown|isolated|pictured|displayed|depicted|cut out)(?: alone)? (?:on|against) (?:a )?(?:\w+ )?black"
    r"(?: background)?(?=[.,;]|$)",
    re.IGNORECASE,
)
"""Where an object is shown alone, it is shown on black."""
_QUOTED = re.compile(r"\"[^\"\n]{1,120}\"|(?<!\w)'(?=\S)(?:[^'\n]|'(?=\w)){1,120}'(?!\w)")
_ONE_KIND_OF_QUOTES = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"'})


def _compiled(patterns: dict[str, str]) -> list[tuple[re.Pattern[str], str]]:
    return [(re.compile(pattern, re.IGNORECASE), what) for pattern, what in patterns.items()]


_OF_ANYTHING = _compiled(_ANYWHERE | {f"^(?:{pattern})": what for pattern, what in _AT_THE_START.items()})
_OF_OBJECTS = _compiled(_OF_AN_OBJECT)


def unquoted(text: str) -> str:
    """The text without what is written on signs and shirts; quotes around all of it are no quotation."""
    plain = text.strip().translate(_ONE_KIND_OF_QUOTES)
    if plain.startswith('"') and plain.endswith('"') and plain.count('"') == 2:
        plain = plain[1:-1]
    return _QUOTED.sub('""', plain)


def talk_in(
    text: str, *, label: str | None, may_be_on_black: Callable[[], bool] = lambda: False
) -> tuple[str, str] | None:
    """The first words of an unquoted text that no description has, and what they give away; `label` None for a clip.

    `may_be_on_black` is asked whether the video itself may show the object before black, if the text says so.
    """
    patterns = _OF_ANYTHING
    if label is not None:
        absent = rf"\bno (?:\w+ )?{re.escape(label)}s? (?:is|are|can be|to be) (?:visible|seen|shown)\b"
        absent += rf"|\bwith no {re.escape(label)}\b"
        patterns = [*_OF_ANYTHING, *_OF_OBJECTS, (re.compile(absent, re.IGNORECASE), "a remark that nothing is there")]
    for pattern, what in patterns:
        if match := pattern.search(text):
            return match[0], what
    black = _ON_BLACK.search(text) if label is not None else None
    return (black[0], "the black, not in the video") if black and not may_be_on_black() else None
