"""Scores and the embedding of a clip, measured on frames spread over it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from vpdata import models
from vpdata.config import ModelChoice
from vpdata.errors import BackendError, ConfigError, Reason, RejectItem
from vpdata.media.clips import scaled_size
from vpdata.models.ports import Embedder, Frames, Image, ModelCard, Scorer
from vpdata.records import Embedding, Record, Score, ScoreName
from vpdata.stages.semantic_duplicates import to_text


class Scoring:
    """Asks any number of scorers, and an embedder, about one clip at a time. Picklable before `setup`.

    ConfigError for two scorers that measure the same. After it, several threads may measure clips at once.
    """

    def __init__(self, scorers: Sequence[ModelChoice], embedder: ModelChoice | None) -> None:
        _refuse_doubles(scorers)
        self.models: tuple[ModelCard, ...] = tuple(models.describe("scorer", choice) for choice in scorers)
        self._make_scorers = [models.maker("scorer", choice) for choice in scorers]
        self._declared = [frozenset(models.scores_of("scorer", choice)) for choice in scorers]
        self._make_embedder = models.maker("embedder", embedder) if embedder else None
        if embedder:
            self.models += (models.describe("embedder", embedder),)

    def setup(self) -> None:
        """Load the models."""
        self._scorers: list[Scorer] = [make() for make in self._make_scorers]
        self._embedder: Embedder | None = self._make_embedder() if self._make_embedder else None

    def frames(self, num_frames: int, *, fps: float) -> list[tuple[int, ...]]:
        """For each model the frames of a clip that it wants to see."""
        return [key_frames(num_frames, fps=fps, interval_s=1 / model.sample_fps) for model in self._models]

    def samples(self, images: Mapping[int, Image], frames: Sequence[tuple[int, ...]]) -> tuple[Frames, ...]:
        """For each model its `frames` at its size, from `images`: frame to uint8 [H, W, 3] RGB at full size.

        Models that want the same share one array.
        """
        made: dict[tuple[tuple[int, ...], int], Frames] = {}
        for model, wanted in zip(self._models, frames, strict=True):
            key = wanted, model.max_short_side_px
            if key not in made:
                made[key] = scaled([images[frame] for frame in wanted], model.max_short_side_px)
        pairs = zip(self._models, frames, strict=True)
        return tuple(made[wanted, model.max_short_side_px] for model, wanted in pairs)

    def measured(self, record: Record, samples: Sequence[Frames]) -> Record:
        """The record with all scores, in the place of older ones of the same name, and the embedding.

        RejectItem(score_failed) for an embedding without a direction, which would stop the run's search for duplicates.
        BackendError for a scorer that gives what it did not declare.
        """
        scores = {score.name: score for score in record.scores}
        asked = zip(self._scorers, self._declared, self.models, samples, strict=False)
        for scorer, declared, card, frames in asked:
            values = scorer.score(frames, fps=len(frames) / record.clip.duration_s)
            if undeclared := values.keys() - declared:
                # Rules and doubles were checked by what is declared.
                raise BackendError(
                    f"{_named(card)} gave the scores {sorted(undeclared)} beside its own, which are {sorted(declared)}"
                )
            scores |= {name: Score(name=name, value=value, model=_named(card)) for name, value in values.items()}
        embedding = self.embedding(samples[-1]) if self._embedder else record.embedding
        return dataclasses.replace(record, scores=tuple(scores.values()), embedding=embedding)

    def embedding(self, frames: Frames) -> Embedding:
        """The embedder's, of its `samples`; RejectItem as of `measured`."""
        assert self._embedder is not None, "asked for by who named one"
        vector = self._embedder.embed(frames)
        length = float(np.linalg.norm(vector.astype(np.float64)))
        if not 0 < length < np.inf:
            detail = f"{_named(self.models[-1])} gave an embedding without a direction"
            raise RejectItem(Reason.SCORE_FAILED, detail, got=f"length {length:g}", wanted="finite numbers, not all 0")
        return Embedding(model=_named(self.models[-1]), values=to_text(vector))

    @property
    def _models(self) -> list[Scorer | Embedder]:
        return [*self._scorers, *([self._embedder] if self._embedder else [])]


def _refuse_doubles(scorers: Sequence[ModelChoice]) -> None:
    by: dict[ScoreName, str] = {}
    for choice in scorers:
        for score in models.scores_of("scorer", choice):
            if score in by:
                raise ConfigError(
                    f"detect.scorers: got {by[score]!r} and {choice.name!r}, which both measure {score!r}; leave one "
                    "out, or switch that score off by an option (openclip's `safety: false` or `aesthetic_head: null`)"
                )
            by[score] = choice.name


def key_frames(num_frames: int, *, fps: float, interval_s: float) -> tuple[int, ...]:
    """Indices of the middle frames of equal spans of about `interval_s` each; at least one for a clip of any length."""
    num_spans = min(max(1, round(num_frames / fps / interval_s)), num_frames)
    return tuple(int((span + 0.5) * num_frames / num_spans) for span in range(num_spans))


def scaled(images: Sequence[Image], max_short_side_px: int) -> Frames:
    """uint8 [N, H, W, 3] RGB of images of one size, scaled down as `ClipReader` does it."""
    height, width = images[0].shape[:2]
    size = scaled_size(width, height, max_short_side_px)
    if size != (width, height):
        images = [np.asarray(cv2.resize(one, size, interpolation=cv2.INTER_AREA), dtype=np.uint8) for one in images]
    return np.stack(images)


def _named(card: ModelCard) -> str:
    return f"{card.name} {card.revision}"
