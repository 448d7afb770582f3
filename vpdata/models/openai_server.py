"""One OpenAI-compatible server (vLLM, SGLang, a hosted model): asks, waits, and tells whose fault a failure is."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import math
import os
import random
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import cv2
import httpx
import numpy as np

from vpdata.errors import BackendError
from vpdata.models.answers import Answer
from vpdata.models.chat_reply import (
    MAX_REPLY_BYTES,
    BadReply,
    OutOfTokens,
    error_status,
    is_content_refusal,
    parse_completion,
    read_retry_after,
)
from vpdata.models.plain_text import plain_text
from vpdata.models.ports import Image
from vpdata.models.turns import Turns

_log = logging.getLogger(__name__)
# httpx logs each URL at INFO and httpcore each header, with the key, at DEBUG.
logging.getLogger("httpx").setLevel(logging.WARNING)
logging.getLogger("httpcore").setLevel(logging.WARNING)

AS_SERVED = "as served"
"""Revision of a model of which nobody says one."""
_BUSY = (425, 429, 529)
_BUSY_OR_BROKEN = (408, 502, 503, 504)
"""Of a gateway: too much to do, or one request that takes too long or crashes the replica that it reaches."""
_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.5, 30.0
_CONNECT_TIMEOUT_S = 10.0
_JPEG_QUALITY = 90
_PARAMETERS: dict[str, Any] = {"max_tokens": 512, "temperature": 0.0}
_PLAIN_PROMPT = "What colour is this? Answer with one word."
_GREY = np.uint8(128)
_PLAIN_PICTURE = np.full((64, 64, 3), _GREY)
_WAY_OUT = (
    "; where a limit is to blame, raise it (of vLLM --limit-mm-per-prompt and --max-model-len, of a proxy the size of "
    "a body), or show less (caption.num_key_frames, num_track_key_frames, max_short_side_px)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Which model at which server, and how patiently it is asked."""

    base_url: str
    """Such as `http://127.0.0.1:8000/v1`; without user, password or query, since a run stores its settings."""
    model: str
    """As the server calls it."""
    revision: str = AS_SERVED
    """Of the model; the server does not say. Another one is another model: nothing of the old one is used for it."""
    licence: str = "as its provider states"
    api_key_env: str | None = None
    """Name of the environment variable, on every worker, that holds the key; None: the server wants none."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Sent beside the model and the messages, over `max_tokens: 512` and `temperature: 0`; null leaves one of them out.
    """
    concurrency: int = 8
    """Requests on their way at once, of each worker; a batch of the stage must be as large, better several times."""
    request_timeout_s: float = 60.0
    """Longest time one attempt may take, from the connection to the last byte."""
    max_attempts: int = 3
    """Of a request that fails while the server answers others; then it is taken for the cause, and gets no text. More
    for a server that turns some requests away by 502, 503 or 504 when it has too much to do. The last attempt of one
    that took too long waits until no other of its worker is on its way."""
    wait_for_s: float = 300.0
    """How long a server that answers nothing is waited for before the run stops. `longest_silence_s` must stay below
    the stage's `resources.timeout_s`, or the engine takes the waiting for a hang."""

    def __post_init__(self) -> None:
        url = urlsplit(self.base_url)
        if "@" in url.netloc or url.query or url.fragment:
            raise ValueError("base_url: got one with a user, a query or a fragment; give the key by api_key_env")
        if url.scheme not in ("http", "https") or not url.hostname or url.port == 0:
            raise ValueError(f"base_url: got {self.base_url!r}, wanted such as http://127.0.0.1:8000/v1")
        for name in ("concurrency", "max_attempts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, wanted at least 1")
        for name in ("request_timeout_s", "wait_for_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name}: got {getattr(self, name)}, wanted more than 0 seconds")
        if taken := sorted({"model", "messages", "stream", "n"} & self.parameters.keys()):
            raise ValueError(f"parameters: got {', '.join(taken)}, which are not free to choose")

    @property
    def sent(self) -> dict[str, Any]:
        """What goes beside the model and the messages."""
        return {name: value for name, value in {**_PARAMETERS, **self.parameters}.items() if value is not None}

    @property
    def longest_silence_s(self) -> float:
        """Until a server that answers nothing stops the run.

        The requests that one waits for so as to be asked alone, its own last attempt, and a plain question may follow.
        """
        return self.wait_for_s + 3 * self.request_timeout_s


