"""Known pixels carried into the hole along optical flow, from earlier and from later frames.

The classical scheme of flow-guided video completion (Xu et al. 2019, "Deep flow-guided video inpainting"): pixels are
carried along the flow frame by frame in both directions, and what no frame shows is continued from the border. Flow in
the hole is at first continued from around it, and then estimated on what this has filled. Flow is OpenCV's DIS (Kroeger
et al. 2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmark.methods.opencv import continue_inwards
from benchmark.methods.port import Kind, Prompts
from benchmark.results import Frames
from vpdata.inpaint.any_length import Masks
from vpdata.media.mask_mix import dilate

FloatArray = NDArray[np.float32]
_ALL_KNOWN = 0.999
"""Of a pixel between four others, the least weight of those that are known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowSettings:
    """How flow is found at first."""

    unreliable_px: int = 16
    """So close to the hole it is continued too: what the hole is filled with disturbs it."""

    def __post_init__(self) -> None:
        if self.unreliable_px < 0:
            raise ValueError(f"got unreliable_px {self.unreliable_px}, wanted 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Carried:
    """What one direction brought."""

    frames: FloatArray
    """[T, H, W, 3]"""
    num_steps: FloatArray
    """[T, H, W]: over how many frames each pixel was carried; infinite where nothing came."""


class Flow:
    """A `Method`."""

    def __init__(self, settings: FlowSettings) -> None:
        self._settings = settings

    def inpaint(self, frames: Frames, masks: Masks, prompts: Prompts) -> Frames:
        around = dilate(masks, self._settings.unreliable_px)
        first = _filled(frames, masks, _Flows(continue_inwards(frames, masks), unknown=around))
        # On a moving texture the first pass gives 24 dB, the second 36, a third no more; Telea gives 18.
        return _filled(frames, masks, _Flows(first, unknown=np.zeros_like(masks)))


class _Flows:
    """Optical flow between frames without holes; where it is `unknown` on either, bool `[T, H, W]`, continued."""

    def __init__(self, frames: Frames, *, unknown: Masks) -> None:
        self._greys = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
        self._unknown = unknown
        self._estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def between(self, index: int, other: int) -> FloatArray:
        """Where each pixel of frame `index` lies on the other: offsets `[H, W, 2]` in x and y."""
        own = self._greys[index]
        flow = self._estimator.calc(own, self._greys[other], np.zeros((*own.shape, 2), np.float32))
        return _continued(np.asarray(flow, np.float32), self._unknown[index] | self._unknown[other])


def _continued(flow: FloatArray, unknown: Masks) -> FloatArray:
    """Flow `[H, W, 2]`, continued smoothly to where it is not known; none where it is known nowhere."""
    if unknown.all():
        return np.zeros_like(flow)
    hole = unknown.astype(np.uint8)
    parts = [cv2.inpaint(np.ascontiguousarray(flow[..., axis]), hole, 3, cv2.INPAINT_TELEA) for axis in (0, 1)]
    return np.stack(parts, axis=-1).astype(np.float32)


def _filled(frames: Frames, masks: Masks, flows: _Flows) -> Frames:
    num_frames = len(frames)
    from_earlier = _carried(frames, masks, flows, range(num_frames))
    from_later = _carried(frames, masks, flows, range(num_frames - 1, -1, -1))
    mean, is_filled = _mixed(from_earlier, from_later)
    return continue_inwards(np.where(masks[..., None], mean, frames), masks & ~is_filled)


def _carried(frames: Frames, masks: Masks, flows: _Flows, order: Sequence[int]) -> _Carried:
    """Through the video in this order, each frame's hole filled from the one before."""
    carried = frames.astype(np.float32)
    num_steps = np.where(masks, np.float32(np.inf), np.float32(0))
    for previous, index in pairwise(order):
        if masks[index].any():
            new, steps = _looked_up(carried[previous], num_steps[previous], flows.between(index, previous))
            hole = masks[index] & np.isfinite(steps)
            carried[index][hole], num_steps[index][hole] = new[hole], steps[hole] + 1
    return _Carried(frames=carried, num_steps=num_steps)


def _looked_up(frame: FloatArray, num_steps: FloatArray, flow: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Pixels `[H, W, 3]` and steps `[H, W]` at where flow points to; infinite steps where a pixel is not known."""
    height, width = num_steps.shape
    x = np.arange(width, dtype=np.float32) + flow[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + flow[..., 1]
    is_known = np.isfinite(num_steps)

    def at(values: FloatArray) -> FloatArray:
        found = cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
        return np.asarray(found, np.float32)

    is_whole = at(is_known.astype(np.float32)) > _ALL_KNOWN
    steps = at(np.where(is_known, num_steps, np.float32(0)))
    return at(frame), np.where(is_whole, steps, np.float32(np.inf))


def _mixed(*directions: _Carried) -> tuple[Frames, Masks]:
    """The mean of all directions, weighted by nearness in time, and where there is one."""
    weights = [1 / (1 + one.num_steps) for one in directions]
    total = np.sum(weights, axis=0)
    is_filled = total > 0
    weighted = np.sum([one.frames * weight[..., None] for one, weight in zip(directions, weights, strict=True)], axis=0)
    mean = weighted / np.where(is_filled, total, 1)[..., None]
    return np.rint(mean).clip(0, 255).astype(np.uint8), is_filled


KIND = Kind(settings=FlowSettings, load=Flow)
