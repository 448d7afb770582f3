"""The folder of a context encoder: its weights, and which backbone they were trained on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from vpdata.backbones.context_encoder import ContextEncoder, ContextEncoderSettings
from vpdata.backbones.injector import InjectionSettings
from vpdata.backbones.inpainting import InpaintingBackbone
from vpdata.backbones.port import Backbone
from vpdata.backbones.spec import BackboneSpec
from vpdata.config import fill, to_plain
from vpdata.errors import BackendError, ConfigError
from vpdata.storage import Folder

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"


def save_context_encoder(
    folder: str | Path,
    tensors: Mapping[str, Tensor],
    *,
    spec: BackboneSpec,
    encoder: ContextEncoderSettings,
    injection: InjectionSettings,
    fingerprint: str,
    training_data: Mapping[str, Any] | None = None,
) -> None:
    """Write `model.safetensors` and, last, `config.json` into the folder.

    `tensors` is the encoder's whole `state_dict`, gathered where it was sharded; `fingerprint` is that of the VAE and
    text encoder that it was trained with (`loading.fingerprint`). `training_data`: what was held out of it, plain data
    that is kept as it is; None where that is not known.
    """
    config = {
        "backbone": to_plain(spec),
        "encoder": to_plain(encoder),
        "injection": to_plain(injection),
        "fingerprint": fingerprint,
        "training_data": training_data,
        "num_parameters": sum(tensor.numel() for tensor in tensors.values()),
    }
    target = Folder(str(folder))
    weights = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    target.write(WEIGHTS_FILE, save(weights, {"format": "pt"}))
    target.write(CONFIG_FILE, json.dumps(config, indent=2, sort_keys=True).encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderConfig:
    """What the config of a saved context encoder says."""

    encoder: ContextEncoderSettings
    injection: InjectionSettings
    training_data: Mapping[str, Any] | None
    """As it was saved; None too for an encoder from before this was known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedEncoder(EncoderConfig):
    """What the folder of a context encoder holds."""

    folder: str
    tensors: Mapping[str, Tensor]
    """In the precision that they were trained in."""

    def copy_to(self, encoder: ContextEncoder) -> None:
        """Give an encoder these weights, in its own precision; BackendError for one of another size."""
        try:
            encoder.load_state_dict(self.tensors)
        except RuntimeError as error:
            raise BackendError(f"{self.folder}/{WEIGHTS_FILE}: got the weights of another encoder: {error}") from error


def read_context_encoder(folder: str | Path, spec: BackboneSpec, *, fingerprint: str | None = None) -> SavedEncoder:
    """A saved encoder for the backbone of this spec.

    BackendError as from `read_encoder_config`, and where its weights are damaged.
    """
    config = read_encoder_config(folder, spec, fingerprint=fingerprint)
    try:
        tensors = load(Folder(str(folder)).read(WEIGHTS_FILE))
    except (ValueError, SafetensorError) as error:
        raise _damaged(folder, error) from error
    return SavedEncoder(
        folder=str(folder),
        encoder=config.encoder,
        injection=config.injection,
        tensors=tensors,
        training_data=config.training_data,
    )


def read_encoder_config(folder: str | Path, spec: BackboneSpec, *, fingerprint: str | None = None) -> EncoderConfig:
    """What a saved encoder for the backbone of this spec is; its weights are not opened.

    BackendError where the encoder is another project's, its config is damaged, or it was trained on another backbone
    or, if a `fingerprint` is given, on the latents and texts of another VAE and text encoder.
    """
    source = Folder(str(folder))
    if not source.exists(CONFIG_FILE):
        raise BackendError(f"{folder} holds no context encoder: it has no {CONFIG_FILE}, which is written last")
    try:
        config = json.loads(source.read(CONFIG_FILE))
        if "_class_name" in config:
            raise BackendError(
                f"{folder} holds a diffusers checkpoint of class {config['_class_name']}, another architecture, which "
                "cannot be read; wanted a folder with a context encoder that `vpdata train` wrote"
            )
        check_same_backbone(config["backbone"], spec, what=f"the context encoder in {folder}")
        read = EncoderConfig(
            encoder=fill(ContextEncoderSettings, config["encoder"]),
            injection=fill(InjectionSettings, config["injection"]),
            training_data=config.get("training_data"),
        )
        trained_with = config["fingerprint"]
    except (ValueError, KeyError, TypeError, ConfigError) as error:
        raise _damaged(folder, error) from error
    if fingerprint not in (None, trained_with):
        raise BackendError(
            f"the context encoder in {folder} was trained with another VAE or text encoder: got the fingerprint "
            f"{trained_with}, wanted {fingerprint}"
        )
    return read


def load_context_encoder(
    folder: str | Path, backbone: Backbone, *, fingerprint: str | None = None
) -> InpaintingBackbone:
    """The backbone with a saved encoder, in the backbone's dtype, on its device, and frozen.

    BackendError as from `read_context_encoder`.
    """
    saved = read_context_encoder(folder, backbone.spec, fingerprint=fingerprint)
    encoder = ContextEncoder(backbone, saved.encoder)
    saved.copy_to(encoder)
    device = next(backbone.transformer.parameters()).device
    return InpaintingBackbone(backbone, encoder.to(device).requires_grad_(False).eval(), saved.injection)


def check_same_backbone(saved: Mapping[str, Any], spec: BackboneSpec, *, what: str) -> None:
    """BackendError that names what differs between the backbone that something was trained on and this one."""
    own = json.loads(json.dumps(to_plain(spec)))
    differing = [key for key in own if saved.get(key) != own[key]]
    if differing:
        trained_on = ", ".join(f"{key} {saved.get(key)}" for key in differing)
        this = ", ".join(f"{key} {own[key]}" for key in differing)
        raise BackendError(f"{what} is for another backbone: it was trained on {trained_on}; this one has {this}")


def _damaged(folder: str | Path, error: Exception) -> BackendError:
    return BackendError(f"{folder} holds a damaged context encoder: {error!r}; save or copy it again")


def parameter_share(trained: Iterable[Tensor], backbone: Backbone) -> float:
    """Trained numbers, divided by those of the backbone's frozen transformer."""
    frozen = sum(value.numel() for value in backbone.transformer.parameters() if not value.requires_grad)
    return sum(value.numel() for value in trained) / frozen
