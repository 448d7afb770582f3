"""Open-vocabulary detection by Grounding DINO (Liu et al., ECCV 2024)."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import GroundingDinoForObjectDetection, GroundingDinoProcessor

from vpdata.models.gpu import in_batches, to_device, torch_dtype
from vpdata.models.huggingface.boxes import kept, labelled
from vpdata.models.huggingface.loading import check_tokenizer, load_model, load_processor
from vpdata.models.huggingface.settings import GroundingDinoSettings
from vpdata.models.ports import Box, KeyFrame
from vpdata.models.weights import local_weights

_LENGTH_STEP = 64
"""Prompts are padded to a multiple of so many tokens, so that those of different clips share a batch."""
_NO_LABEL = -1

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    index: int
    """Of the key frame in the call."""
    key_frame: KeyFrame
    token_ids: tuple[int, ...]
    """Of one prompt: "[CLS] a phrase . another . [SEP]"."""
    label_of_token: tuple[int, ...]
    """Per token the index of the key frame's label that it is part of, or `_NO_LABEL`."""


class GroundingDino:
    """A `Detector` that looks for the labels it is given and knows none of its own: no labels, no boxes.

    A box has the label of the word that fired strongest, and that word's probability as its score. The labels of a key
    frame are asked in as few prompts as hold them; what else is in its prompt changes a label's score a little.
    """

    context_s: tuple[float, ...] = ()
    has_own_labels = False

    def __init__(self, settings: GroundingDinoSettings) -> None:
        self._settings = settings
        folder = local_weights(settings.weights, settings.revision)
        # Not in bfloat16 itself: the edges of boxes would lie on a grid of up to 1/256 of the frame.
        self._model = load_model(GroundingDinoForObjectDetection, folder, device=settings.device, dtype="float32")
        processor = load_processor(GroundingDinoProcessor, folder)
        self._tokenizer, self._image_processor = processor.tokenizer, processor.image_processor
        check_tokenizer(self._tokenizer, self._model.config, folder)
        self._separators = set(self._model.model.special_tokens.tolist())

    def detect(self, key_frames: Sequence[KeyFrame]) -> list[list[Box]]:
        # Padding changes answers a little, so only images of one size and prompts of one padded length share a batch.
        alike: dict[tuple[int, ...], list[_Request]] = defaultdict(list)
        for index, key_frame in enumerate(key_frames):
            for request in self._requests(index, key_frame):
                alike[(*key_frame.image.shape, self._padded_length(request))].append(request)
        found: list[list[Box]] = [[] for _ in key_frames]
        for requests in alike.values():
            answers = in_batches(requests, batch_size=self._settings.batch_size, ready=self._ready, ask=self._ask)
            for request, boxes in zip(requests, answers, strict=True):
                found[request.index] += boxes
        return kept(found, key_frames, self._settings.limits)

    def _requests(self, index: int, key_frame: KeyFrame) -> list[_Request]:
        """As many prompts as it takes to hold all labels in order."""
        room = self._model.config.max_text_len - 2
        dot = self._tokenizer.convert_tokens_to_ids(".")
        prompts: list[tuple[list[int], list[int]]] = []
        for number, label in enumerate(key_frame.labels):
            words = self._words(label, max_tokens=room - 1)
            if not words:
                continue
            if not prompts or len(prompts[-1][0]) + len(words) + 1 > room:
                prompts.append(([], []))
            tokens, owners = prompts[-1]
            tokens += [*words, dot]
            owners += [number] * len(words) + [_NO_LABEL]
        start, stop = self._tokenizer.cls_token_id, self._tokenizer.sep_token_id
        return [
            _Request(
                index=index,
                key_frame=key_frame,
                token_ids=(start, *tokens, stop),
                label_of_token=(_NO_LABEL, *owners, _NO_LABEL),
            )
            for tokens, owners in prompts
        ]

    def _words(self, label: str, *, max_tokens: int) -> list[int]:
        """Token ids of a label in lower case, without "." and "?", which would end its phrase."""
        tokens = self._tokenizer(label.lower(), add_special_tokens=False)["input_ids"]
        words = [token for token in tokens if token not in self._separators]
        if not 0 < len(words) <= max_tokens:
            _log.warning("the label %r has %d tokens; Grounding DINO reads 1 to %d", label, len(words), max_tokens)
        return words[:max_tokens]

    def _padded_length(self, request: _Request) -> int:
        padded = -(-len(request.token_ids) // _LENGTH_STEP) * _LENGTH_STEP
        return min(padded, self._model.config.max_text_len)

    def _ready(self, requests: Sequence[_Request]) -> tuple[Sequence[_Request], Any, Any]:
        device = self._model.device
        images = to_device(torch.from_numpy(np.stack([request.key_frame.image for request in requests])), device)
        pixels = self._image_processor(list(images), input_data_format="channels_last", return_tensors="pt")
        text = self._tokenizer.pad(
            {"input_ids": [list(request.token_ids) for request in requests]},
            padding="max_length",
            max_length=self._padded_length(requests[0]),
            return_tensors="pt",
        )
        return requests, pixels, {name: to_device(tensor, device) for name, tensor in text.items()}

    @torch.inference_mode()
    def _ask(self, batch: tuple[Sequence[_Request], Any, Any]) -> list[list[Box]]:
        requests, pixels, text = batch
        settings, device = self._settings, self._model.device
        with torch.autocast(device.type, torch_dtype(settings.dtype), enabled=settings.dtype != "float32"):
            outputs = self._model(**pixels, **text)
        is_word = torch.zeros((len(requests), 1, outputs.logits.shape[-1]), dtype=torch.bool)
        for row, request in zip(is_word[:, 0], requests, strict=True):
            row[: len(request.label_of_token)] = torch.tensor(request.label_of_token) != _NO_LABEL
        # A separator can fire too, and names nothing.
        outputs.logits = outputs.logits.masked_fill(~is_word.to(device), float("-inf"))
        answers = self._image_processor.post_process_object_detection(
            outputs, threshold=settings.min_score, target_sizes=[one.key_frame.image.shape[:2] for one in requests]
        )
        return [
            labelled(found, [request.key_frame.labels[number] for number in request.label_of_token])
            for found, request in zip(answers, requests, strict=True)
        ]
