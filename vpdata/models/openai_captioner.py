"""Captions by a model behind an OpenAI-compatible server, with what they cost."""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from vpdata.config import public
from vpdata.models.answers import Answer, Answers, question_key
from vpdata.models.object_views import shown_images
from vpdata.models.openai_server import ChatServer, ServerSettings
from vpdata.models.ports import CaptionRequest, ModelCard
from vpdata.storage import Folder

_log = logging.getLogger(__name__)


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
            options={"parameters": dict(self.parameters)},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a captioner has asked for so far; attempts that broke off are not in it, since no server says their cost."""

    num_paid: int = 0
    num_kept: int = 0
    """Answers that were taken from the folder of answers."""
    input_tokens: int = 0
    """Of the paid answers."""
    output_tokens: int = 0
    usd: float = 0.0


class OpenAICaptioner:
    """A `Captioner` that has several requests on their way at once; "" for what the server declines to answer."""

    def __init__(self, settings: OpenAICaptionerSettings) -> None:
        self._settings = settings
        self._server = ChatServer(settings)
        self._answers = Answers(Folder(settings.answers)) if settings.answers else None
        self._lock = threading.Lock()
        self._cost = Cost()

    @property
    def cost(self) -> Cost:
        """The sum over all calls."""
        return self._cost

    def caption(self, requests: Sequence[CaptionRequest]) -> list[str]:
        executor = ThreadPoolExecutor(self._settings.concurrency, thread_name_prefix="caption")
        try:
            texts = list(executor.map(self._text, requests))
        finally:
            executor.shutdown(cancel_futures=True)
        cost = self._cost
        _log.info(
            "%s, this worker so far: %d answers paid and %d kept, %d tokens in, %d out, %.4f USD",
            *(self._settings.model, cost.num_paid, cost.num_kept, cost.input_tokens, cost.output_tokens, cost.usd),
        )
        return texts

    def _text(self, request: CaptionRequest) -> str:
        images = shown_images(request)
        settings = self._settings
        key = question_key(
            model=settings.model, prompt=request.prompt, images=images, parameters=dict(settings.parameters)
        )
        kept = self._answers.get(key) if self._answers else None
        if kept is not None:
            self._count(kept, is_kept=True)
            return kept.text
        answer = self._server.answer(request.prompt, images=images)
        if answer is None:
            return ""
        if self._answers:
            self._answers.put(key, answer)
        self._count(answer, is_kept=False)
        return answer.text

    def _count(self, answer: Answer, *, is_kept: bool) -> None:
        settings = self._settings
        usd_in = answer.input_tokens * settings.usd_per_million_input_tokens / 1e6
        usd_out = answer.output_tokens * settings.usd_per_million_output_tokens / 1e6
        with self._lock:
            old = self._cost
            if is_kept:
                self._cost = dataclasses.replace(old, num_kept=old.num_kept + 1)
            else:
                self._cost = Cost(
                    num_paid=old.num_paid + 1,
                    num_kept=old.num_kept,
                    input_tokens=old.input_tokens + answer.input_tokens,
                    output_tokens=old.output_tokens + answer.output_tokens,
                    usd=old.usd + usd_in + usd_out,
                )
