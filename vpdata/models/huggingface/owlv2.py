"""Open-vocabulary detection by OWLv2 (Minderer et al., NeurIPS 2023)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import Owlv2ForObjectDetection, Owlv2Processor
from transformers.models.owlv2.modeling_owlv2 import Owlv2ObjectDetectionOutput

from vpdata.config import to_plain
from vpdata.models.gpu import Device, Dtype, halving, torch_dtype
from vpdata.models.huggingface.boxes import BoxLimits, kept, labelled
from vpdata.models.huggingface.loading import load_model, load_processor
from vpdata.models.ports import Box, KeyFrame, ModelCard
from vpdata.models.weights import local_weights

_TEXT_BATCH_SIZE = 256
"""Labels read in one pass of the text tower: 16 tokens each, so a tenth of the work of one image."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Owlv2Settings:
    """Options of `Owlv2`."""

    weights: str = "google/owlv2-large-patch14-ensemble"
    """Hub id, or a folder."""
    revision: str | None = None
    device: Device = "cuda"
    dtype: Dtype = "bfloat16"
    """Of the matrix products in the two towers; weights and heads stay float32."""
    batch_size: int = 8
    """Key frames in one forward pass."""
    template: str = "a photo of a {}"
    """What is asked for each label, which takes the place of the braces."""
    min_score: float = 0.2
    """Probability in [0, 1] of a box's label; weaker boxes are dropped. OWLv2's scores are low: 0.2 is a sure find."""
    limits: BoxLimits = field(default_factory=BoxLimits)

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size: got {self.batch_size}, wanted at least 1")
        if self.template.count("{}") != 1:
            raise ValueError(f"template: got {self.template!r}, wanted a text with one {{}} for the label")
        if not 0 <= self.min_score <= 1:
            raise ValueError(f"min_score: got {self.min_score}, wanted a number from 0 to 1")


class Owlv2:
    """A `Detector` that looks for the labels it is given and knows none of its own: no labels, no boxes.

    A box has its best label. Labels do not change each other's scores, so any number of them can be asked at once.
    """

    Settings = Owlv2Settings
    context_s: tuple[float, ...] = ()

    def __init__(self, settings: Owlv2Settings) -> None:
        self._settings = settings
        folder = local_weights(settings.weights, settings.revision)
        processor = load_processor(Owlv2Processor, folder)
        self._tokenizer, self._image_processor = processor.tokenizer, processor.image_processor
        # Not in bfloat16 itself: the edges of boxes would lie on a grid of up to 1/256 of the frame.
        # `Any`, since transformers declares single tensors where it returns pairs.
        self._model: Any = load_model(Owlv2ForObjectDetection, folder, device=settings.device, dtype="float32")

    def detect(self, key_frames: Sequence[KeyFrame]) -> list[list[Box]]:
        found: list[list[Box]] = [[] for _ in key_frames]
        asked = [index for index, key_frame in enumerate(key_frames) if key_frame.labels]
        for start in range(0, len(asked), self._settings.batch_size):
            batch = asked[start : start + self._settings.batch_size]
            boxes = halving(self._ask, [key_frames[index] for index in batch])
            for index, of_frame in zip(batch, boxes, strict=True):
                found[index] = of_frame
        return kept(found, key_frames, self._settings.limits)

    @staticmethod
    def card(settings: Owlv2Settings) -> ModelCard:
        return ModelCard(
            role="detector",
            name="owlv2",
            revision=settings.revision or "local",
            licence="Apache-2.0",
            source=settings.weights,
            options=to_plain(settings),
        )

    @torch.inference_mode()
    def _ask(self, key_frames: Sequence[KeyFrame]) -> list[list[Box]]:
        device = self._model.device
        images = [key_frame.image.copy() for key_frame in key_frames]
        pixels = self._image_processor(images, input_data_format="channels_last", device=device, return_tensors="pt")
        labels = sorted({label for key_frame in key_frames for label in key_frame.labels})
        with self._autocast():
            feature_map, _ = self._model.image_embedder(pixels["pixel_values"].to(device))
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
