"""The model of this project: a backbone with its context encoder, and with its ID adapter where one is named."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from benchmark.methods.port import Kind, Prompts
from benchmark.methods.weights import digest_of, of_backbone, of_first_frame
from benchmark.results import Frames
from vpdata.backbones.loading import read_spec
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
    return weights


def _needs_first_frame(settings: InpaintSettings) -> bool:
    return settings.first_frame is None and read_spec(settings.backbone).takes_first_frame


KIND = Kind(settings=InpaintSettings, load=Trained, weights=_weights, needs_first_frame=_needs_first_frame)
