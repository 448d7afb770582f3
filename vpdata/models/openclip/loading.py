"""CLIP models in open_clip's layout: opened offline, from safetensors, once per process whoever asks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image as Picture
from safetensors import SafetensorError
from torch import Tensor
from torch.nn.functional import normalize

from vpdata.errors import BackendError
from vpdata.models.gpu import halving, in_batches, no_room, to_device, torch_device
from vpdata.models.ports import Image
from vpdata.models.torch_settings import Device, Dtype
from vpdata.models.weights import local_weights

CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
_PRECISIONS = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}


class ClipModel:
    """Places images and texts in one space, where what belongs together points the same way.

    Several threads may ask at once.
    """

    def __init__(self, folder: Path, config: dict[str, Any], *, device: Device, dtype: Dtype) -> None:
        precision = _PRECISIONS[dtype]
        self._device, self._dtype = torch_device(device), open_clip.get_input_dtype(precision)
        name = f"local-dir:{folder}"
        try:
            model: Any = open_clip.create_model(name, precision=precision, device=self._device)
        except torch.OutOfMemoryError as error:
            raise no_room(folder, error) from error
        except (OSError, AssertionError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
            raise BackendError(f"{folder}: the weights cannot be loaded: {error}; fetch them again") from error
        self._model: Any = model.eval()
        self._tokenizer: Any = open_clip.get_tokenizer(name)
        preprocess = PreprocessCfg(**{"size": model.visual.image_size, **config.get("preprocess_cfg", {})})
        self._transform: Any = image_transform_v2(preprocess, is_train=False)
        self.image_size_px: int = min(preprocess.size) if isinstance(preprocess.size, tuple | list) else preprocess.size
        """Images are looked at scaled to this short side, in a square from their middle."""
        self.max_tokens: int = self._tokenizer.context_length - 2
        """Longest text; of a longer one the end is not read."""
        self.logit_scale: float = model.logit_scale.exp().item()
        self.num_values: int = self.embed_texts([""]).shape[1]
        """Length of an embedding."""

    def num_tokens(self, text: str) -> int:
        """Length of a text for the model."""
        return len(self._tokenizer.encode(text))

    def embed_images(self, images: Sequence[Image], *, batch_size: int = 64) -> Tensor:
        """float32 [N, D] of unit length, on the CPU, from at least one image."""
        return torch.stack(in_batches(images, batch_size=batch_size, ready=self._pixels, ask=self._embed_pixels))

    def embed_pixels(self, pixels: Sequence[Tensor], *, batch_size: int = 64) -> Tensor:
        """As `embed_images`, of float32 [3, S, S] that are the network's input already."""

        def ready(some: Sequence[Tensor]) -> Tensor:
            return to_device(torch.stack(list(some)).to(self._dtype), self._device)

        return torch.stack(in_batches(pixels, batch_size=batch_size, ready=ready, ask=self._embed_pixels))

    def embed_texts(self, texts: Sequence[str], *, cuts_end: bool = False) -> Tensor:
        """float32 [N, D] of unit length, on the CPU.

        CLIP's embedding is read at the token that ends a text, which a text that is cut keeps. `cuts_end` takes it away
        with the rest, as torchmetrics does: it is read at the start then, and is the same whatever such a text says.
        """
        return torch.stack(halving(partial(self._embed_texts, cuts_end=cuts_end), texts))

    def _pixels(self, images: Sequence[Image]) -> Tensor:
        with ThreadPoolExecutor(torch.get_num_threads(), thread_name_prefix="pixels") as threads:
            pixels = list(threads.map(lambda image: self._transform(Picture.fromarray(image)), images))
        return to_device(torch.stack(pixels).to(self._dtype), self._device)

    @torch.inference_mode()
    def _embed_pixels(self, pixels: Tensor) -> list[Tensor]:
        found = self._model.encode_image(pixels)
        return list(normalize(found.float(), dim=-1).cpu())

    @torch.inference_mode()
    def _embed_texts(self, texts: Sequence[str], *, cuts_end: bool) -> list[Tensor]:
        tokens = self._tokenizer(list(texts))
        if cuts_end:
            for row, text in zip(tokens, texts, strict=True):
                if len(words := self._tokenizer.encode(text)) > self.max_tokens:
                    row[-1] = words[self.max_tokens]
        found = self._model.encode_text(tokens.to(self._device))
        return list(normalize(found.float(), dim=-1).cpu())


@cache
def load_clip(weights: str, revision: str | None, *, device: Device, dtype: Dtype) -> ClipModel:
    """The model of these weights: an `open_clip_config.json` and an `open_clip_model.safetensors`.

    Tagger, scorers and embedder of a process share it. BackendError where it is missing, damaged, of another
    architecture, or needs a tokenizer that is not part of open_clip.
    """
    folder = local_weights(weights, revision)
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        text = config["model_cfg"]["text_cfg"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackendError(
            f"{folder}: {CONFIG} is missing or none of open_clip's: {error!r}; name weights in open_clip's layout, or "
            "fetch them again"
        ) from error
    if foreign := next((text[key] for key in ("hf_model_name", "hf_tokenizer_name") if text.get(key)), None):
        raise BackendError(f"{folder}: got a model with the tokenizer of {foreign}, wanted one with open_clip's own")
    if not (folder / WEIGHTS).is_file():
        raise BackendError(f"{folder}: got no {WEIGHTS}, wanted one beside its {CONFIG}; fetch it again")
    return ClipModel(folder, config, device=device, dtype=dtype)
