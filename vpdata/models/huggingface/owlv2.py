"""Open-vocabulary detection by OWLv2 (Minderer et al., NeurIPS 2023)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from transformers import Owlv2ForObjectDetection, Owlv2Processor
from transformers.models.owlv2.modeling_owlv2 import Owlv2ObjectDetectionOutput

from vpdata.models.gpu import in_batches, to_device, torch_dtype
from vpdata.models.huggingface.boxes import kept, labelled
from vpdata.models.huggingface.loading import check_tokenizer, load_model, load_processor
from vpdata.models.huggingface.settings import Owlv2Settings
from vpdata.models.ports import Box, KeyFrame
from vpdata.models.weights import local_weights

_TEXT_BATCH_SIZE = 256
"""Labels read in one pass of the text tower: 16 tokens each, so a tenth of the work of one image."""

_log = logging.getLogger(__name__)


class Owlv2:
    """A `Detector` that looks for the labels it is given and knows none of its own: no labels, no boxes.

    A box has its best label. Labels do not change each other's scores, so any number of them can be asked at once.
    """

    context_s: tuple[float, ...] = ()
    has_own_labels = False

    def __init__(self, settings: Owlv2Settings) -> None:
        self._settings = settings
        folder = local_weights(settings.weights, settings.revision)
        # Not in bfloat16 itself: the edges of boxes would lie on a grid of up to 1/256 of the frame.
        # `Any`, since transformers declares single tensors where it returns pairs.
        self._model: Any = load_model(Owlv2ForObjectDetection, folder, device=settings.device, dtype="float32")
        processor = load_processor(Owlv2Processor, folder)
        self._tokenizer, self._image_processor = processor.tokenizer, processor.image_processor
        check_tokenizer(self._tokenizer, self._model.config, folder)

    def detect(self, key_frames: Sequence[KeyFrame]) -> list[list[Box]]:
        found: list[list[Box]] = [[] for _ in key_frames]
        asked = [index for index, key_frame in enumerate(key_frames) if key_frame.labels]
        boxes = in_batches(
            [key_frames[index] for index in asked],
            batch_size=self._settings.batch_size,
            ready=self._ready,
            ask=self._ask,
        )
        for index, of_frame in zip(asked, boxes, strict=True):
            found[index] = of_frame
        return kept(found, key_frames, self._settings.limits)

    def _ready(self, key_frames: Sequence[KeyFrame]) -> tuple[Sequence[KeyFrame], torch.Tensor]:
        """With the pixels as the network wants them."""
        images = [to_device(torch.from_numpy(one.image.copy()), self._model.device) for one in key_frames]
        pixels = self._image_processor(images, input_data_format="channels_last", return_tensors="pt")
        return key_frames, pixels["pixel_values"]

    @torch.inference_mode()
    def _ask(self, batch: tuple[Sequence[KeyFrame], torch.Tensor]) -> list[list[Box]]:
        key_frames, pixels = batch
        labels = sorted({label for key_frame in key_frames for label in key_frame.labels})
        with self._autocast():
            feature_map, _ = self._model.image_embedder(pixels)
            queries = torch.cat(
                [self._embed(labels[i : i + _TEXT_BATCH_SIZE]) for i in range(0, len(labels), _TEXT_BATCH_SIZE)]
            )
        features = feature_map.float().flatten(1, 2)
        pred_boxes = self._model.box_predictor(features, feature_map)
        rows = {label: row for row, label in enumerate(labels)}
        answers = []
        for key_frame, of_image, boxes in zip(key_frames, features, pred_boxes, strict=True):
            own = queries[[rows[label] for label in key_frame.labels]]
            logits, _ = self._model.class_predictor(of_image[None], own[None])
            (found,) = self._image_processor.post_process_object_detection(
                Owlv2ObjectDetectionOutput(logits=logits, pred_boxes=boxes[None]),
                threshold=self._settings.min_score,
                target_sizes=[key_frame.image.shape[:2]],
            )
            answers.append(labelled(found, key_frame.labels))
        return answers

    def _embed(self, labels: Sequence[str]) -> torch.Tensor:
        """float32 [L, D]: unit vectors of the labels in the template."""
        max_tokens = self._model.config.text_config.max_position_embeddings
        texts = [self._settings.template.replace("{}", label) for label in labels]
        for label, tokens in zip(labels, self._tokenizer(texts)["input_ids"], strict=True):
            if len(tokens) > max_tokens:
                _log.warning("the label %r has %d tokens; OWLv2 reads the first %d", label, len(tokens), max_tokens)
        tokens = self._tokenizer(
            texts, padding="max_length", max_length=max_tokens, truncation=True, return_tensors="pt"
        )
        features = self._model.owlv2.get_text_features(**tokens.to(self._model.device)).pooler_output
        return torch.nn.functional.normalize(features.float(), dim=-1)

    def _autocast(self) -> torch.autocast:
        dtype = self._settings.dtype
        return torch.autocast(self._model.device.type, torch_dtype(dtype), enabled=dtype != "float32")
