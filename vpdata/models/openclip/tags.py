"""Tags by CLIP without training: of a large vocabulary, the names that fit a clip's key frames best."""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import open_clip
import torch
from torch import Tensor
from torch.nn.functional import normalize

from vpdata.models.gpu import Device, Dtype
from vpdata.models.openclip.loading import ClipModel, load_clip
from vpdata.models.ports import Frames, ModelCard
from vpdata.models.vocabularies import read_vocabulary
from vpdata.models.weights import node_folder
from vpdata.storage import Folder

_TEXT_BATCH_SIZE = 256

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipTagsSettings:
    """Options of `ClipTags`."""

    weights: str = "timm/vit_large_patch14_clip_224.openai"
    """Hub id or folder of a checkpoint in open_clip's layout; the default is OpenAI's ViT-L/14."""
    revision: str | None = None
    licence: str = "MIT"
    """Of the weights, for the record; that of the default ones."""
    device: Device = "cuda"
    dtype: Dtype = "bfloat16"
    batch_size: int = 64
    """Images in one forward pass, over the borders of clips."""
    vocabulary: str = "lvis"
    """A list of `vpdata.models.vocabularies`, or the path of a `.txt` file with one name a line."""
    templates: tuple[str, ...] = ("a photo of a {}.", "a video frame of a {}.", "a scene with a {} in it.")
    """Texts in which a name takes the place of the braces; a name's embedding is their mean (Radford et al. 2021)."""
    max_tags: int = 10
    """The best are kept."""
    min_cosine: float = 0.18
    """Of a name with the frame that it fits best, in [-1, 1]. ViT-L/14 gives what is not there about 0.15."""
    cache_folder: str | None = None
    """Path or uri for the embeddings of vocabularies; None: on this node's own disk, beside the weights."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "max_tags"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, wanted at least 1")
        if not self.templates or any(template.count("{}") != 1 for template in self.templates):
            raise ValueError(f"templates: got {list(self.templates)}, wanted texts with one {{}} for the name in each")
        if not -1 <= self.min_cosine <= 1:
            raise ValueError(f"min_cosine: got {self.min_cosine}, wanted a number from -1 to 1")


class ClipTags:
    """A `Tagger`: what fits one key frame well is a tag of the clip, so that what is seen for a second is named too."""

    Settings = ClipTagsSettings

    def __init__(self, settings: ClipTagsSettings) -> None:
        self._settings = settings
        self._names = read_vocabulary(settings.vocabulary)
        self._model = load_clip(settings.weights, settings.revision, device=settings.device, dtype=settings.dtype)
        folder = Folder(settings.cache_folder or node_folder() / "vocabularies")
        self._embeddings = _cached_embeddings(self._model, self._names, settings.templates, folder)

    def tags(self, clips: Sequence[Frames]) -> list[tuple[str, ...]]:
        images = [image for frames in clips for image in frames]
        if not images:
            return [()] * len(clips)
        size = self._settings.batch_size
        batches = [self._model.embed_images(images[start : start + size]) for start in range(0, len(images), size)]
        cosines = torch.cat(batches) @ self._embeddings.T
        return [self._best(of_clip) for of_clip in cosines.split([len(frames) for frames in clips])]

    @staticmethod
    def card(settings: ClipTagsSettings) -> ModelCard:
        names = "\n".join(read_vocabulary(settings.vocabulary))
        return ModelCard(
            role="tagger",
            name=settings.weights,
            revision=settings.revision or "local",
            licence=settings.licence,
            source=f"open_clip_torch {open_clip.__version__}",
            options={
                "dtype": settings.dtype,
                "vocabulary": settings.vocabulary,
                "vocabulary_sha256": hashlib.sha256(names.encode("utf-8")).hexdigest(),
                "templates": settings.templates,
                "max_tags": settings.max_tags,
                "min_cosine": settings.min_cosine,
            },
        )

    def _best(self, cosines: Tensor) -> tuple[str, ...]:
        """Names for the frames of one clip, from float32 [K, L]."""
        if not len(cosines):
            return ()
        scored = zip(cosines.amax(dim=0).tolist(), self._names, strict=True)
        good = sorted((-cosine, name) for cosine, name in scored if cosine >= self._settings.min_cosine)
        return tuple(name for _, name in good[: self._settings.max_tags])


def _cached_embeddings(model: ClipModel, names: Sequence[str], templates: Sequence[str], folder: Folder) -> Tensor:
    """float32 [L, D]: a unit vector per name, computed by the first process that asks for it in `folder`."""
    # The embedding of one name stands for all that makes the others: weights, dtype, device, libraries.
    probe = _embed(model, names[:1], templates)
    asked = json.dumps([names, templates]).encode("utf-8") + probe.numpy().tobytes()
    file = f"{hashlib.sha256(asked).hexdigest()}.npy"
    if folder.exists(file):
        try:
            stored = np.load(io.BytesIO(folder.read(file)), allow_pickle=False)
        except (ValueError, EOFError) as error:
            _log.warning("%s/%s is damaged (%s); it is made again", folder.uri, file, error)
        else:
            return torch.from_numpy(stored)
    size = max(1, _TEXT_BATCH_SIZE // len(templates))
    embeddings = torch.cat([_embed(model, names[i : i + size], templates) for i in range(0, len(names), size)])
    content = io.BytesIO()
    np.save(content, embeddings.numpy(), allow_pickle=False)
    folder.write(file, content.getvalue())
    return embeddings


def _embed(model: ClipModel, names: Sequence[str], templates: Sequence[str]) -> Tensor:
    """float32 [L, D]: per name the mean over the templates, of unit length."""
    texts = [template.replace("{}", name) for name in names for template in templates]
    of_texts = model.embed_texts(texts).unflatten(0, (len(names), len(templates)))
    return normalize(of_texts.mean(dim=1), dim=-1)
