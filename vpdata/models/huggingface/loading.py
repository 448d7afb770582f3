"""Checkpoints in transformers' layout: opened offline, from safetensors, whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from transformers import BaseImageProcessor, PretrainedConfig, PreTrainedModel, ProcessorMixin
from transformers.utils.logging import disable_progress_bar

from vpdata.errors import BackendError
from vpdata.models.gpu import moved, torch_device, torch_dtype
from vpdata.models.torch_settings import Device, Dtype

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
    wanted = config_class.model_type
    try:
        config, _ = PretrainedConfig.get_config_dict(folder, local_files_only=True)
        if config.get("model_type") != wanted:
            got = config.get("model_type") or "none that its config.json names"
            raise BackendError(
                f"{folder}: got the architecture {got}, wanted {wanted}: name weights of that architecture"
            )
        loaded: Any = kind.from_pretrained(
            folder, dtype=torch_dtype(dtype), use_safetensors=True, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise BackendError(f"{folder}: the weights cannot be loaded: {error}; fetch them again") from error
    model, lists = loaded
    # What the file lacks, transformers fills with random numbers and only warns.
    if missing := sorted(lists["missing_keys"]):
        raise BackendError(
            f"{folder}: the file lacks {len(missing)} of the weights, such as {missing[0]}; fetch it again"
        )
    return moved(model, place, where=folder)


def load_processor(kind: type[Processor], folder: Path) -> Processor:
    """The processor of class `kind` whose files are in `folder`; BackendError where they are missing or damaged."""
    try:
        return kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        # The tokenizers' library raises nothing narrower for a damaged file.
        raise BackendError(f"{folder}: the processor cannot be loaded: {error}; fetch it again") from error
