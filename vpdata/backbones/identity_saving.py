"""The folder of an ID adapter: LoRA weights that diffusers loads, and what it cannot know beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from peft import set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from vpdata.backbones.identity_adapter import NAME, IdentityAdapter, IdentitySettings
from vpdata.backbones.port import Backbone
from vpdata.backbones.saving import check_same_backbone
from vpdata.backbones.spec import BackboneSpec
from vpdata.config import fill, to_plain
from vpdata.errors import BackendError, ConfigError
from vpdata.storage import Folder

WEIGHTS_FILE = "pytorch_lora_weights.safetensors"
CONFIG_FILE = "id_adapter_config.json"
_PREFIX = "transformer."


def save_id_adapter(
    folder: str | Path,
    adapter: IdentityAdapter,
    tensors: Mapping[str, Tensor] | None = None,
    *,
    training_data: Mapping[str, Any] | None = None,
) -> None:
    """Write `pytorch_lora_weights.safetensors` and, last, `id_adapter_config.json`.

    `tensors`: the trained parameters by the transformer's names, gathered where they were sharded; `training_data`: as
    of `save_context_encoder`.
    """
    weights = adapter.state_dict(tensors)
    weights = {f"{_PREFIX}{key}": tensor.detach().contiguous().cpu() for key, tensor in weights.items()}
    lora = {f"{_PREFIX}{key}": value for key, value in _lora_metadata(adapter).items()}
    metadata = {"format": "pt", LORA_ADAPTER_METADATA_KEY: json.dumps(lora, sort_keys=True)}
    config = {
        "backbone": to_plain(adapter.backbone.spec),
        "settings": to_plain(adapter.settings),
        "training_data": training_data,
    }
    target = Folder(str(folder))
    target.write(WEIGHTS_FILE, save(weights, metadata))
    target.write(CONFIG_FILE, json.dumps(config, indent=2, sort_keys=True).encode())


def load_id_adapter(folder: str | Path, backbone: Backbone) -> IdentityAdapter:
    """Put a saved ID adapter into a backbone; BackendError where it is damaged or belongs to another backbone."""
    settings = read_adapter_config(folder, backbone.spec)
    try:
        tensors = load(Folder(str(folder)).read(WEIGHTS_FILE))
    except (ValueError, SafetensorError) as error:
        raise _damaged(folder, error) from error
    adapter = IdentityAdapter(backbone, settings)
    result = set_peft_model_state_dict(
        backbone.transformer,
        {key.removeprefix(_PREFIX): tensor for key, tensor in tensors.items()},
        adapter_name=NAME,
    )
    missing = adapter.state_dict().keys() - {key.removeprefix(_PREFIX) for key in tensors}
    if missing or result.unexpected_keys:
        wrong = sorted([*missing, *result.unexpected_keys])
        raise BackendError(f"{folder}/{WEIGHTS_FILE} lacks, or has too many, of these tensors: {wrong[:5]}")
    return adapter


def read_adapter_config(folder: str | Path, spec: BackboneSpec) -> IdentitySettings:
    """What a saved ID adapter for the backbone of this spec is; its weights are not opened.

    BackendError where there is none, its config is damaged, or it belongs to another backbone.
    """
    source = Folder(str(folder))
    if not source.exists(CONFIG_FILE):
        raise BackendError(f"{folder} holds no ID adapter: it has no {CONFIG_FILE}, which is written last")
    try:
        config = json.loads(source.read(CONFIG_FILE))
        check_same_backbone(config["backbone"], spec, what=f"the ID adapter in {folder}")
        return fill(IdentitySettings, config["settings"])
    except (ValueError, KeyError, TypeError, ConfigError) as error:
        raise _damaged(folder, error) from error


def _damaged(folder: str | Path, error: Exception) -> BackendError:
    return BackendError(f"{folder} holds a damaged ID adapter: {error!r}; save or copy it again")


def _lora_metadata(adapter: IdentityAdapter) -> dict[str, Any]:
    """What diffusers needs to know to scale the LoRA as it was trained; without it, it takes alpha for the rank."""
    configs: Any = adapter.backbone.transformer.peft_config
    config = configs[NAME].to_dict()
    return {key: sorted(value) if isinstance(value, set) else value for key, value in config.items()}
