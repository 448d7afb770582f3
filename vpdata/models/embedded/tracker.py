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
from vpdata.models.embedded.tracker_follow import Follower, View
from vpdata.models.embedded.tracker_mask import mask_from_box
from vpdata.models.embedded.tracker_motion import camera_flow, flow_between, median_flow, motion_evidence
from vpdata.models.ports import BoxPrompt, Frames, ModelCard, ObjectMasks


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowTrackerSettings:
    """Options of `FlowTracker`."""

    short_side_px: int = 256
    """Frames are tracked at this short side, 64 to 1080 px; the time taken grows with its square."""

    def __post_init__(self) -> None:
        if not 64 <= self.short_side_px <= 1080:
            raise ValueError(f"short_side_px: got {self.short_side_px}, wanted 64 to 1080")


class FlowTracker:
    """A `MaskTracker` without a network.

    It holds what differs from its surroundings in colour or motion. It cannot tell two objects of one colour apart
    after one has hidden the other, and it follows what it was shown, not what an object is.
    """

    Settings = FlowTrackerSettings

    def __init__(self, settings: FlowTrackerSettings) -> None:
        self.max_short_side_px: int | None = settings.short_side_px

    @staticmethod
    def card(settings: FlowTrackerSettings) -> ModelCard:
        """What a run says about this model."""
        return ModelCard(
            role="mask_tracker",
            name="embedded",
            revision="1",
            licence="Apache-2.0",
            source=f"opencv {cv2.__version__}",
            options={"short_side_px": settings.short_side_px},
        )

    def track(
        self, frames: Frames, prompts: Sequence[BoxPrompt], *, height_px: int, width_px: int, seed: int
    ) -> list[ObjectMasks]:
        """See `MaskTracker.track`. ValueError for a prompt outside the clip."""
        if not prompts:
            return []
        for prompt in prompts:
            if not 0 <= prompt.frame < len(frames):
                raise ValueError(f"got a prompt on frame {prompt.frame}, wanted one of the {len(frames)} frames")
        with _one_thread():
            small = _scaled(frames, self.max_short_side_px)
            objects = [_Object(len(frames), height_px, width_px) for _ in prompts]
            starts = _start(small, prompts, height_px=height_px, width_px=width_px, seed=seed)
            for step in (1, -1):
                _sweep(small, prompts, starts, objects, step=step)
        return [item.result() for item in objects]


class _Object:
    """Collects one object's masks at the clip's size."""

    def __init__(self, num_frames: int, height_px: int, width_px: int) -> None:
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


def _start(
    frames: Frames, prompts: Sequence[BoxPrompt], *, height_px: int, width_px: int, seed: int
) -> list[tuple[Mask, ColourModel]]:
    """Per prompt the mask on its frame and the colours learned from it."""
    height, width = frames.shape[1:3]
    starts = []
    for prompt in prompts:
        x0, y0, x1, y1 = prompt.box
        left, top = int(x0 * width / width_px), int(y0 * height / height_px)
        right, bottom = int(np.ceil(x1 * width / width_px)), int(np.ceil(y1 * height / height_px))
        box = max(0, left), max(0, top), min(width, right), min(height, bottom)
        if box[2] - box[0] < 2 or box[3] - box[1] < 2:
            raise ValueError(f"got the box {prompt.box} on {width_px}x{height_px} px, wanted one inside it")
        image = frames[prompt.frame]
        other = frames[prompt.frame + 1 if prompt.frame + 1 < len(frames) else max(0, prompt.frame - 1)]
        flow = flow_between(_grey(image), _grey(other))
        middle = np.zeros((height, width), dtype=np.bool_)
        inset_x, inset_y = (box[2] - box[0]) // 4, (box[3] - box[1]) // 4
        middle[box[1] + inset_y : box[3] - inset_y, box[0] + inset_x : box[2] - inset_x] = True
        own = flow - camera_flow(flow)
        mask = mask_from_box(image, box, motion_evidence(own, median_flow(own, middle)), seed=seed)
        near = cv2.dilate(mask.astype(np.uint8), np.ones((41, 41), np.uint8)) > 0
        near &= cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) == 0
        starts.append((mask, ColourModel(colour_bins(image), mask, near)))
    return starts


def _sweep(
    frames: Frames,
    prompts: Sequence[BoxPrompt],
    starts: Sequence[tuple[Mask, ColourModel]],
    objects: Sequence[_Object],
    *,
    step: int,
) -> None:
    """Follow all objects from their own frames to the end of the clip (`step` 1) or to its start (-1)."""
    first = (min if step == 1 else max)(prompt.frame for prompt in prompts)
    stop = len(frames) if step == 1 else -1
    followers: dict[int, Follower] = {}
    for frame, view in zip(
        range(first, stop, step), _views(frames[first::step] if step == 1 else frames[first::-1]), strict=True
    ):
        for number, follower in followers.items():
            follower.step(view)
            objects[number].keep(frame, follower)
        for number, prompt in enumerate(prompts):
            if prompt.frame == frame:
                mask, colours = starts[number]
                followers[number] = Follower(mask, colours.copy(), view)
                objects[number].keep(frame, followers[number])


def _views(frames: Frames) -> Iterator[View]:
    """The frames in the order given, each with its flow to the one behind it."""
    following = [*frames[1:], frames[-1]]
    for image, after in zip(frames, following, strict=True):
        grey = _grey(image)
        flow = flow_between(grey, _grey(after))
        yield View(
            image=cv2.blur(image, (3, 3)),
            bins=colour_bins(image),
            guide=np.asarray(grey / np.float32(255), dtype=np.float32),
            flow=flow,
            camera=camera_flow(flow),
        )


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
