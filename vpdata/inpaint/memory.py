"""What fits into the GPU's memory: options that trade time for it, and which of them would help when it ran out.

The estimates are of the weights' files, which are known, and of what a pass through transformer and VAE needs beside
them, which is a rule of thumb; they choose defaults and word an error, and decide nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from vpdata.errors import BackendError
from vpdata.inpaint.any_length import Frames, Request, WindowModel

Offload = Literal["none", "text_encoder", "layers"]
Attention = Literal["auto", "flash", "cudnn", "efficient", "math"]

_KERNELS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH,
}
_SPARE_FRAC = 0.1
"""Kept free beyond the estimate: the allocator's own losses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySettings:
    """Where memory is saved; None: as much as the free memory of the GPU asks for, and nothing on a CPU."""

    offload: Offload | None = None
    """text_encoder: it works on the CPU, seconds per prompt; layers: so it does, and the transformer's weights come to
    the GPU layer by layer, several times slower and with the least memory."""
    vae_tiling: bool | None = None
    """Encode and decode frames in blended tiles: less memory, and slightly other pixels."""
    compile: bool = False
    """Compile the transformer's blocks: minutes at first, then faster."""
    attention: Attention = "auto"
    """Kernel of torch's attention; auto: torch chooses. One that cannot do the work stops with an error. Some kernels
    take no mask, which identities of several objects may need."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryNeeds:
    """Bytes that one window takes on the GPU."""

    transformer: int
    largest_layer: int
    """Of the transformer: what is there of it at a time where it comes layer by layer."""
    text_encoder: int
    trained: int
    """Context encoder and ID adapter."""
    denoising: int
    """Beside the weights."""
    vae: int
    """Beside the weights, which are small."""
    vae_tiled: int

    def peak(self, *, offload: Offload, vae_tiling: bool) -> int:
        """The most memory in use."""
        weights = self.trained + (self.largest_layer if offload == "layers" else self.transformer)
        if offload == "none":
            weights += self.text_encoder
        return weights + max(self.denoising, self.vae_tiled if vae_tiling else self.vae)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """What is done."""

    offload: Offload
    vae_tiling: bool

    def peak(self, needs: MemoryNeeds) -> int:
        """The most bytes in use."""
        return needs.peak(offload=self.offload, vae_tiling=self.vae_tiling)


PLANS = tuple(
    MemoryPlan(offload=offload, vae_tiling=tiling)
    for offload, tiling in product(("none", "text_encoder", "layers"), (False, True))
)
"""From the fastest to the most sparing."""


def window_needs(
    *, transformer: int, num_blocks: int, text_encoder: int, trained: int, dim: int, num_tokens: int, num_pixels: int
) -> MemoryNeeds:
    """The first four in bytes; `num_pixels` of one frame."""
    # In a block of CogVideoX or Wan about twenty arrays of all tokens are alive, and a VAE has about eight of 128
    # channels for the eight frames that it makes at a time; two bytes each.
    vae = 8 * num_pixels * 128 * 2 * 8
    return MemoryNeeds(
        transformer=transformer,
        largest_layer=2 * transformer // num_blocks,
        text_encoder=text_encoder,
        trained=trained,
        denoising=20 * num_tokens * dim * 2,
        vae=vae,
        vae_tiled=vae // 4,
    )


def plan_memory(settings: MemorySettings, needs: MemoryNeeds, *, free: int | None) -> MemoryPlan:
    """The fastest plan that fits into `free` bytes, or the most sparing one; None for `free`: memory is no matter."""
    allowed = [
        plan
        for plan in PLANS
        if settings.offload in (None, plan.offload) and settings.vae_tiling in (None, plan.vae_tiling)
    ]
    if free is None:
        return allowed[0]
    return next((plan for plan in allowed if _fits(plan, needs, free)), allowed[-1])


def advice(plan: MemoryPlan, needs: MemoryNeeds, *, total: int) -> str:
    """What to do when memory ran out under a plan: the options that would fit into `total` bytes, by the estimate.

    Finished windows have another tiling or size than what some of them would make; those come with `--redo`.
    """
    sparing = [other for other in PLANS if other.peak(needs) < plan.peak(needs)]
    fitting = [other for other in sparing if _fits(other, needs, total)]
    if fitting:
        options = [
            f"--set memory.offload={other.offload} --set memory.vae_tiling={str(other.vae_tiling).lower()}"
            f"{'' if other.vae_tiling == plan.vae_tiling else ' --redo'} (about {other.peak(needs) / 1e9:.1f} GB)"
            for other in fitting
        ]
        return f"these would fit: {'; or '.join(options)}"
    smaller = replace(needs, denoising=needs.denoising // 2, vae=needs.vae // 2, vae_tiled=needs.vae_tiled // 2)
    least = PLANS[-1]
    words = "" if plan == least else "--set memory.offload=layers --set memory.vae_tiling=true and "
    return (
        f"give {words}windows of half the area (--set windows.area_px=...) or half the frames (--set "
        f"windows.num_frames=...), which need about {least.peak(smaller) / 1e9:.1f} GB, and --redo"
    )


class WithinMemory:
    """A `WindowModel` that runs another under the chosen attention kernel, and says what helps when memory runs out."""

    def __init__(self, model: WindowModel, *, plan: MemoryPlan, needs: MemoryNeeds, attention: Attention) -> None:
        self._model = model
        self._plan = plan
        self._needs = needs
        self._attention: Attention = attention

    def inpaint(self, request: Request) -> Frames:
        """See `WindowModel`; BackendError where memory runs out."""
        with _attention_kernel(self._attention), _saying_what_fits(self._plan, self._needs, request):
            return self._model.inpaint(request)


def free_bytes(device: torch.device) -> int | None:
    """Of a GPU; None for a CPU, which has no choice."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


@contextmanager
def _attention_kernel(name: Attention) -> Iterator[None]:
    if name == "auto":
        yield
        return
    with sdpa_kernel(_KERNELS[name]):
        yield


@contextmanager
def _saying_what_fits(plan: MemoryPlan, needs: MemoryNeeds, request: Request) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        height_px, width_px = request.frames.shape[1:3]
        total = torch.cuda.mem_get_info()[1] if torch.cuda.is_available() else 0
        raise BackendError(
            f"the GPU's memory ({total / 1e9:.1f} GB) does not hold a window of {len(request.frames)} frames at "
            f"{width_px} x {height_px} px with offload {plan.offload} and vae_tiling {str(plan.vae_tiling).lower()}; "
            f"{advice(plan, needs, total=total)}. Run the same command again with that: finished windows are kept, but "
            "--redo begins anew"
        ) from error


def _fits(plan: MemoryPlan, needs: MemoryNeeds, available: int) -> bool:
    return plan.peak(needs) * (1 + _SPARE_FRAC) <= available
