"""Wan VACE as diffusers runs it (Jiang et al. 2025, "VACE: all-in-one video creation and editing")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from diffusers.pipelines.wan.pipeline_wan_vace import WanVACEPipeline
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler
from PIL import Image as Picture
from safetensors import SafetensorError

from benchmark.methods.port import Kind, Prompts
from benchmark.methods.tiny_vace import tiny_vace_folder
from benchmark.methods.windows import fill_in_windows
from benchmark.results import Frames
from vpdata.backbones.loading import load_wan_tokenizer
from vpdata.errors import BackendError, ConfigError
from vpdata.inpaint.any_length import Masks, Request
from vpdata.inpaint.fit import Size
from vpdata.inpaint.settings import WindowSettings
from vpdata.models.gpu import torch_device, torch_dtype
from vpdata.models.torch_settings import Device, Dtype
from vpdata.models.weights import fetched_revision, local_weights

_STRIDE_T = 4
_NEGATIVE_PROMPT = (
    "Bright tones, overexposed, static, blurred details, subtitles, style, works, paintings, images, static, overall "
    "gray, worst quality, low quality, JPEG compression residue, ugly, incomplete, extra fingers, poorly drawn hands, "
    "poorly drawn faces, deformed, disfigured, misshapen limbs, fused fingers, still picture, messy background, three "
    "legs, many people in the background, walking backwards"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WanVaceSettings:
    """Which checkpoint, and how it is sampled. The defaults are those of the example in diffusers' documentation."""

    weights: str | None = "Wan-AI/Wan2.1-VACE-1.3B-diffusers"
    """Hub id, or absolute path, of a pipeline in diffusers' layout."""
    revision: str | None = None
    tiny: bool = False
    """A small random one instead, which fetches nothing; `weights` must be null."""
    device: Device = "cuda"
    dtype: Dtype = "bfloat16"
    """Of transformer and text encoder; the VAE works in float32, as its authors say."""
    num_steps: int = 30
    guidance: float = 5.0
    conditioning_scale: float = 1.0
    negative_prompt: str = _NEGATIVE_PROMPT
    flow_shift: float = 3.0
    """More of the steps are spent on strong noise where it is larger: 3 for 480p, 5 for 720p, as the example says."""
    seed: int = 42
    cpu_offload: bool = False
    """Keep on the GPU only the part that works."""
    windows: WindowSettings = field(default_factory=lambda: WindowSettings(num_frames=81, area_px=480 * 832))

    def __post_init__(self) -> None:
        if (self.weights is None) != self.tiny:
            raise ValueError(f"got weights {self.weights} and tiny {self.tiny}, wanted exactly one of the two")
        if self.num_steps < 1:
            raise ValueError(f"got num_steps {self.num_steps}, wanted 1 or more")
        if self.flow_shift <= 0:
            raise ValueError(f"got flow_shift {self.flow_shift}, wanted more than 0")
        if (self.windows.num_frames - 1) % _STRIDE_T:
            raise ValueError(f"got windows of {self.windows.num_frames} frames, wanted 4k + 1")


class WanVace:
    """A `Method`."""

    def __init__(self, settings: WanVaceSettings) -> None:
        """BackendError for weights that are missing or damaged."""
        self._settings = settings
        self._pipeline = _load(settings)

    def inpaint(self, frames: Frames, masks: Masks, prompts: Prompts) -> Frames:
        windows = self._settings.windows
        size = _size(frames.shape[1], frames.shape[2], area_px=windows.area_px, step_px=self._step_px())
        model = _Windows(self._pipeline, self._settings, prompts.video)
        return fill_in_windows(model, frames, masks, size=size, settings=windows, stride_t=_STRIDE_T)

    def _step_px(self) -> int:
        return self._pipeline.vae_scale_factor_spatial * self._pipeline.transformer.config.patch_size[1]


class _Windows:
    """A `WindowModel`."""

    def __init__(self, pipeline: Any, settings: WanVaceSettings, prompt: str) -> None:
        self._pipeline = pipeline
        self._settings = settings
        self._prompt = prompt

    def inpaint(self, request: Request) -> Frames:
        """BackendError where the model gives NaN."""
        settings = self._settings
        num_frames, height, width, _ = request.frames.shape
        # The last frame again, until the VAE takes their number.
        indices = np.minimum(np.arange(num_frames + -(num_frames - 1) % _STRIDE_T), num_frames - 1)
        video = self._pipeline(
            prompt=self._prompt,
            negative_prompt=settings.negative_prompt,
            video=[Picture.fromarray(frame) for frame in request.frames[indices]],
            mask=[Picture.fromarray(mask.astype(np.uint8) * 255) for mask in request.mask[indices]],
            height=height,
            width=width,
            num_frames=len(indices),
            conditioning_scale=settings.conditioning_scale,
            num_inference_steps=settings.num_steps,
            guidance_scale=settings.guidance,
            # Drawn on the CPU, so that noise is the same on every device.
            generator=torch.Generator("cpu").manual_seed(settings.seed + request.window.index),
            output_type="np",
        ).frames[0]
        if num_bad := int(np.count_nonzero(~np.isfinite(video))):
            raise BackendError(f"the model gave {num_bad} values of {video.size} that are NaN or infinite")
        return np.rint(np.clip(video[:num_frames], 0, 1) * 255).astype(np.uint8)


def _load(settings: WanVaceSettings) -> Any:
    folder = tiny_vace_folder() if settings.weights is None else local_weights(settings.weights, settings.revision)
    try:
        pipeline: Any = WanVACEPipeline.from_pretrained(
            folder,
            torch_dtype={"vae": torch.float32, "default": torch_dtype(settings.dtype)},
            local_files_only=True,
            use_safetensors=True,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise BackendError(f"{folder} cannot be loaded as a VACE pipeline: {error}; fetch it again") from error
    if pipeline.transformer is None or pipeline.transformer_2 is not None:
        raise BackendError(f"{folder} holds two transformers, of which each needs its own settings; wanted one")
    pipeline.register_modules(tokenizer=load_wan_tokenizer(folder, pipeline.text_encoder.config))
    pipeline.scheduler = UniPCMultistepScheduler.from_config(pipeline.scheduler.config, flow_shift=settings.flow_shift)
    pipeline.set_progress_bar_config(disable=True)
    device = torch_device(settings.device)
    if settings.cpu_offload:
        pipeline.enable_model_cpu_offload(device=device)
        return pipeline
    return pipeline.to(device)


def _size(height: int, width: int, *, area_px: int, step_px: int) -> Size:
    """About so many pixels in the video's aspect, in whole tokens."""
    scale = (area_px / (height * width)) ** 0.5
    rows, columns = round(height * scale / step_px), round(width * scale / step_px)
    if not rows or not columns:
        raise ConfigError(
            f"a video of {width} x {height} px has no token at {area_px} px; give a larger windows.area_px"
        )
    return Size(height_px=rows * step_px, width_px=columns * step_px)


def _weights(settings: WanVaceSettings) -> Mapping[str, str]:
    if settings.weights is None:
        return {}
    revision = fetched_revision(settings.weights, settings.revision)
    return {} if revision is None else {"pipeline": revision}


KIND = Kind(settings=WanVaceSettings, load=WanVace, weights=_weights)
