"""`vpdata.Inpainter`: frames, masks and a prompt in, frames out."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.hooks.group_offloading import _maybe_remove_and_reapply_group_offloading

from vpdata.backbones.identity_saving import load_id_adapter, read_adapter_config
from vpdata.backbones.loading import (
    fingerprint,
    load_backbone,
    load_codec,
    load_text_encoder,
    read_spec,
    weights_bytes,
)
from vpdata.backbones.port import Backbone
from vpdata.backbones.saving import load_context_encoder, read_encoder_config
from vpdata.backbones.settings import TinyName
from vpdata.backbones.spec import BackboneSpec
from vpdata.backbones.styles import check_style, merge_style
from vpdata.config import to_plain
from vpdata.errors import ConfigError
from vpdata.inpaint.any_length import Frames, Masks, WindowModel, inpaint_any_length
from vpdata.inpaint.diffusion import DiffusionWindows, FirstFramePainter, check_steps
from vpdata.inpaint.first_frame import GivenFirstFrame, ModelFirstFrame, check_aspect
from vpdata.inpaint.fit import Size, model_size, scale_frames, scale_masks
from vpdata.inpaint.memory import MemoryNeeds, WithinMemory, free_bytes, plan_memory, window_needs
from vpdata.inpaint.paste import paste
from vpdata.inpaint.prompts import PromptEmbedder, PromptsByFrame, by_frame, check_frames, warn_of_unused
from vpdata.inpaint.settings import InpaintSettings, StyleSettings, WindowSettings, settings_from
from vpdata.inpaint.windows import Window, plan_windows
from vpdata.models.gpu import torch_device
from vpdata.models.torch_settings import Device, Dtype

_log = logging.getLogger(__name__)

OnStep = Callable[[Window, int], None]
"""Told of each step of each window that is made; may raise to stop."""


class Inpainter:
    """A backbone with its trained parts, ready for any number of videos."""

    def __init__(self, settings: InpaintSettings) -> None:
        """Load all but the text encoder, which the first prompt loads.

        BackendError for weights that are missing, damaged, or trained on another backbone.
        """
        self.settings = settings
        self.spec: BackboneSpec = check_ready(settings)
        self._device = torch_device(settings.backbone.device)
        self._needs = self._estimated_needs()
        self._memory = plan_memory(settings.memory, self._needs, free=free_bytes(self._device))
        _log.info(
            "memory: offload %s, vae_tiling %s: about %.1f GB at the peak, by an estimate",
            *(self._memory.offload, self._memory.vae_tiling, self._memory.peak(self._needs) / 1e9),
        )
        self._backbone = self._loaded_backbone()
        check_steps(settings.sampling, self._backbone.objective)
        for style in settings.styles:
            merge_style(style.weights, self._backbone, scale=style.scale)
        self._model = load_context_encoder(
            settings.context_encoder, self._backbone, fingerprint=fingerprint(settings.backbone)
        )
        self._model.encoder.to(self._device)
        self._put_identity_in()
        self._codec = load_codec(settings.backbone, tiled=self._memory.vae_tiling)
        texts = settings.backbone
        if self._memory.offload != "none":
            texts = dataclasses.replace(texts, device="cpu")
        self._embedder = PromptEmbedder(lambda: load_text_encoder(texts), device=self._device)
        self._speed_up()

    @classmethod
    def from_pretrained(
        cls,
        backbone: str | None = None,
        *,
        context_encoder: str | Path,
        id_adapter: str | Path | None = None,
        tiny: TinyName | None = None,
        device: Device = "cuda",
        dtype: Dtype = "bfloat16",
        **sections: Any,
    ) -> Inpainter:
        """From the hub id or path of a backbone, or the name of a tiny one, and the folders of the trained parts.

        `sections` are those of `InpaintSettings`, as mappings or settings: `sampling={"num_steps": 30}`. Errors as from
        the constructor, and ConfigError for a setting that is unknown or wrong.
        """
        return cls(
            settings_from(
                backbone,
                tiny=tiny,
                context_encoder=context_encoder,
                id_adapter=id_adapter,
                device=device,
                dtype=dtype,
                sections=sections,
            )
        )

    def __call__(
        self,
        frames: Frames,
        masks: Masks,
        prompt: str | PromptsByFrame = "",
        *,
        first_frame: Frames | None = None,
        raw: bool = False,
        on_step: OnStep = lambda window, step: None,
    ) -> Frames:
        """The video with its hole filled: uint8 `[F, H, W, 3]` RGB, as many frames of the size of `frames`.

        `masks`: bool `[F, H, W]`, True = hole; where none is masked the frames come back as they are. `prompt`: what is
        to be seen, one text or one from each of some frames on. `first_frame`: uint8 `[h, w, 3]`, the first frame with
        its hole filled, for image-to-video backbones. `raw`: all pixels as the model made them, scaled, known ones too.
        ConfigError for arrays that do not fit, and where a first frame is needed and not given.
        """
        _check(frames, masks)
        if not masks.any():
            _log.warning("the mask is empty: the video is returned as it is")
            return frames.copy()
        own = Size(height_px=frames.shape[1], width_px=frames.shape[2])
        if first_frame is not None:
            check_aspect(first_frame, own)
        size = self.model_size(own)
        windows = self.windows(len(frames))
        texts = by_frame(prompt)
        check_frames(texts, len(frames))
        warn_of_unused(texts, windows)
        model = self.window_model(texts, first_frame=first_frame, on_step=on_step)
        stops = [window.start for window in windows[1:]] + [len(frames)]
        made = inpaint_any_length(model, iter(scale_frames(frames, size)), iter(scale_masks(masks, size)), windows)
        # Of each window what no later one makes again.
        video = np.concatenate([one.frames[: stop - one.window.start] for one, stop in zip(made, stops, strict=True)])
        video = scale_frames(video, own)
        return video if raw else paste(frames, video, masks, feather_px=self.settings.output.feather_px)

    def load_lora(self, weights: str | Path, *, scale: float = 1.0) -> None:
        """Merge a LoRA of the backbone, a style, for all that follows; see `StyleSettings`.

        BackendError for one that is missing, damaged, or for another backbone; then all is as it was.
        """
        if self._model.identity is not None:
            # Its layers stand around the weights that the style is merged into.
            self._without_identity()
        try:
            merge_style(weights, self._backbone, scale=scale)
        finally:
            self._put_identity_in()
            # The adapter's layers are new, and have no hooks that bring them to the GPU.
            _maybe_remove_and_reapply_group_offloading(self._backbone.transformer)
        styles = (*self.settings.styles, StyleSettings(weights=str(weights), scale=scale))
        self.settings = dataclasses.replace(self.settings, styles=styles)

    def model_size(self, video: Size) -> Size:
        """At which the model works on a video of this size."""
        if (only := self._backbone.only_size_px) is None:
            return model_size(video, self.spec, area_px=self.settings.windows.area_px)
        size = Size(height_px=only[0], width_px=only[1])
        stretch = (size.width_px / size.height_px) / (video.width_px / video.height_px)
        if not 0.8 < stretch < 1.25:
            _log.warning(
                "this backbone takes frames of %d x %d px alone: a video of %d x %d px is stretched for it and back",
                *(size.width_px, size.height_px, video.width_px, video.height_px),
            )
        return size

    def windows(self, num_frames: int) -> list[Window]:
        """The windows that a video is made in; ConfigError for settings that the backbone does not take."""
        return windows_for(num_frames, spec=self.spec, settings=self.settings.windows)

    def window_model(
        self,
        prompt: str | PromptsByFrame,
        *,
        first_frame: Frames | None = None,
        on_step: OnStep = lambda window, step: None,
    ) -> WindowModel:
        """What fills the windows of one video, at the model's size; arguments as of a call."""
        texts = by_frame(prompt)
        windows = DiffusionWindows(
            self._model,
            self._codec,
            self._embedder.prompts(texts, negative=self.settings.sampling.negative_prompt),
            self.settings.sampling,
            first_frame=self._first_frame_painter(first_frame, texts[0]),
            on_step=on_step,
        )
        return WithinMemory(windows, plan=self._memory, needs=self._needs, attention=self.settings.memory.attention)

    def identity(self, prompt: str | PromptsByFrame, *, first_frame: Frames | None = None) -> dict[str, Any]:
        """What decides the result beside the video and its mask, as JSON takes it; trained weights by their hash."""
        settings = self.settings
        trained = [
            settings.context_encoder,
            *filter(None, [settings.id_adapter]),
            *(one.weights for one in settings.styles),
        ]
        plain = to_plain(settings)
        return {
            "backbone": {**plain["backbone"], "fingerprint": fingerprint(settings.backbone)},
            "trained": [_hash_of(Path(one)) for one in trained],
            "scales": [style.scale for style in settings.styles],
            "sampling": plain["sampling"],
            "vae_tiling": self._memory.vae_tiling,
            "prompts": {str(frame): text for frame, text in by_frame(prompt).items()},
            "first_frame": plain["first_frame"] if first_frame is None else _digest([first_frame.tobytes()]),
        }

    def _estimated_needs(self) -> MemoryNeeds:
        settings, spec = self.settings, self.spec
        frames = -(-settings.windows.num_frames // spec.stride_t)
        cells = settings.windows.area_px // spec.stride_px**2
        trained = [settings.context_encoder, *filter(None, [settings.id_adapter])]
        return window_needs(
            transformer=weights_bytes(settings.backbone, "transformer"),
            num_blocks=spec.num_blocks,
            text_encoder=sum(weights_bytes(settings.backbone, part) for part in ("text_encoder", "text_encoder_2")),
            trained=sum(file.stat().st_size for folder in trained for file in Path(folder).glob("*.safetensors")),
            dim=spec.dim,
            num_tokens=frames * cells // (spec.patch[1] * spec.patch[2]),
            num_pixels=settings.windows.area_px,
        )

    def _loaded_backbone(self) -> Backbone:
        if self._memory.offload != "layers":
            return load_backbone(self.settings.backbone)
        return load_backbone(dataclasses.replace(self.settings.backbone, device="cpu"))

    def _put_identity_in(self) -> None:
        if self.settings.id_adapter is not None:
            self._model.identity = load_id_adapter(self.settings.id_adapter, self._backbone)
            self._backbone.transformer.requires_grad_(False)

    def _without_identity(self) -> None:
        transformer: Any = self._backbone.transformer
        transformer.unload_lora()
        self._model.identity = None

    def _speed_up(self) -> None:
        """Offloading and compiling, of the finished model."""
        transformer: Any = self._backbone.transformer
        if self._memory.offload == "layers":
            # Per leaf, since the context encoder calls the transformer's embedders on their own.
            transformer.enable_group_offload(
                onload_device=self._device, offload_type="leaf_level", use_stream=self._device.type == "cuda"
            )
        if self.settings.memory.compile:
            for block in [*self._backbone.blocks, *self._model.encoder.blocks]:
                # What is compiled stands below the hooks that add the encoder's hints.
                block.forward = torch.compile(block.forward)

    def _first_frame_painter(self, picture: Frames | None, prompt: str) -> FirstFramePainter | None:
        if picture is not None:
            check_takes_first_frame(self.spec)
            return GivenFirstFrame(picture)
        if self.settings.first_frame is not None and self.spec.takes_first_frame:
            return ModelFirstFrame(self.settings.first_frame, prompt=prompt)
        return None


def windows_for(num_frames: int, *, spec: BackboneSpec, settings: WindowSettings) -> list[Window]:
    """The windows that a video is made in; ConfigError for settings that the backbone does not take."""
    spec.latent_frames(settings.num_frames)
    return plan_windows(
        num_frames,
        window_frames=settings.num_frames,
        overlap_frames=settings.overlap_frames,
        stride_t=spec.stride_t,
    )


def check_ready(settings: InpaintSettings) -> BackboneSpec:
    """The backbone's sizes; errors as from `Inpainter`, of all that shows before weights are opened."""
    torch_device(settings.backbone.device)
    spec = read_spec(settings.backbone)
    if spec.expert is not None:
        raise ConfigError(
            f"backbone.expert is {spec.expert}: a checkpoint of two transformers cannot inpaint by one; wanted a "
            "checkpoint with one, such as Wan 2.1 or Wan 2.2 TI2V-5B"
        )
    for style in settings.styles:
        check_style(style.weights)
    read_encoder_config(settings.context_encoder, spec, fingerprint=fingerprint(settings.backbone))
    if settings.id_adapter is not None:
        read_adapter_config(settings.id_adapter, spec)
    return spec


def check_takes_first_frame(spec: BackboneSpec) -> None:
    """ConfigError for a backbone that makes video from text alone."""
    if not spec.takes_first_frame:
        raise ConfigError(f"got a first frame, but this {spec.family} makes video from text and takes none")


def _hash_of(weights: Path) -> str:
    """Of a file, or of all weights in a folder."""
    files = [weights] if weights.is_file() else sorted(weights.glob("*.safetensors"))
    return _digest(file.read_bytes() for file in files)


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]


def _check(frames: Frames, masks: Masks) -> None:
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not len(frames):
        raise ConfigError(f"got frames {frames.dtype} {list(frames.shape)}, wanted uint8 [F, H, W, 3]")
    if masks.dtype != np.bool_ or masks.shape != frames.shape[:3]:
        raise ConfigError(
            f"got masks {masks.dtype} {list(masks.shape)}, wanted bool {list(frames.shape[:3])}, one for each frame "
            "and of its size"
        )
