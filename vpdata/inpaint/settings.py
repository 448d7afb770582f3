"""One YAML file of `vpdata inpaint`: which models, at what size, how sampled, within which memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vpdata.backbones.identity_saving import CONFIG_FILE as ADAPTER_FILE
from vpdata.backbones.saving import CONFIG_FILE as ENCODER_FILE
from vpdata.backbones.settings import BackboneSettings, TinyName
from vpdata.config import ModelChoice, fill, to_plain
from vpdata.errors import ConfigError
from vpdata.inpaint.diffusion import SamplingSettings
from vpdata.inpaint.first_frame import FirstFrameSettings
from vpdata.inpaint.input_mask import MaskSettings
from vpdata.inpaint.memory import MemorySettings
from vpdata.inpaint.objects import ObjectSettings
from vpdata.inpaint.run import OutputSettings
from vpdata.models.torch_settings import Device, Dtype

BACKBONE = "zai-org/CogVideoX-5b-I2V"
"""What VideoPainter was published on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSettings:
    """The pieces that a video is made in. The defaults are what the context encoder is trained on."""

    num_frames: int = 49
    overlap_frames: int = 9
    """Frames that two windows share: whole latent frames, 4k + 1."""
    area_px: int = 480 * 720
    """About so many pixels a frame has for the model, in the aspect of the video; a checkpoint with learned positions
    takes its own size alone."""

    def __post_init__(self) -> None:
        for name in ("num_frames", "overlap_frames", "area_px"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, wanted at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class StyleSettings:
    """A LoRA of the backbone."""

    weights: str
    """A .safetensors file, or a folder with one, in any layout that diffusers reads for this family."""
    scale: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class InpaintSettings:
    """All that decides what is made of a video, beside the video, the mask and the words."""

    backbone: BackboneSettings = field(default_factory=lambda: BackboneSettings(weights=BACKBONE))
    context_encoder: str
    """Folder that `vpdata train` saved the context encoder in."""
    id_adapter: str | None = None
    """Folder of the ID adapter; None: windows take no objects' identities from each other."""
    styles: tuple[StyleSettings, ...] = ()
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    windows: WindowSettings = field(default_factory=WindowSettings)
    mask: MaskSettings = field(default_factory=lambda: MaskSettings(dilate_px=8))
    """Of the command's mask. It is grown by default: one that cuts into its object leaves a rim behind."""
    output: OutputSettings = field(default_factory=OutputSettings)
    memory: MemorySettings = field(default_factory=MemorySettings)
    objects: ObjectSettings = field(default_factory=ObjectSettings)
    first_frame: FirstFrameSettings | None = None
    """Paints the first frame's hole for image-to-video backbones; None: the user gives that frame."""
    captioner: ModelChoice | None = None
    """Writes the prompt of `--edit`, `--remove` and `--replace`; None: these do with what the user says."""

    def __post_init__(self) -> None:
        if self.memory.compile and self.id_adapter is not None:
            raise ValueError(
                "memory.compile: got an ID adapter too, whose attention differs from block to block, while torch keeps "
                "few variants of what it compiles; wanted one of the two"
            )


def with_trained(data: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """Plain settings with the trained parts of a folder.

    It is a context encoder's own, a training's output, which holds `context_encoder/`, or one that holds the outputs of
    both stages' trainings. An `id_adapter/` beside the encoder is taken too. ConfigError where there is no encoder.
    """
    root = Path(folder)
    encoder = _first_with(ENCODER_FILE, [root, root / "context_encoder", root / "context_encoder" / "context_encoder"])
    if encoder is None:
        raise ConfigError(
            f"got the weights {folder}, which hold no context encoder; wanted a folder that `vpdata train` saved, with "
            "config.json and model.safetensors, or one with context_encoder/ in it"
        )
    found: dict[str, Any] = {"context_encoder": str(encoder)}
    if adapter := _first_with(ADAPTER_FILE, [root / "id_adapter", root / "id_adapter" / "id_adapter"]):
        found["id_adapter"] = str(adapter)
    return {**data, **found}


def _first_with(name: str, folders: Sequence[Path]) -> Path | None:
    return next((folder for folder in folders if (folder / name).is_file()), None)


def settings_from(
    backbone: str | None,
    *,
    tiny: TinyName | None,
    context_encoder: str | Path,
    id_adapter: str | Path | None,
    device: Device,
    dtype: Dtype,
    sections: Mapping[str, Any],
) -> InpaintSettings:
    """From arguments of a call; `sections` are mappings as in the YAML file, or settings objects."""
    if backbone is None and tiny is None:
        backbone = BACKBONE
    plain = {name: to_plain(value) for name, value in sections.items()}
    encoder, adapter = str(context_encoder), None if id_adapter is None else str(id_adapter)
    settings = fill(InpaintSettings, {**plain, "context_encoder": encoder, "id_adapter": adapter})
    return replace(settings, backbone=BackboneSettings(weights=backbone, tiny=tiny, device=device, dtype=dtype))
