"""Captions by a model behind an OpenAI-compatible server, with what they cost."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from vpdata.config import public
from vpdata.errors import BackendError
from vpdata.models.answers import Answers, question_key
from vpdata.models.object_views import shown_images
from vpdata.models.openai_server import AS_SERVED, ChatServer, ServerSettings
from vpdata.models.plain_text import plain_text, without_reasoning
from vpdata.models.ports import CaptionRequest, ModelCard, unheard
from vpdata.storage import Folder

_log = logging.getLogger(__name__)
_MAX_UNFINISHED = 20
"""Texts that may be lost to a server's limits before the first answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAICaptionerSettings(ServerSettings):
    """As `ServerSettings`, and what answers cost and where they are kept."""

    answers: str | None = None
    """Folder or bucket that keeps every answer, shared by all workers and outside the run, so that not even `--redo`
    pays twice; on a cluster an absolute path or a uri. None: what is not yet in a finished part is asked again."""
    usd_per_million_input_tokens: float = 0.0
    usd_per_million_output_tokens: float = 0.0

    def __post_init__(self) -> None:
        ServerSettings.__post_init__(self)
        for name in ("usd_per_million_input_tokens", "usd_per_million_output_tokens"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: got {getattr(self, name)}, wanted 0 or more")

    def card(self, role: str) -> ModelCard:
        """Without what cannot change an answer: the address, the patience, the prices."""
        return ModelCard(
            role=role,
            name=f"openai {public(self.model)}",
            revision=self.revision,
            licence=self.licence,
            source="an OpenAI-compatible server",
            options={"parameters": self.sent},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a captioner has asked for so far; attempts that broke off are not in it, since no server says their cost."""

    num_paid: int = 0
    """Answers with a text, or at least with tokens: a request that was refused unread costs nothing."""
    num_kept: int = 0
    """Answers that were taken from the folder of answers."""
    input_tokens: int = 0
    """Of all that the server counted, also of answers that were of no use."""
    output_tokens: int = 0
    usd: float = 0.0


class OpenAICaptioner:
    """A `Captioner` that has several requests on their way at once; "" for what the server declines to answer."""

    def __init__(self, settings: OpenAICaptionerSettings) -> None:
        self._settings = settings
        self._server = ChatServer(settings)
        self._answers = Answers(Folder(settings.answers)) if settings.answers else None
        self._lock = threading.Lock()
        self._num_paid = self._num_kept = 0

    @property
    def cost(self) -> Cost:
        """The sum over all calls."""
        settings, (input_tokens, output_tokens) = self._settings, self._server.spent
        usd_in = input_tokens * settings.usd_per_million_input_tokens / 1e6
        usd_out = output_tokens * settings.usd_per_million_output_tokens / 1e6
        return Cost(
            num_paid=self._num_paid,
            num_kept=self._num_kept,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            usd=usd_in + usd_out,
        )

    def caption(self, requests: Sequence[CaptionRequest], *, alive: Callable[[], None] = unheard) -> list[str]:
        def text_of(request: CaptionRequest) -> str:
            text = self._text(request)
            alive()
            return text

        executor = ThreadPoolExecutor(self._settings.concurrency, thread_name_prefix="caption")
        try:
            texts = list(executor.map(text_of, requests))
        finally:
            executor.shutdown(cancel_futures=True)
        cost = self.cost
        _log.info(
            "%s, this worker so far: %d answers paid and %d kept, %d tokens in, %d out, %.4f USD",
            *(self._settings.model, cost.num_paid, cost.num_kept, cost.input_tokens, cost.output_tokens, cost.usd),
        )
        return texts

    def _text(self, request: CaptionRequest) -> str:
        images = shown_images(request)
        settings = self._settings
        key = question_key(
            model=settings.model,
            revision=None if settings.revision == AS_SERVED else settings.revision,
            prompt=request.prompt,
            images=images,
            parameters=settings.sent,
        )
        kept = self._answers.get(key) if self._answers else None
        if kept is not None:
            with self._lock:
                self._num_kept += 1
            return plain_text(without_reasoning(kept.text))
        answer = self._server.answer(request.prompt, images=images)
        if answer is None:
            self._refuse_barren()
            return ""
        if self._answers and (answer.text or answer.is_declined):  # silence may have been a passing fault
            self._answers.put(key, answer)
        if answer.text or answer.input_tokens or answer.output_tokens:
            with self._lock:
                self._num_paid += 1
        return answer.text

    def _refuse_barren(self) -> None:
        """BackendError where limits that a plain question keeps within leave no request an answer."""
        num_lost = self._server.num_unfinished
        if num_lost >= _MAX_UNFINISHED and not self._num_paid and not self._num_kept:
            raise BackendError(
                f"{self._settings.model} has finished none of the first {num_lost} answers, though it answers plain "
                "questions; the warnings above say why: raise max_tokens in the captioner's parameters, or its "
                "request_timeout_s; or ask for less at once, which is `concurrency` times the workers of the stage"
            )
