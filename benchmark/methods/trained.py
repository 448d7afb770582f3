"""The model of this project: a backbone with its context encoder, and with its ID adapter where one is named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.methods.port import Kind, Prompts
from benchmark.methods.weights import digest_of, of_backbone, of_first_frame
from benchmark.results import HELD_OUT_OF, Frames
from vpdata.backbones import identity_saving, saving
from vpdata.backbones.loading import read_spec
from vpdata.errors import ConfigError
from vpdata.inpaint.any_length import Masks
from vpdata.inpaint.inpainter import Inpainter
from vpdata.inpaint.settings import InpaintSettings


class Trained:
    """A `Method`. Its options are those of `vpdata inpaint`'s config, of which `mask`, `output` and `objects`, which
    are of the command, change nothing here.
    """

    def __init__(self, settings: InpaintSettings) -> None:
        self._inpainter = Inpainter(settings)

    def inpaint(self, frames: Frames, masks: Masks, prompts: Prompts) -> Frames:
        return self._inpainter(frames, masks, prompts.video, raw=True)


def _weights(settings: InpaintSettings) -> Mapping[str, str]:
    weights = {**of_backbone(settings.backbone), **of_first_frame(settings.first_frame)}
    parts = {"context_encoder": settings.context_encoder, "id_adapter": settings.id_adapter}
    parts |= {f"style {index}": style.weights for index, style in enumerate(settings.styles)}
    for name, part in parts.items():
        if part is not None:
            path = Path(part)
            files = [path] if path.is_file() else path.glob("*.safetensors")
            weights[name] = digest_of(path.parent if path.is_file() else path, files)
    configs = {"context_encoder": saving.CONFIG_FILE, "id_adapter": identity_saving.CONFIG_FILE}
    for name, file in configs.items():
        if (folder := parts[name]) is not None:
            weights[f"{HELD_OUT_OF}{name}"] = _held_out(_training_data(Path(folder, file)))
    return weights


def _training_data(config: Path) -> Mapping[str, Any] | None:
    """What a training has written of its data; None where nothing is known."""
    try:
        return json.loads(config.read_bytes()).get("training_data") if config.exists() else None
    except ValueError as error:
        raise ConfigError(f"{config} is damaged: {error}; copy or export it again") from error


def _held_out(training_data: Mapping[str, Any] | None) -> str:
    """Name and the first digits of the hash of each split that a training kept to, and of the training before it."""
    if training_data is None:
        return "unknown"
    told = " and ".join(f"{split['name']} {split['sha256'][:8]}" for split in training_data["splits"]) or "nothing"
    return f"{told}, before that {_held_out(training_data['start_from'])}" if "start_from" in training_data else told


def _needs_first_frame(settings: InpaintSettings) -> bool:
    return settings.first_frame is None and read_spec(settings.backbone).takes_first_frame


KIND = Kind(settings=InpaintSettings, load=Trained, weights=_weights, needs_first_frame=_needs_first_frame)
