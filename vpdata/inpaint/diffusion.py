"""One window filled by a backbone with its context encoder, and its ID adapter where there is one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from vpdata.backbones.codec import LatentCodec
from vpdata.backbones.identity_adapter import IdentitySettings, IdentitySource
from vpdata.backbones.inpainting import Context, InpaintingBackbone
from vpdata.backbones.latent_masks import cells, pack, union_over_groups
from vpdata.backbones.objective import Objective
from vpdata.backbones.port import Conditions
from vpdata.backbones.sampler import KnownLatents, Velocity, guided, sample
from vpdata.errors import ConfigError, RunError
from vpdata.inpaint.any_length import Frames, MadeWindow, Masks, Request
from vpdata.inpaint.windows import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingSettings:
    """How a window is sampled."""

    num_steps: int = 50
    guidance: float = 6.0
    """Scale of classifier-free guidance; 1 is none and takes half the time."""
    negative_prompt: str = ""
    """What guidance leads away from; empty, as in training: from what would be made without words."""
    seed: int = 42
    """With the number of the window it decides the noise."""
    keep_known: bool = False
    """Overwrite the known latents after each step, as VideoPainter's `replace_gt`. It ties the hole's surroundings to
    the video, and shows seams where the mask is tight: dilate the mask."""

    def __post_init__(self) -> None:
        if self.num_steps < 1 or self.guidance < 1:
            raise ValueError(f"got num_steps {self.num_steps} and guidance {self.guidance}, wanted 1 or more of both")
        if self.negative_prompt and self.guidance == 1:
            raise ValueError(
                f"got the negative_prompt {self.negative_prompt!r} with guidance 1, which is none and does not use it; "
                "wanted more guidance, such as 6, or no negative_prompt"
            )


def check_steps(settings: SamplingSettings, objective: Objective) -> None:
    """ConfigError for more steps than there are timesteps, whose number is the same for windows of any size."""
    timesteps = objective.for_tokens(1).sampling_timesteps(settings.num_steps)
    if len(timesteps.unique()) < settings.num_steps or timesteps.min() < 0:
        raise ConfigError(
            f"sampling.num_steps: got {settings.num_steps}, more than the checkpoint's scheduler has timesteps; wanted "
            "fewer, such as 50"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """Embedded prompts."""

    of_window: Callable[[Window], Tensor]
    """[1, text_length, text_dim]"""
    empty: Tensor
    """Of the negative prompt, which is empty unless one is set, for guidance."""


class FirstFramePainter(Protocol):
    """Fills the hole of one image, for backbones that must be given the first frame."""

    def paint(self, frame: Frames, mask: Masks) -> Frames:
        """The frame `[height, width, 3]` with its hole `[height, width]` filled."""
        ...


class DiffusionWindows:
    """A `WindowModel`. Frames must have a size and a number that the backbone takes; fewer are filled up."""

    def __init__(
        self,
        model: InpaintingBackbone,
        codec: LatentCodec,
        prompts: Prompts,
        settings: SamplingSettings,
        *,
        first_frame: FirstFramePainter | None = None,
        on_step: Callable[[Window, int], None] = lambda window, step: None,
    ) -> None:
        """`on_step` is told of each step and may raise to stop."""
        self._model = model
        self._codec = codec
        self._prompts = prompts
        self._settings = settings
        self._first_frame = first_frame
        self._on_step = on_step
        self._spec = model.backbone.spec

    @torch.inference_mode()
    def inpaint(self, request: Request) -> Frames:
        """See `WindowModel`. ConfigError where the backbone must be given a first frame and none can be painted.

        RunError where the models gave values that are no numbers.
        """
        num_frames = len(request.frames)
        frames, mask = self._filled_up(request.frames, request.mask)
        if self._spec.takes_first_frame and mask[0].any():
            frames[0], mask[0] = self._painted(frames[0], mask[0]), False
        latents = self._sampled(request, frames, mask)
        video = self._codec.decode(latents)
        if not torch.isfinite(video).all():
            raise RunError(
                f"frames {request.window.start} to {request.window.stop}: the models gave values that are no numbers; "
                "set backbone.dtype: float32 (or bfloat16 instead of float16), or try other weights"
            )
        return as_frames(video)[:num_frames]

    def _sampled(self, request: Request, frames: Frames, mask: Masks) -> Tensor:
        window, backbone = request.window, self._model.backbone
        context = self._context(frames, mask)
        text = self._prompts.of_window(window)
        conditions = self._conditions(text, frames)
        self._model.forget_identity()
        if self._model.identity is not None and request.previous is not None and request.previous.mask.any():
            self._model.capture_identity(self._source(self._model.identity.settings, request, request.previous, text))

        def velocity_of(conditions: Conditions) -> Velocity:
            return lambda noisy, timesteps: self._model(noisy, timesteps, conditions, context)

        return sample(
            guided(
                velocity_of(conditions),
                velocity_of(self._conditions(self._prompts.empty, frames)),
                scale=self._settings.guidance,
            ),
            self._noise(context.masked, f"window {window.index}"),
            backbone.objective_for(context.masked.shape),
            num_steps=self._settings.num_steps,
            known=self._known(context, num_given=backbone.num_given_frames(conditions)),
            on_step=lambda step: self._on_step(window, step),
        )

    def _known(self, context: Context, *, num_given: int) -> KnownLatents | None:
        """What is not sampled. For latent frames that the backbone is given in their own place it predicts nothing."""
        if self._settings.keep_known:
            return KnownLatents(clean=context.masked, hole=cells(context.packed_mask))
        if not num_given:
            return None
        hole = torch.ones_like(context.masked[:, :1])
        hole[:, :, :num_given] = 0
        return KnownLatents(clean=context.masked, hole=hole)

    def _context(self, frames: Frames, mask: Masks) -> Context:
        """Latents of the frames with a grey hole, and the hole itself on the latents' grid."""
        masked = as_video(frames)
        masked[torch.from_numpy(mask)[None, None].expand_as(masked)] = 0
        latents = self._codec.encode(masked)
        unions = torch.from_numpy(union_over_groups(mask, stride_t=self._spec.stride_t))[None]
        packed = pack(unions.to(latents.device, latents.dtype), stride_px=self._spec.stride_px)
        return Context(masked=latents, packed_mask=packed)

    def _conditions(self, text: Tensor, frames: Frames) -> Conditions:
        first_frame = None
        if self._spec.takes_first_frame:
            first_frame = self._codec.first_frame(as_video(frames[:1])[:, :, 0], num_frames=len(frames))
        return Conditions(text=text, first_frame=first_frame)

    def _source(
        self, settings: IdentitySettings, request: Request, previous: MadeWindow, text: Tensor
    ) -> IdentitySource:
        """What the window before shows in its hole."""
        clean = self._codec.encode(as_video(previous.frames))
        objective = self._model.backbone.objective_for(clean.shape)
        timesteps = objective.timesteps(torch.full((1,), settings.source_noise)).to(clean.device)
        noise = self._noise(clean, f"identity {request.window.index}")
        return IdentitySource(
            latents=objective.add_noise(clean, noise, timesteps),
            timesteps=timesteps,
            conditions=self._conditions(text, previous.frames),
            object_cells=self._object_cells(previous, clean),
            first_latent_frame=(previous.window.start - request.window.start) // self._spec.stride_t,
        )

    def _object_cells(self, previous: MadeWindow, like: Tensor) -> Tensor:
        unions = torch.from_numpy(union_over_groups(previous.mask, stride_t=self._spec.stride_t))[None]
        return cells(pack(unions.to(like.device, like.dtype), stride_px=self._spec.stride_px))

    def _noise(self, like: Tensor, purpose: str) -> Tensor:
        """Drawn on the CPU, so that it is the same on every device."""
        digest = hashlib.blake2b(f"{self._settings.seed}/{purpose}".encode(), digest_size=8).digest()
        random = torch.Generator("cpu").manual_seed(int.from_bytes(digest, "big") >> 1)
        return torch.randn(like.shape, generator=random).to(like)

    def _painted(self, frame: Frames, mask: Masks) -> Frames:
        if self._first_frame is None:
            raise no_first_frame(self._spec.family)
        return self._first_frame.paint(frame, mask)

    def _filled_up(self, frames: Frames, mask: Masks) -> tuple[Frames, Masks]:
        """Copies whose number of frames the codec takes, the last frame repeated."""
        missing = -(len(frames) - 1) % self._spec.stride_t
        return (
            np.concatenate([frames, *[frames[-1:]] * missing]),
            np.concatenate([mask, *[mask[-1:]] * missing]),
        )


def no_first_frame(family: str) -> ConfigError:
    """What to do about a backbone that must be given a first frame."""
    return ConfigError(
        f"this {family} must be given a first frame: give one whose hole is filled (--first-frame), or name an "
        "image-inpainting model in the config (first_frame.weights)"
    )


def as_video(frames: Frames) -> Tensor:
    """`[F, H, W, 3]` uint8 to `[1, 3, F, H, W]` float32 in [-1, 1]."""
    return (torch.from_numpy(np.ascontiguousarray(frames)).permute(3, 0, 1, 2).float() / 127.5 - 1)[None]


def as_frames(video: Tensor) -> Frames:
    """The inverse of `as_video`, rounded."""
    pixels = ((video[0].float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return pixels.permute(1, 2, 3, 0).cpu().numpy()
