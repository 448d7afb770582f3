"""The first frame with its hole filled, which image-to-video backbones must be given: by the user, or by a model."""

from __future__ import annotations

import gc
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image as Picture
from safetensors import SafetensorError

from vpdata.errors import BackendError, ConfigError
from vpdata.inpaint.any_length import Frames, Masks
from vpdata.inpaint.fit import Size, scale_frames
from vpdata.inpaint.pictures import read_picture
from vpdata.models.gpu import torch_device, torch_dtype
from vpdata.models.torch_settings import Device, Dtype
from vpdata.models.weights import local_weights

_MAX_ASPECT_OFF = 0.03
_MAX_PIXELS = 64_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstFrameSettings:
    """An image-inpainting pipeline of diffusers."""

    weights: str
    """Hub id, or absolute path, of a pipeline that AutoPipelineForInpainting or FluxFillPipeline opens."""
    revision: str | None = None
    num_steps: int = 50
    guidance: float | None = None
    """None: the pipeline's own default."""
    seed: int = 42
    device: Device = "cuda"
    dtype: Dtype = "bfloat16"

    def __post_init__(self) -> None:
        if self.num_steps < 1:
            raise ValueError(f"got num_steps {self.num_steps}, wanted 1 or more")


def read_image(path: str | Path) -> Frames:
    """`[H, W, 3]` uint8 RGB of a picture file; ConfigError where it is none."""
    picture = read_picture(Path(path), cv2.IMREAD_COLOR, max_pixels=_MAX_PIXELS)
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB).astype(np.uint8)


def check_aspect(picture: Frames, *video: Size) -> None:
    """ConfigError where a given first frame has none of the video's sizes' aspects, as a part of a frame would not.

    Anamorphic video has two sizes: pixels as they are stored, and as they are shown.
    """
    height, width = picture.shape[:2]
    aspects = [size.width_px / size.height_px for size in video]
    if min(abs(width / height / aspect - 1) for aspect in aspects) > _MAX_ASPECT_OFF:
        sizes = " or ".join(dict.fromkeys(f"{size.width_px} x {size.height_px} px" for size in video))
        raise ConfigError(
            f"the first frame given is {width} x {height} px, another aspect than the video's {sizes}; give the whole "
            "first frame of the video with its hole filled"
        )


class GivenFirstFrame:
    """A `FirstFramePainter` that takes the hole's pixels from a picture of the whole first frame, of any size."""

    def __init__(self, picture: Frames) -> None:
        self._picture = picture

    def paint(self, frame: Frames, mask: Masks) -> Frames:
        height, width = frame.shape[:2]
        (scaled,) = scale_frames(self._picture[None], Size(height_px=height, width_px=width))
        return np.where(mask[..., None], scaled, frame)


class ModelFirstFrame:
    """A `FirstFramePainter` that loads an image model for the one frame, and lets it go."""

    def __init__(self, settings: FirstFrameSettings, *, prompt: str) -> None:
        self._settings = settings
        self._prompt = prompt

    def paint(self, frame: Frames, mask: Masks) -> Frames:
        """BackendError where the weights cannot be loaded or run, or their safety checker blacks the picture out."""
        settings = self._settings
        pipeline = _load(settings)
        try:
            output = self._output(pipeline, frame, mask)
        except torch.OutOfMemoryError as error:
            # The part that was at work is on the GPU still.
            pipeline.maybe_free_model_hooks()
            raise BackendError(
                f"the GPU's memory does not hold {settings.weights}, which makes the first frame, beside the video's "
                "model; give the first frame with its hole filled (--first-frame) or a smaller image model (--set "
                "first_frame.weights=...), or leave it more room (--set memory.offload=layers)"
            ) from error
        finally:
            # Parts of it hold themselves, by accelerate's hooks and without.
            del pipeline
            gc.collect()
            if settings.device == "cuda":
                torch.cuda.empty_cache()
        # Only some pipelines have a checker: None without one, and else a flag for each picture.
        if any(getattr(output, "nsfw_content_detected", None) or ()):
            raise BackendError(
                f"the safety checker of {settings.weights} has blacked out the first frame that was made; take another "
                "seed (--set first_frame.seed=...), or give the first frame with its hole filled (--first-frame)"
            )
        height, width = frame.shape[:2]
        made = output.images[0].convert("RGB").resize((width, height))
        return np.where(mask[..., None], np.asarray(made), frame)

    def _output(self, pipeline: Any, frame: Frames, mask: Masks) -> Any:
        settings = self._settings
        height, width = frame.shape[:2]
        guidance = {} if settings.guidance is None else {"guidance_scale": settings.guidance}
        return pipeline(
            prompt=self._prompt,
            image=Picture.fromarray(frame),
            mask_image=Picture.fromarray(mask.astype(np.uint8) * 255),
            height=height,
            width=width,
            num_inference_steps=settings.num_steps,
            generator=torch.Generator("cpu").manual_seed(settings.seed),
            **guidance,
        )


def _load(settings: FirstFrameSettings) -> Any:
    from diffusers.pipelines.auto_pipeline import AutoPipelineForInpainting
    from diffusers.pipelines.flux.pipeline_flux_fill import FluxFillPipeline

    folder = local_weights(settings.weights, settings.revision)
    # The automatic choice does not know Flux Fill, which has no other task.
    name = json.loads((folder / "model_index.json").read_text()).get("_class_name") if _is_pipeline(folder) else None
    kind: Any = FluxFillPipeline if name == "FluxFillPipeline" else AutoPipelineForInpainting
    try:
        pipeline = kind.from_pretrained(
            folder, torch_dtype=torch_dtype(settings.dtype), local_files_only=True, use_safetensors=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise BackendError(f"{folder} cannot be loaded as an image-inpainting pipeline: {error}") from error
    pipeline.set_progress_bar_config(disable=True)
    device = torch_device(settings.device)
    if device.type == "cuda":
        # The video's own model is in the GPU's memory too.
        pipeline.enable_model_cpu_offload(device=device)
    return pipeline


def _is_pipeline(folder: Path) -> bool:
    if not (folder / "model_index.json").is_file():
        raise BackendError(f"{folder} has no model_index.json, wanted the folder of a whole pipeline of diffusers")
    return True
