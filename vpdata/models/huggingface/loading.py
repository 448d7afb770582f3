"""Checkpoints in transformers' layout: opened offline, from safetensors, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from transformers import BaseImageProcessor, PretrainedConfig, PreTrainedModel, ProcessorMixin
from transformers.utils.logging import disable_progress_bar

from vpdata.errors import BackendError
from vpdata.models.gpu import moved, torch_device, torch_dtype
from vpdata.models.torch_settings import Device, Dtype

_CONFIG, _TOKENIZER = "config.json", "tokenizer.json"

Model = TypeVar("Model", bound=PreTrainedModel)
Processor = TypeVar("Processor", bound=ProcessorMixin | BaseImageProcessor)


def load_model(kind: type[Model], folder: Path, *, device: Device, dtype: Dtype) -> Model:
    """The model of class `kind` whose checkpoint is in `folder`, ready for inference.

    BackendError for a checkpoint of another architecture, a damaged one, one that lacks weights, and one that the GPU
    cannot hold.
    """
    place = torch_device(device)
    disable_progress_bar()
    config_class: Any = kind.config_class
    got, wanted = architecture_of(folder), config_class.model_type
    if got != wanted:
        raise BackendError(f"{folder}: got the architecture {got}, wanted {wanted}: name weights of that architecture")
    open_config(config_class, folder)
    try:
        loaded: Any = kind.from_pretrained(
            folder, dtype=torch_dtype(dtype), use_safetensors=True, local_files_only=True, output_loading_info=True
        )
    except ImportError as error:
        # Quantised weights want a package with their kernels.
        told = f"{folder}: the weights cannot be loaded: {error}; name ones that are not quantised"
        raise BackendError(told) from error
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise BackendError(f"{folder}: the weights cannot be loaded: {error}; fetch them again") from error
    model, lists = loaded
    # What the file lacks, transformers fills with random numbers and only warns.
    if missing := sorted(lists["missing_keys"]):
        raise BackendError(
            f"{folder}: the file lacks {len(missing)} of the weights, such as {missing[0]}; fetch it again"
        )
    return moved(model, place, where=folder)


def architecture_of(folder: Path) -> str:
    """The `model_type` of a checkpoint; BackendError where its `config.json` is missing, damaged or names none."""
    file = folder / _CONFIG
    try:
        config = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise BackendError(f"{file} cannot be read: {error}; fetch it again") from error
    name = config.get("model_type") if isinstance(config, dict) else None
    if not isinstance(name, str):
        raise BackendError(f"{file}: got no model_type, wanted the config of a checkpoint in transformers' layout")
    return name


def open_config(kind: Any, folder: Path) -> PretrainedConfig:
    """The config of class `kind`, or of any with AutoConfig; BackendError where `config.json` does not hold one."""
    try:
        return kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        # Its checks of fields raise an error of another library that is none of Python's.
        raise BackendError(f"{folder / _CONFIG}: the config cannot be loaded: {error}") from error


def load_processor(kind: type[Processor], folder: Path) -> Processor:
    """The processor of class `kind` whose files are in `folder`; BackendError where they are missing or damaged."""
    try:
        return kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        # The tokenizers' library raises nothing narrower for a damaged file.
        raise BackendError(f"{folder}: the processor cannot be loaded: {error}; fetch it again") from error


def check_tokenizer(tokenizer: Any, config: PretrainedConfig, folder: Path) -> None:
    """BackendError where the tokenizer of a processor is not the one that the checkpoint in `folder` was trained with.

    Without its files transformers makes one that knows a few control tokens, to which every word is the same. A
    published vocabulary has as many tokens as the config says, or some hundred fewer: it is rounded up.
    """
    num_tokens, num_known = config.get_text_config().vocab_size, len(tokenizer)
    if num_known > num_tokens / 2:
        return
    wanted = f"a tokenizer of about {num_tokens}"
    whole, *parts = sorted(tokenizer.vocab_files_names.values(), key=lambda name: name != _TOKENIZER)
    if not (folder / whole).exists():
        wanted += f": {folder} lacks {whole}, or in its place {' and '.join(parts)}"
    raise BackendError(f"{folder}: got a tokenizer of {num_known} tokens, wanted {wanted}; fetch the model again")