class _Unavailable(Exception):  # noqa: N818  what the server is, not an error of ours
    """The server is down, or has too much to do: no request is to blame."""

    def __init__(self, detail: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class _Refused(Exception):  # noqa: N818
    """The server will not take this request."""


class _TooSlow(BadReply):
    """No whole answer in time: for this request, or for all that are asked at once."""


_HOPELESS = (_Refused, OutOfTokens)
"""What would happen again, however often it is asked."""


class ChatServer:
    """Asks one question at a time for each thread that calls it.

    A server that answers nobody is waited for, then BackendError stops the run. A request gets None that is refused
    while the server answers a plain one of the same form, or that fails while it answers a small one.
    """

    def __init__(self, settings: ServerSettings, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._settings, self._sleep = settings, sleep
        self._key = api_key(settings.api_key_env)
        self._client = httpx.AsyncClient(
            headers={"Content-Type": "application/json"}
            | ({"Authorization": f"Bearer {self._key}"} if self._key else {}),
            timeout=httpx.Timeout(None, connect=_CONNECT_TIMEOUT_S),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=settings.concurrency),
        )
        self._loop = _started_loop()
        weakref.finalize(self, self._loop.call_soon_threadsafe, self._loop.stop)
        self._url = f"{settings.base_url.rstrip('/')}/chat/completions"
        self._lock, self._turns = threading.Lock(), Turns()
        self._answered_at = self._closed_until = -math.inf
        self._spent = (0, 0)
        self._num_unfinished = 0

    @property
    def num_unfinished(self) -> int:
        """Requests that got None though the server did not refuse them: it ran out of tokens or time, or broke down."""
        return self._num_unfinished

    @property
    def spent(self) -> tuple[int, int]:
        """Tokens in and out of all that was answered, also of plain questions and of answers without a text."""
        return self._spent

    def answer(self, prompt: str, *, images: Sequence[Image]) -> Answer | None:
        """The answer to a prompt about uint8 [H, W, 3] RGB images; None where the server fails on this one alone."""
        body = self._body(prompt, images)
        asked_at, delay_s, num_failures, is_slow = time.monotonic(), _FIRST_DELAY_S, 0, False
        while True:
            is_hopeless, retry_after_s = False, 0.0
            is_last = num_failures == self._settings.max_attempts - 1
            try:
                return self._post_in_turn(body, alone=is_last and is_slow and self._answered_at > asked_at)
            except _Unavailable as unavailable:
                failure: Exception = unavailable
                retry_after_s = unavailable.retry_after_s
            except BadReply as reply:
                failure, is_slow = reply, isinstance(reply, _TooSlow)
                num_failures += 1
                is_hopeless = num_failures >= self._settings.max_attempts
            except _HOPELESS as refusal:
                failure, is_hopeless = refusal, True
            if is_hopeless:
                if isinstance(failure, _HOPELESS):
                    plain_failure = self._ask_plainly(prompt, images, num_bytes=len(body))
                else:  # one of the same form would be as slow, and say nothing of whether others are answered
                    plain_failure = self._ask_plainly("", [_PLAIN_PICTURE] if images else [], num_bytes=0)
                if plain_failure is None:
                    self._note_lost(failure)
                    return None
                if isinstance(failure, _HOPELESS) and isinstance(plain_failure, _HOPELESS):
                    raise BackendError(
                        f"{self._url} fails on a harmless request of the same form too ({_form(images, len(body))}): "
                        f"{failure}{_WAY_OUT if isinstance(failure, _Refused) else ''}"
                    ) from failure
                num_failures = 0  # of a server that fails on everything they say nothing about this request
            self._wait(delay_s, retry_after_s, since=max(asked_at, self._answered_at), failure=failure)
            delay_s = min(2 * delay_s, _LONGEST_DELAY_S)

    def _wait(self, delay_s: float, retry_after_s: float, *, since: float, failure: Exception) -> None:
        """BackendError where that would be longer than a silent server is waited for."""
        silent_s, longest_s = time.monotonic() - since, self._settings.wait_for_s
        if silent_s >= longest_s or silent_s + retry_after_s > longest_s:
            raise BackendError(
                f"{self._url} has answered nothing for {silent_s:.1f} s ({failure}), and wait_for_s is {longest_s:g}; "
                "finished work is kept: run the same command again when the server is back"
            ) from failure
        with self._lock:
            self._closed_until = max(self._closed_until, time.monotonic() + retry_after_s)
        # Spread, so that requests that failed together do not come back together.
        wait_s = min(max(delay_s * random.uniform(1.0, 1.25), retry_after_s), longest_s - silent_s)
        _log.info("%s: %s; asked again in %.1f s", self._url, failure, wait_s)
        self._sleep(wait_s)

    def _hold_back(self) -> None:
        """Wait while the server wants no requests from anybody."""
        self._sleep(max(0.0, self._closed_until - time.monotonic()))

    def _ask_plainly(self, prompt: str, images: Sequence[Image], *, num_bytes: int) -> Exception | None:
        """How a harmless request fails that is as large as another; None: it is answered.

        It has as many grey pictures of the same sizes, a prompt and a body as long: a server may limit any of them.
        """
        long_prompt = " ".join([_PLAIN_PROMPT] * math.ceil(len(prompt) / len(_PLAIN_PROMPT)))
        plain_prompt = max(_PLAIN_PROMPT, long_prompt[: len(prompt)], key=len)
        grey = [np.full_like(image, _GREY) for image in images]
        try:
            # JSON may end in blanks.
            self._post_in_turn(self._body(plain_prompt, grey).ljust(num_bytes), alone=False)
        except (_Unavailable, BadReply, *_HOPELESS) as failure:
            return failure
        return None

    def _body(self, prompt: str, images: Sequence[Image]) -> bytes:
        """JSON of one message: pictures, then the prompt."""
        content = [*map(_picture, images), {"type": "text", "text": prompt}]
        message = {"role": "user", "content": content}
        return json.dumps({"model": self._settings.model, "messages": [message], **self._settings.sent}).encode()

    def _post_in_turn(self, body: bytes, *, alone: bool) -> Answer:
        """With `alone` none of our other requests is on its way: a queue of them makes each too slow.

        Not where the server has gone silent meanwhile: those that wait for their turn would wait one after another.
        """
        self._hold_back()
        if alone:
            with self._turns.alone():
                if time.monotonic() - self._answered_at < self._settings.request_timeout_s:
                    return self._post(body)
        with self._turns.beside():
            if self._closed_until <= time.monotonic():
                return self._post(body)
        # Closed while this one waited for its turn.
        self._hold_back()
        with self._turns.beside():
            return self._post(body)

    def _post(self, body: bytes) -> Answer:
        settings = self._settings
        sending = asyncio.run_coroutine_threadsafe(self._send(body), self._loop)
        try:
            response, reply = sending.result()
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise _Unavailable(f"no connection: {error}") from error
        except TimeoutError as error:
            raise _TooSlow(f"no whole answer within {settings.request_timeout_s:g} s") from error
        except httpx.RequestError as error:
            raise BadReply(f"the answer broke off: {error}") from error
        try:
            answer = self._understood(response, reply)
        except OutOfTokens as cut:
            self._note(cut.spent)
            raise
        except BadReply as bad:
            self._count(bad.spent)
            raise
        self._note(answer)
        return answer

    def _note(self, answer: Answer) -> None:
        """That the server is alive, and what it counted."""
        with self._lock:
            self._answered_at = time.monotonic()
        self._count(answer)

    def _count(self, answer: Answer | None) -> None:
        if answer is not None:
            with self._lock:
                tokens_in, tokens_out = self._spent
                self._spent = (tokens_in + answer.input_tokens, tokens_out + answer.output_tokens)

    def _note_lost(self, failure: Exception) -> None:
        _log.warning("%s fails on one request (%s); it gets no text", self._url, failure)
        if not isinstance(failure, _Refused):
            with self._lock:
                self._num_unfinished += 1

    async def _send(self, body: bytes) -> tuple[httpx.Response, bytes]:
        """TimeoutError at the deadline. A task, since httpx's own time-outs begin anew with each byte."""
        async with (
            asyncio.timeout(self._settings.request_timeout_s),
            self._client.stream("POST", self._url, content=body) as response,
        ):
            return response, await _read(response)

    def _understood(self, response: httpx.Response, reply: bytes) -> Answer:
        status = response.status_code
        if status == 200:
            status = error_status(reply) or status
        if status == 200:
            return parse_completion(response.headers.get("content-type", ""), reply)
        said = " ".join(plain_text(reply.decode("utf-8", "replace")).split())
        # Some servers quote the key that they do not know.
        detail = f"status {status}: {(said.replace(self._key, '[key]') if self._key else said)[:300]}"
        retry_after_s = read_retry_after(response.headers.get("retry-after"))
        if status in _BUSY or (status in _BUSY_OR_BROKEN and retry_after_s):
            raise _Unavailable(detail, retry_after_s=retry_after_s)
        if status in _BUSY_OR_BROKEN or status >= 500:
            raise BadReply(detail)
        if is_content_refusal(reply):
            return Answer(text="", input_tokens=0, output_tokens=0, is_declined=True)
        raise _Refused(detail)


def api_key(variable: str | None) -> str:
    """The key that an environment variable holds, "" for None; BackendError that never quotes it."""
    if variable is None:
        return ""
    key = os.environ.get(variable, "").strip()
    # httpx quotes a header that it cannot send.
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        got = "no value" if not key else "a value with blanks or characters that no key has"
        raise BackendError(f"the environment variable {variable} has {got}, wanted the key of the caption server")
    return key


def _started_loop() -> asyncio.AbstractEventLoop:
    """An event loop on a thread of its own, which ends when the loop is stopped."""
    loop = asyncio.new_event_loop()

    def run() -> None:
        loop.run_forever()
        loop.close()

    threading.Thread(target=run, name="caption-server", daemon=True).start()
    return loop


async def _read(response: httpx.Response) -> bytes:
    """At most one byte more than is allowed."""
    reply = bytearray()
    async for chunk in response.aiter_bytes():
        reply += chunk
        if len(reply) > MAX_REPLY_BYTES:
            break
    return bytes(reply[: MAX_REPLY_BYTES + 1])


def _form(images: Sequence[Image], num_bytes: int) -> str:
    """What a server may have limits for, in words."""
    if not images:
        return f"no pictures, {num_bytes} bytes"
    height_px, width_px = (max(image.shape[axis] for image in images) for axis in (0, 1))
    return f"{len(images)} picture(s) of up to {width_px}x{height_px} px, {num_bytes} bytes"


def _picture(image: Image) -> dict[str, Any]:
    """As JPEG in a data URL: a picture needs no second server that way."""
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    is_written, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    assert is_written
    return {
        "type": "image_url",
        "image_url": {"url": f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"},
    }
