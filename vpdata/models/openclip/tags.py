"""Tags by CLIP without training: of a large vocabulary, the names that fit a clip's key frames best."""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Sequence

import numpy as np
import torch
from numpy.lib.format import read_array
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from vpdata.models.node_disk import node_folder
from vpdata.models.openclip.loading import ClipModel, load_clip
from vpdata.models.openclip.settings import ClipTagsSettings
from vpdata.models.ports import Frames
from vpdata.models.vocabularies import read_vocabulary
from vpdata.storage import Folder

_TEXT_BATCH_SIZE = 256

_log = logging.getLogger(__name__)


class ClipTags:
    """A `Tagger`: what fits one key frame well is a tag of the clip, so that what is seen for a second is named too."""

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
        cosines = self._model.embed_images(images, batch_size=self._settings.batch_size) @ self._embeddings.T
        return [self._best(of_clip) for of_clip in cosines.split([len(frames) for frames in clips])]

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
            return torch.from_numpy(_array(folder.read(file), shape=(len(names), model.num_values)))
        except ValueError as error:
            _log.warning("%s/%s is damaged (%s); it is made again", folder.uri, file, error)
    size = max(1, _TEXT_BATCH_SIZE // len(templates))
    embeddings = torch.cat([_embed(model, names[i : i + size], templates) for i in range(0, len(names), size)])
    content = io.BytesIO()
    np.save(content, embeddings.numpy(), allow_pickle=False)
    folder.write(file, content.getvalue())
    return embeddings


def _array(content: bytes, *, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """What an `.npy` file holds; ValueError where that is not a float32 array of the shape."""
    array = read_array(io.BytesIO(content), allow_pickle=False)
    if array.dtype != np.float32 or array.shape != shape:
        raise ValueError(f"got {array.dtype} {list(array.shape)}, wanted float32 {list(shape)}")
    return array


def _embed(model: ClipModel, names: Sequence[str], templates: Sequence[str]) -> Tensor:
    """float32 [L, D]: per name the mean over the templates, of unit length."""
    texts = [template.replace("{}", name) for name in names for template in templates]
    of_texts = model.embed_texts(texts).unflatten(0, (len(names), len(templates)))
    return normalize(of_texts.mean(dim=1), dim=-1)
