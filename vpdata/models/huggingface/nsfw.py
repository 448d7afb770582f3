"""How unsafe a clip is, by a classifier of pictures that was trained for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers import ViTForImageClassification, ViTImageProcessor

from vpdata.errors import BackendError
from vpdata.models.gpu import in_batches, to_device, torch_dtype
from vpdata.models.huggingface.loading import load_model, load_processor
from vpdata.models.huggingface.settings import NsfwSettings
from vpdata.models.ports import Frames, Image
from vpdata.models.weights import local_weights
from vpdata.records import ScoreName

_MAX_SHORT_SIDE_PX = 480
"""Classifiers bring pictures to their own square themselves, of 224 or 384 px a side, whatever the aspect."""


class NsfwClassifier:
    """A Scorer of unsafe: the largest share that any frame gives to the labels that are unsafe, in [0, 1].

    A ViT (Dosovitskiy et al. 2021). It knows what its makers labelled, which is nudity and sex; the zero-shot measure
    of the scorer `openclip` asks for violence and injuries too.
    """

    max_short_side_px = _MAX_SHORT_SIDE_PX

    def __init__(self, settings: NsfwSettings) -> None:
        self.sample_fps = settings.sample_fps
        self._settings = settings
        folder = local_weights(settings.weights, settings.revision)
        self._processor: Any = load_processor(ViTImageProcessor, folder)
        self._model: Any = load_model(ViTForImageClassification, folder, device=settings.device, dtype=settings.dtype)
        # Not its inverse, label2id: published configs hold strings there, or nothing.
        names: Mapping[int, str] = self._model.config.id2label
        places = {label: place for place, label in names.items()}
        if missing := [label for label in settings.unsafe_labels if label not in places]:
            raise BackendError(
                f"{settings.weights}: got the unsafe_labels {missing}, wanted some of its own: {', '.join(places)}"
            )
        self._unsafe = [places[label] for label in settings.unsafe_labels]

    def score(self, frames: Frames, *, fps: float) -> Mapping[ScoreName, float | None]:
        """The score of one clip."""
        shares = in_batches(list(frames), batch_size=self._settings.batch_size, ready=self._ready, ask=self._ask)
        # Unlike `max`, it passes on a NaN wherever it stands, which the rules take for no score.
        return {"unsafe": float(np.max(shares))}

    def _ready(self, images: Sequence[Image]) -> torch.Tensor:
        """Pixels as the network wants them."""
        on_device = [to_device(torch.from_numpy(image.copy()), self._model.device) for image in images]
        pixels = self._processor(on_device, input_data_format="channels_last", return_tensors="pt")["pixel_values"]
        return pixels.to(torch_dtype(self._settings.dtype))

    @torch.inference_mode()
    def _ask(self, pixels: torch.Tensor) -> list[float]:
        shares = torch.softmax(self._model(pixel_values=pixels).logits.float(), dim=-1)
        return shares[:, self._unsafe].sum(dim=-1).tolist()
