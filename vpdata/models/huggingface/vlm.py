"""Captions and tags by vision-language models in process: Qwen2.5-VL, Qwen3-VL and their kin, through transformers."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import WeakValueDictionary

import cv2
import numpy as np
import torch
from PIL import Image as Picture
from transformers import AutoConfig, AutoProcessor, GenerationConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

from vpdata.config import public
from vpdata.errors import BackendError, Reason, RejectItem
from vpdata.models.gpu import in_batches, to_device
from vpdata.models.huggingface.loading import check_tokenizer, load_model, load_processor, open_config
from vpdata.models.huggingface.settings import VlmSettings, VlmTaggerSettings
from vpdata.models.object_views import shown_images
from vpdata.models.plain_text import REASONING, plain_text, without_reasoning
from vpdata.models.ports import CaptionRequest, Frames, Image, unheard
from vpdata.models.prompts import read_prompt
from vpdata.models.weights import local_weights

_ANY_PROCESSOR: Any = AutoProcessor
"""It opens the class that a folder names, and is none itself."""
_MAX_LOST = 20
"""Texts that may end within the reasoning before the first answer."""
_MAX_LABEL_WORDS, _MAX_LABEL_CHARACTERS = 3, 40
_LABEL = re.compile(r"\w[\w'-]*(?: \w[\w'-]*){0,2}")
_FENCED = re.compile(r"```(?:json)?\s*(.*?)\s*```", re.DOTALL)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Question:
    images: Callable[[], Sequence[Image]]
    """Draws them: on the thread that readies a batch, so that the GPU need not wait for it."""
    text: str


class VlmCaptioner:
    """A `Captioner`: the request's pictures and its prompt go through the model's own chat template."""

    def __init__(self, settings: VlmSettings) -> None:
        self._model = _Asker(settings)

    def caption(self, requests: Sequence[CaptionRequest], *, alive: Callable[[], None] = unheard) -> list[str]:
        # A batch is padded to its longest question and goes on until its longest text ends: one prompt's are alike.
        order = sorted(range(len(requests)), key=lambda row: requests[row].prompt_name)
        asked = [requests[row] for row in order]
        questions = [_Question(partial(shown_images, one), one.prompt) for one in asked]
        texts = self._model.answers(questions, alive=alive)
        text_of = dict(zip(order, texts, strict=True))
        return [text_of[row] for row in range(len(requests))]


class VlmTagger:
    """A `Tagger` that asks for a JSON list of the main objects."""

    def __init__(self, settings: VlmTaggerSettings) -> None:
        self._settings = settings
        self._prompt = read_prompt(settings.prompt)
        self._model = _Asker(settings)

    def tags(self, clips: Sequence[Frames]) -> list[tuple[str, ...] | RejectItem]:
        """See `Tagger.tags`; RejectItem where the model wrote no list of labels."""
        answers = self._model.answers([self._question(frames) for frames in clips])
        return [parse_labels(answer, max_labels=self._settings.max_labels) for answer in answers]

    def _question(self, frames: Frames) -> _Question:
        settings = self._settings
        rows = np.linspace(0, len(frames) - 1, min(settings.num_images, len(frames))).round().astype(int)
        text = self._prompt.format(num_frames=len(rows), max_labels=settings.max_labels)
        return _Question(lambda: [_at_most(frames[row], settings.max_short_side_px) for row in rows], text)


def parse_labels(answer: str, *, max_labels: int) -> tuple[str, ...] | RejectItem:
    """The labels in a JSON list, in lower case, each once; at most `max_labels`. RejectItem for anything else.

    What else is in the list, such as a whole phrase, is left out and logged; RejectItem where nothing is left.
    """
    fenced = _FENCED.fullmatch(answer)
    try:
        given = json.loads(fenced[1] if fenced else answer)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        return _unusable(answer)
    named = dict.fromkeys(" ".join(one.lower().split()) for one in given)
    labels = [one for one in named if len(one) <= _MAX_LABEL_CHARACTERS and _LABEL.fullmatch(one)]
    if len(labels) < len(named):
        if not labels:
            return _unusable(answer)
        _log.warning("left out of a tagger's labels: %.200r", [one for one in named if one not in labels])
    return tuple(labels)[:max_labels]


def _unusable(answer: str) -> RejectItem:
    return RejectItem(
        Reason.TAGS_FAILED,
        "the tagger's answer cannot be read as labels",
        got=repr(answer[:200]),
        wanted=f"a JSON list of nouns of at most {_MAX_LABEL_WORDS} words",
    )


class _Asker:
    """Asks a shared model by settings of its own, and drops the reasoning from what it says."""

    def __init__(self, settings: VlmSettings) -> None:
        self._settings = settings
        self._model = _chat_model(settings)
        self._num_lost = 0
        self._has_answered = False

    def answers(self, questions: Sequence[_Question], *, alive: Callable[[], None] = unheard) -> list[str]:
        """One text per question, "" where it ended within the reasoning; `alive` is called after each batch.

        BackendError where the first 20 ended so.
        """
        settings = self._settings
        said = self._model.answers(questions, settings=settings, alive=alive)
        answers = [without_reasoning(one) for one in said]
        num_lost = sum(bool(one.strip()) and not answer.strip() for one, answer in zip(said, answers, strict=True))
        remedy = (
            f"raise its max_new_tokens ({settings.max_new_tokens}), turn the reasoning off where its template can "
            "(template_options, such as {enable_thinking: false}), or name a model that does not reason"
        )
        if num_lost and not self._num_lost:
            what = "%s: %d of %d texts ended within its reasoning, and are empty; %s. Later ones are not told"
            _log.warning(what, public(settings.weights), num_lost, len(said), remedy)
        self._num_lost += num_lost
        self._has_answered |= num_lost < len(said)
        if self._num_lost >= _MAX_LOST and not self._has_answered:
            lost = f"the first {self._num_lost} texts all ended within its reasoning"
            raise BackendError(f"{public(settings.weights)}: {lost}; {remedy}")
        return [plain_text(answer) for answer in answers]


class _ChatModel:
    """A checkpoint and its processor. Several threads may ask: one after another, since both keep a state meanwhile."""

    def __init__(self, settings: VlmSettings) -> None:
        folder = local_weights(settings.weights, settings.revision)
        kind = _architecture(folder)
        self._model: Any = load_model(kind, folder, device=settings.device, dtype=settings.dtype)
        self._processor: Any = load_processor(_ANY_PROCESSOR, folder)
        check_tokenizer(self._processor.tokenizer, self._model.config, folder)
        if not self._processor.chat_template:
            raise BackendError(f"{folder}: got no chat template, wanted chat_template.jinja; fetch the model again")
        # Answers begin where the prompt ends: padding must not stand between them.
        self._processor.tokenizer.padding_side = "left"
        published = self._model.generation_config
        # Anew: published checkpoints ask for sampling and penalties, which would make the words depend on the batch.
        self._model.generation_config = GenerationConfig(
            do_sample=False,
            bos_token_id=published.bos_token_id,
            eos_token_id=published.eos_token_id,
            pad_token_id=self._processor.tokenizer.pad_token_id,
        )
        # On Hopper and Blackwell torch prefers cuDNN's attention, which plans anew for every length, so for every word;
        # on an H200 45 % of writing was in that call. For the whole process: a switch back would reach other threads.
        torch.backends.cuda.enable_cudnn_sdp(False)
        self._is_free = Lock()

    def answers(
        self, questions: Sequence[_Question], *, settings: VlmSettings, alive: Callable[[], None] = unheard
    ) -> list[str]:
        """What it says to each question, reasoning and all; `alive` is called after each batch.

        The settings say how long and how many at once.
        """

        def ask(inputs: dict[str, torch.Tensor]) -> list[torch.Tensor]:
            tokens = self._generate(inputs, max_new_tokens=settings.max_new_tokens)
            alive()
            return tokens

        ready = partial(self._ready, template_options=settings.template_options)
        with self._is_free:
            answers = in_batches(questions, batch_size=settings.batch_size, ready=ready, ask=ask)
            # Only now: the tokenizer must not be used while a thread readies the next batch with it.
            texts = [self._processor.decode(answer, skip_special_tokens=True) for answer in answers]
            begins_with = self._beginning(settings.template_options)
        return [begins_with + text for text in texts]

    def _beginning(self, template_options: Mapping[str, Any]) -> str:
        """Some templates write the beginning of the reasoning themselves."""
        conversation = [{"role": "user", "content": [{"type": "text", "text": ""}]}]
        opening = self._processor.apply_chat_template(
            conversation, add_generation_prompt=True, tokenize=False, **template_options
        )
        return REASONING if opening.rstrip().endswith(REASONING) else ""

    def _ready(self, questions: Sequence[_Question], *, template_options: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        inputs = self._processor.apply_chat_template(
            [_conversation(one) for one in questions],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            # A label may hold the text of a control token.
            sanitize_control_tokens=True,
            processor_kwargs={"padding": True},
            **template_options,
        )
        return {name: to_device(tensor, self._model.device) for name, tensor in inputs.items()}

    @torch.inference_mode()
    def _generate(self, inputs: dict[str, torch.Tensor], *, max_new_tokens: int) -> list[torch.Tensor]:
        """Per question int64 [N], the tokens of its answer."""
        tokens = self._model.generate(**inputs, max_new_tokens=max_new_tokens)
        return list(tokens[:, inputs["input_ids"].shape[1] :].cpu())


_open: WeakValueDictionary[tuple[object, ...], _ChatModel] = WeakValueDictionary()
_open_is_free = Lock()


def _chat_model(settings: VlmSettings) -> _ChatModel:
    """The model of these weights, one for all of a process that hold it: captioner and rewriter need the room once."""
    key = settings.weights, settings.revision, settings.device, settings.dtype
    with _open_is_free:
        if (model := _open.get(key)) is None:
            model = _open[key] = _ChatModel(settings)
        return model


def _architecture(folder: Path) -> Any:
    """The class of the checkpoint; BackendError where it is not one that answers about pictures."""
    config = open_config(AutoConfig, folder)
    if type(config) not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        raise BackendError(
            f"{folder}: got the architecture {config.model_type}, wanted one that answers about pictures, such as "
            "qwen2_5_vl or qwen3_vl"
        )
    return MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING[type(config)]


def _conversation(question: _Question) -> list[dict[str, Any]]:
    pictures = [{"type": "image", "image": Picture.fromarray(image)} for image in question.images()]
    return [{"role": "user", "content": [*pictures, {"type": "text", "text": question.text}]}]


def _at_most(image: Image, short_side_px: int) -> Image:
    height, width = image.shape[:2]
    scale = short_side_px / min(height, width)
    if scale >= 1:
        return image
    size = (round(width * scale), round(height * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
