"""What CLIP tells of a clip: its looks, its safety, its place among other clips, and how well a text fits it."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch.nn.functional import normalize

from vpdata.errors import BackendError
from vpdata.models.openclip.aesthetic import AestheticHead
from vpdata.models.openclip.loading import ClipModel, load_clip
from vpdata.models.openclip.safety import ZeroShotSafety
from vpdata.models.openclip.settings import ClipSampledSettings, ClipScoresSettings, ClipSettings
from vpdata.models.ports import Frames
from vpdata.records import ScoreName

_SENTENCE_END = re.compile(r"(?<=[.!?。！？])\s+")


class ClipScores:
    """A Scorer of aesthetic, the mean over the frames, and unsafe, the largest of any frame."""

    def __init__(self, settings: ClipScoresSettings) -> None:
        self.sample_fps = settings.sample_fps
        self._model = _load(settings)
        self.max_short_side_px = self._model.image_size_px
        self._safety = ZeroShotSafety(self._model) if settings.safety else None
        self._aesthetic: AestheticHead | None = None
        if settings.aesthetic_head is not None:
            self._aesthetic = AestheticHead(settings.aesthetic_head, None)
            num_values = self._model.num_values
            if self._aesthetic.num_values != num_values:
                raise BackendError(
                    f"{settings.aesthetic_head}: got a head for embeddings of {self._aesthetic.num_values} numbers, "
                    f"wanted {num_values} as {settings.weights} gives; LAION's heads are for OpenAI's ViT-L/14"
                )

    def score(self, frames: Frames, *, fps: float) -> Mapping[ScoreName, float | None]:
        """The scores of one clip."""
        embeddings = self._model.embed_images(list(frames))
        scores: dict[ScoreName, float | None] = {}
        if self._aesthetic:
            scores["aesthetic"] = float(self._aesthetic(embeddings).mean())
        if self._safety:
            scores["unsafe"] = float(self._safety(embeddings).max())
        return scores


class ClipEmbedder:
    """An Embedder: the mean of the frames' embeddings."""

    def __init__(self, settings: ClipSampledSettings) -> None:
        self.sample_fps = settings.sample_fps
        self._model = _load(settings)
        self.max_short_side_px = self._model.image_size_px

    def embed(self, frames: Frames) -> NDArray[np.float32]:
        """float32 [D] of unit length."""
        return normalize(self._model.embed_images(list(frames)).mean(dim=0), dim=0).numpy()


class ClipAlignment:
    """A TextScorer of text_alignment: the mean cosine of the text's sentences with the frames, in [-1, 1].

    After CLIPSIM (Wu et al. 2021, https://arxiv.org/abs/2104.14806). CLIP reads 77 tokens, so that of a dense caption
    it would see the beginning only: each sentence counts by itself, and a sentence too long for it in pieces.
    """

    def __init__(self, settings: ClipSettings) -> None:
        self._model = _load(settings)
        self.max_short_side_px = self._model.image_size_px

    def score(self, frames: Frames, text: str) -> Mapping[ScoreName, float | None]:
        """None for a text without words."""
        pieces = sentences(text, self._model)
        if not pieces:
            return {"text_alignment": None}
        cosines = self._model.embed_texts(pieces) @ self._model.embed_images(list(frames)).T
        return {"text_alignment": float(cosines.mean())}


def sentences(text: str, model: ClipModel) -> list[str]:
    """The sentences of a text; one that is too long for the model falls into pieces of as many whole words as fit."""
    pieces: list[str] = []
    for sentence in _SENTENCE_END.split(text.strip()):
        piece: list[str] = []
        for word in sentence.split():
            if piece and model.num_tokens(" ".join([*piece, word])) > model.max_tokens:
                pieces.append(" ".join(piece))
                piece = []
            piece.append(word)
        if piece:
            pieces.append(" ".join(piece))
    return pieces


def _load(settings: ClipSettings) -> ClipModel:
    return load_clip(settings.weights, settings.revision, device=settings.device, dtype=settings.dtype)
