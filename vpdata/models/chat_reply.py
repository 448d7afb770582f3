"""Reads what an OpenAI-compatible server replies. Replies are untrusted: nothing in them is taken on faith."""

from __future__ import annotations

import email.utils
import json
import math
import time
from dataclasses import replace
from typing import Any

from vpdata.models.answers import Answer
from vpdata.models.plain_text import plain_text, without_reasoning

MAX_REPLY_BYTES = 1_000_000
"""A caption with all its wrapping has a few thousand."""
_CONTENT_WORDS = ("content_policy", "content_filter", "contentfilter", "responsibleai", "moderation", "safety")
"""In the code of an error that refuses what a picture or a prompt shows; providers agree on no single one."""
_TEXT_PARTS = ("text", "output_text")
_OUT_OF_TOKENS = ("length", "max_tokens")
_MALFORMED = (ValueError, RecursionError, LookupError, TypeError, AttributeError)
"""What walking through JSON of another shape raises."""


class BadReply(Exception):  # noqa: N818  it names an outcome, not a fault of ours
    """The server failed on a request: a fault of either."""

    def __init__(self, detail: str, *, spent: Answer | None = None) -> None:
        super().__init__(detail)
        self.spent = spent
        """What the server counted nevertheless."""


class OutOfTokens(Exception):  # noqa: N818
    """The model used up its tokens before the first word of an answer, as one does that reasons for long."""

    def __init__(self, spent: Answer) -> None:
        super().__init__(
            f"its {spent.output_tokens or 'allowed'} tokens were used up before the first word (finish_reason length); "
            "raise max_tokens in the captioner's parameters, or turn the model's reasoning off"
        )
        self.spent = spent


def parse_completion(content_type: str, reply: bytes) -> Answer:
    """The text of the first choice without the model's reasoning, empty where it declines or says nothing.

    OutOfTokens where there is none yet, BadReply for what is no chat completion.
    """
    if len(reply) > MAX_REPLY_BYTES:
        raise BadReply(f"the answer has more than {MAX_REPLY_BYTES} bytes")
    if "json" not in content_type:
        raise BadReply(f"got the content type {content_type[:80]!r}, wanted JSON")
    spent = None
    try:
        data = json.loads(reply)
        spent = _spent(data)
        choice = data["choices"][0]
        message = choice["message"]
        said = without_reasoning(_text(message.get("content")))
        finish = str(choice.get("finish_reason") or "").lower()
        if choice.get("error") or finish == "error":
            raise ValueError("the server failed on the way")  # not in its words, which may quote the key
        is_refused = bool(message.get("refusal")) or _is_refusal(message.get("content")) or _refuses(finish)
    except _MALFORMED as error:
        detail = f"the answer is no chat completion ({type(error).__name__}: {str(error)[:80]})"
        raise BadReply(detail, spent=spent) from error
    answer = replace(spent, text="" if is_refused else plain_text(said), is_declined=is_refused)
    if not answer.text and finish in _OUT_OF_TOKENS:
        raise OutOfTokens(answer)
    return answer


def _spent(data: Any) -> Answer:
    """An answer without a text."""
    usage = data.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    return Answer(
        text="",
        input_tokens=_count(counts.get("prompt_tokens")),
        output_tokens=_count(counts.get("completion_tokens")),
    )


def _text(content: Any) -> str:
    """Of a string, or of the parts of a list that are text, as some servers write it; ValueError for what is neither.

    Parts of other kinds hold a refusal or the model's reasoning.
    """
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise ValueError(f"got a {type(content).__name__} as the answer, wanted text")
    kinds = [part["type"] for part in content]
    if unknown := set(kinds) - {*_TEXT_PARTS, "refusal", "thinking", "reasoning"}:
        raise ValueError(f"got the part {sorted(unknown)[0]!r} as the answer, wanted text")
    return "".join(part["text"] for part in content if part["type"] in _TEXT_PARTS)


def _refuses(finish: str) -> bool:
    """Whether the reason to finish is what a picture or a text shows, in the words of OpenAI, Azure and Gemini."""
    return any(word in finish for word in ("content_filter", "safety", "prohibited_content", "blocklist"))


def _is_refusal(content: Any) -> bool:
    return isinstance(content, list) and any(part["type"] == "refusal" for part in content)


def error_status(reply: bytes) -> int | None:
    """The HTTP status that an error in a body stands for, which some gateways send as 200; None for what is none."""
    try:
        data = json.loads(reply)
        if data.get("choices") or not isinstance(data.get("error"), dict):
            return None
        code = int(data["error"].get("code"))
    except (*_MALFORMED, OverflowError):
        return None
    return code if 400 <= code < 600 else None


def is_content_refusal(reply: bytes) -> bool:
    """Whether an error is about what a picture or a prompt shows. Its message is not looked at: it may quote either."""
    try:
        error = json.loads(reply)["error"]
        code = f"{error.get('code')} {error.get('type')} {(error.get('innererror') or {}).get('code')}".lower()
    except _MALFORMED:
        return False
    return any(word in code for word in _CONTENT_WORDS)


def read_retry_after(header: str | None) -> float:
    """Seconds from now, from a number or a date; 0.0 where there is none that can be read."""
    try:
        seconds = float(header or 0)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(str(header)).timestamp() - time.time()
        except (ValueError, OverflowError):
            return 0.0
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0
