"""What one stage of the training fits, and how it predicts: all that differs from stage to stage.

The loop, the checkpoints and the parallelism know a stage by this type alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from vpdata.backbones.context_encoder import ContextEncoder, ContextEncoderSettings
from vpdata.backbones.flops import encoder_step_flops
from vpdata.backbones.injector import InjectionSettings
from vpdata.backbones.inpainting import Context, InpaintingBackbone
from vpdata.backbones.port import Backbone, Conditions
from vpdata.backbones.saving import read_context_encoder, save_context_encoder
from vpdata.config import to_plain
from vpdata.errors import ConfigError
from vpdata.train.batch import Batch


class Predict(Protocol):
    """A prediction of the velocity `[B, C, F, h, w]`."""

    def __call__(self, model: nn.Module, batch: Batch, noisy: Tensor, timesteps: Tensor) -> Tensor:
        """`model` is the trainee's own, or a wrapper around it that is called in the same way."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Trainee:
    """A model of which one module is trained."""

    name: str
    """Of the folder that what was trained is saved in."""
    backbone: Backbone
    model: nn.Module
    """The whole; its forward pass is what `predict` calls."""
    trainable: nn.Module
    """Holds all trained parameters; nothing else is saved."""
    encoder: ContextEncoder
    predict: Predict
    sample_flops: Callable[[tuple[int, ...]], float]
    """Floating-point operations of a training step on a sample with latents `[..., F, h, w]`, without recomputation."""
    capture: Callable[[Batch], None] | None = None
    """Let all passes that follow look at the object of a batch's sources, told the batch's text: for sampling, by
    `predict_in_context`. None where there is no source, or where each pass has one of its own."""
    save: Callable[[Path, Mapping[str, Tensor]], None]
    """Write the tensors of `trainable`, whole and on the CPU, to a folder that can be loaded with one call."""

    def parameters(self) -> dict[str, nn.Parameter]:
        """What is trained, by name inside `trainable`."""
        return {name: value for name, value in self.trainable.named_parameters() if value.requires_grad}

    @property
    def num_parameters(self) -> int:
        """Trained numbers, of all ranks together."""
        return sum(value.numel() for value in self.parameters().values())


def context_encoder_trainee(
    backbone: Backbone,
    *,
    encoder: ContextEncoderSettings,
    injection: InjectionSettings,
    fingerprint: str,
    start_from: str | None = None,
    splits: Sequence[Mapping[str, str]] | None = None,
) -> Trainee:
    """Stage 1: the context encoder, in float32, on the frozen backbone.

    `fingerprint`: that of the VAE and text encoder behind the batches. `start_from`: folder of a trained encoder whose
    weights it begins with. BackendError where that is damaged or of another backbone, ConfigError where it was trained
    with other settings. `splits`: `identities` of what is held out, as `save` writes it; None where that is not known.
    """
    trained = ContextEncoder(backbone, encoder).float()
    data = training_data(splits)
    if start_from is not None:
        saved = read_context_encoder(start_from, backbone.spec, fingerprint=fingerprint)
        if (saved.encoder, saved.injection) != (encoder, injection):
            raise ConfigError(
                f"start_from {start_from} was trained with other settings: got encoder {to_plain(encoder)} and "
                f"injection {to_plain(injection)}, wanted {to_plain(saved.encoder)} and {to_plain(saved.injection)}"
            )
        saved.copy_to(trained)
        if data is not None:
            data["start_from"] = saved.training_data
    model = InpaintingBackbone(backbone, trained, injection)

    @cache
    def sample_flops(latent_shape: tuple[int, ...]) -> float:
        flops = encoder_step_flops(
            backbone.spec,
            backbone.transformer.config,  # pyright: ignore[reportArgumentType]  every model of diffusers has one
            latent_shape,
            num_layers=encoder.num_layers,
            injection=injection,
        )
        return flops.model

    def save(folder: Path, tensors: Mapping[str, Tensor]) -> None:
        save_context_encoder(
            folder,
            tensors,
            spec=backbone.spec,
            encoder=encoder,
            injection=injection,
            fingerprint=fingerprint,
            training_data=data,
        )

    return Trainee(
        name="context_encoder",
        backbone=backbone,
        model=model,
        trainable=trained,
        encoder=trained,
        predict=predict_in_context,
        sample_flops=sample_flops,
        save=save,
    )


def training_data(splits: Sequence[Mapping[str, str]] | None) -> dict[str, Any] | None:
    """What is saved with the weights, so that whoever measures them can tell what they may have seen."""
    return None if splits is None else {"splits": list(splits)}


def conditions_of(batch: Batch) -> Conditions:
    """What the backbone is told of a batch."""
    return Conditions(text=batch.text, first_frame=batch.first_frame)


def predict_in_context(model: nn.Module, batch: Batch, noisy: Tensor, timesteps: Tensor) -> Tensor:
    """The prediction that captures nothing, see `Predict`."""
    context = Context(masked=batch.masked, packed_mask=batch.packed_mask)
    return model(noisy, timesteps, conditions_of(batch), context)


def assert_only_trainable(trainee: Trainee) -> None:
    """AssertionError, by name, for a trained parameter outside of what is saved."""
    saved = {id(value) for value in trainee.parameters().values()}
    stray = [name for name, value in trainee.model.named_parameters() if value.requires_grad and id(value) not in saved]
    assert not stray, f"trained but not saved: {stray}"
