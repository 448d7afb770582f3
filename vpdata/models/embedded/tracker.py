"""A mask tracker for any CPU: optical flow carries each mask, and colour, motion and edges re-fit it on every frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vpdata.media.clips import scaled_size
from vpdata.media.masks import Mask, encode_mask
from vpdata.models.embedded.tracker_colour import ColourModel, colour_bins
from vpdata.models.embedded.tracker_follow import GAP_PX, Follower, View
from vpdata.models.embedded.tracker_mask import grown, mask_from_box
from vpdata.models.embedded.tracker_motion import camera_flow, flow_between
from vpdata.models.ports import BoxPrompt, BoxXyxy, Frames, ModelCard, ObjectMasks

SURROUNDINGS_PX = 20
"""What is this near to an object is what its outline must be told from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowTrackerSettings:
    """Options of `FlowTracker`."""

    short_side_px: int = 256
    """Frames are tracked at this short side, 64 to 1080 px; the time taken grows with its square."""

    def __post_init__(self) -> None:
        if not 64 <= self.short_side_px <= 1080:
            raise ValueError(f"short_side_px: got {self.short_side_px}, wanted 64 to 1080")

    def card(self, role: str) -> ModelCard:
        """What a run says about this model."""
        return ModelCard(
            role=role,
            name="embedded",
            revision="2",
            licence="Apache-2.0",
            source=f"opencv {cv2.__version__}",
            options={"short_side_px": self.short_side_px},
        )


class FlowTracker:
    """A `MaskTracker` without a network.

    It holds what differs from its surroundings in colour or motion. It cannot tell two objects of one colour apart
    after one has hidden the other, and it follows what it was shown, not what an object is.
    """

    def __init__(self, settings: FlowTrackerSettings) -> None:
        self.max_short_side_px: int | None = settings.short_side_px

    def track(
        self, frames: Frames, prompts: Sequence[BoxPrompt], *, height_px: int, width_px: int, seed: int
    ) -> list[ObjectMasks]:
        """See `MaskTracker.track`. ValueError for a prompt that lies outside the clip or the frame."""
        if not prompts:
            return []
        for prompt in prompts:
            if not 0 <= prompt.frame < len(frames):
                raise ValueError(f"got a prompt on frame {prompt.frame}, wanted one of the {len(frames)} frames")
        with _one_thread():
            small = _scaled(frames, self.max_short_side_px)
            objects = [_Object(len(frames), height_px=height_px, width_px=width_px) for _ in prompts]
            scale = small.shape[2] / width_px, small.shape[1] / height_px
            starts = [_start(small, prompt, scale=scale, seed=seed) for prompt in prompts]
            for step in (1, -1):
                _sweep(small, starts, objects, step=step)
        return [item.result() for item in objects]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    """An object on the frame of its prompt."""

    frame: int
    mask: Mask
    colours: ColourModel


class _Object:
    """Collects one object's masks at the clip's size."""

    def __init__(self, num_frames: int, *, height_px: int, width_px: int) -> None:
        self._size = (width_px, height_px)
        self._counts: list[str | None] = [None] * num_frames
        self._confidences: dict[int, float] = {}

    def keep(self, frame: int, follower: Follower) -> None:
        if follower.confidence > 0:
            alpha = cv2.resize(follower.alpha, self._size, interpolation=cv2.INTER_LINEAR)
            self._counts[frame] = encode_mask(alpha > 0.5)
            self._confidences[frame] = follower.confidence

    def result(self) -> ObjectMasks:
        present = [self._confidences[frame] for frame, counts in enumerate(self._counts) if counts is not None]
        return ObjectMasks(counts=tuple(self._counts), score=min(1.0, float(np.mean(present))) if present else 0.0)


def _start(frames: Frames, prompt: BoxPrompt, *, scale: tuple[float, float], seed: int) -> _Start:
    image = frames[prompt.frame]
    box = _scaled_box(prompt.box, scale=scale, height_px=image.shape[0], width_px=image.shape[1])
    other = prompt.frame + 1 if prompt.frame + 1 < len(frames) else max(0, prompt.frame - 1)
    flow = flow_between(_grey(image), _grey(frames[other]))
    mask = mask_from_box(image, box, flow - camera_flow(flow), seed=seed)
    near = grown(mask, SURROUNDINGS_PX) & ~grown(mask, GAP_PX)
    return _Start(frame=prompt.frame, mask=mask, colours=ColourModel(colour_bins(image), mask, near))


def _scaled_box(
    box: BoxXyxy, *, scale: tuple[float, float], height_px: int, width_px: int
) -> tuple[int, int, int, int]:
    """The pixels that a box touches in a frame of the given size."""
    x0, y0 = max(0, int(box[0] * scale[0])), max(0, int(box[1] * scale[1]))
    x1, y1 = min(width_px, int(np.ceil(box[2] * scale[0]))), min(height_px, int(np.ceil(box[3] * scale[1])))
    if x0 >= x1 or y0 >= y1:
        raise ValueError(f"got the box {box}, wanted one that overlaps the frame")
    return x0, y0, x1, y1


def _sweep(frames: Frames, starts: Sequence[_Start], objects: Sequence[_Object], *, step: int) -> None:
    """Follow all objects from their own frames to the end of the clip (`step` 1) or to its start (-1)."""
    first = (min if step == 1 else max)(start.frame for start in starts)
    order = range(first, len(frames) if step == 1 else -1, step)
    followers: list[tuple[Follower, _Object]] = []
    for frame, view in zip(order, _views(frames, order), strict=True):
        for follower, _ in followers:
            follower.step(view)
        for start, item in zip(starts, objects, strict=True):
            if start.frame == frame:
                followers.append((Follower(start.mask, start.colours.copy(), view), item))
        for follower, item in followers:
            item.keep(frame, follower)


def _views(frames: Frames, order: Sequence[int]) -> Iterator[View]:
    """The frames in the order given, each with its flow to the one behind it."""
    grey = _grey(frames[order[0]])
    for position, frame in enumerate(order):
        after = _grey(frames[order[min(position + 1, len(order) - 1)]])
        flow = flow_between(grey, after)
        yield View(
            image=np.asarray(cv2.blur(frames[frame], (3, 3)), dtype=np.uint8),
            bins=colour_bins(frames[frame]),
            guide=np.asarray(grey / np.float32(255), dtype=np.float32),
            flow=flow,
            camera=camera_flow(flow),
        )
        grey = after


def _scaled(frames: Frames, short_side_px: int | None) -> Frames:
    height, width = frames.shape[1:3]
    size = scaled_size(width, height, short_side_px)
    if size == (width, height):
        return frames
    return np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames])


def _grey(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


@contextmanager
def _one_thread() -> Iterator[None]:
    """OpenCV on one thread, since GrabCut's sums depend on how they are shared out; the setting is put back."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
