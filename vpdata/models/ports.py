"""The roles that a model can play, one Protocol each: batch in, batch out, numpy arrays, no paths.

Images are uint8 [H, W, 3] RGB. A port keeps no state from one call to the next. A `RejectItem` means that this input
is bad, a `BackendError` that the model is. A model that draws random numbers takes its seed from an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vpdata.errors import RejectItem
from vpdata.records import Record, ScoreName

Image = NDArray[np.uint8]
"""uint8 [H, W, 3] RGB."""
Frames = NDArray[np.uint8]
"""uint8 [T, H, W, 3] RGB."""
BoxXyxy = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels, half-open."""


class ShotDetector(Protocol):
    """Finds where a new shot begins, while the video is being decoded."""

    def frame_size(self, width_px: int, height_px: int) -> tuple[int, int]:
        """(width, height) in pixels at which this detector wants frames of a video of the given size."""
        ...

    def shot_starts(self, frames: Iterator[NDArray[np.uint8]], fps: Fraction) -> Iterator[bool]:
        """For each frame in turn, whether a new shot starts there; the first is True.

        `frames` yields uint8 [H, W, 3] **BGR** of `frame_size` and is consumed lazily: an answer may lag behind its
        frame by a bounded number of frames. As many answers as frames; none for no frames.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFrame:
    """One frame to detect objects on, with what surrounds it."""

    image: Image
    context: Frames
    """The frames at the detector's `context_s` from the image, clamped to the clip: uint8 [C, H, W, 3] RGB."""
    labels: tuple[str, ...]
    """What to look for; empty: everything the detector knows of itself, which may be nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """One detected object on one image."""

    box: BoxXyxy
    label: str
    score: float
    """Confidence in [0, 1]."""


class Tagger(Protocol):
    """Names what is to be seen in a clip."""

    def tags(self, clips: Sequence[Frames]) -> Sequence[tuple[str, ...] | RejectItem]:
        """For each clip's key frames the labels to look for, best first, without repeats; may be empty.

        A RejectItem where no labels can be had for that clip.
        """
        ...


class Detector(Protocol):
    """Finds objects by label on key frames."""

    context_s: tuple[float, ...]
    """Offsets in seconds of the surrounding frames wanted with each key frame; () for none."""
    has_own_labels: bool
    """Whether it finds objects that nobody named; an open-vocabulary detector does not."""

    def detect(self, key_frames: Sequence[KeyFrame]) -> list[list[Box]]:
        """For each key frame its boxes, best score first, inside the image; [] where there is nothing."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxPrompt:
    """Where an object is on one frame."""

    frame: int
    box: BoxXyxy
    """In pixels of the output size."""
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectMasks:
    """One object followed through a clip."""

    counts: tuple[str | None, ...]
    """Per frame the compressed COCO RLE counts at the output size, None where the object is absent."""
    score: float
    """Confidence of the whole track in [0, 1]."""


class MaskTracker(Protocol):
    """Turns boxes into masks over all frames of a clip, forward and backward."""

    max_short_side_px: int | None
    """Frames are handed over scaled down to this short side; None: at full size."""

    def track(
        self, frames: Frames, prompts: Sequence[BoxPrompt], *, height_px: int, width_px: int, seed: int
    ) -> list[ObjectMasks]:
        """One result per prompt, in order, with masks of `height_px` x `width_px` (the clip's size).

        Equal arguments give equal results. [] for no prompts; an object that cannot be held has only None.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionRequest:
    """One text to write."""

    record: Record
    """Detections, tracks and scores as far as they are known."""
    track: int | None
    """Id of the track to describe, or None for the whole clip."""
    frames: tuple[int, ...]
    """Indices of the key frames in the clip."""
    images: Frames
    masks: NDArray[np.bool_] | None
    """bool [N, H, W] of the track on the key frames; None for the whole clip."""
    prompt_name: str
    prompt: str


def unheard() -> None:
    """Takes a sign of life that nobody waits for."""


class Captioner(Protocol):
    """Writes captions."""

    def caption(self, requests: Sequence[CaptionRequest], *, alive: Callable[[], None] = unheard) -> list[str]:
        """One text per request, in order; "" where it has nothing to say (the stage decides what follows).

        `alive` is called, on any thread, whenever some texts have come: many slow ones are no hang.
        """
        ...


class Scorer(Protocol):
    """Measures a clip on frames sampled from it. Several threads may ask at once, each about its own clip."""

    sample_fps: float
    """Frames per second wanted, evenly spread."""
    max_short_side_px: int
    """Frames are handed over scaled down to this short side."""

    def score(self, frames: Frames, *, fps: float) -> Mapping[ScoreName, float | None]:
        """Scores of one clip from frames at `fps`; None where one cannot be computed (say, motion of one frame)."""
        ...


class TextScorer(Protocol):
    """Measures how well a text fits a clip."""

    max_short_side_px: int
    """Frames are handed over scaled down to this short side."""

    def score(self, frames: Frames, text: str) -> Mapping[ScoreName, float | None]:
        """Scores of one text with one clip's key frames; None where one cannot be computed (say, an empty text)."""
        ...


class Embedder(Protocol):
    """Places a clip among others by what it shows. Several threads may ask at once, each about its own clip."""

    sample_fps: float
    """Frames per second wanted, evenly spread."""
    max_short_side_px: int
    """Frames are handed over scaled down to this short side."""

    def embed(self, frames: Frames) -> NDArray[np.float32]:
        """float32 [D] of unit length; the cosine of two clips is 1 where they mean the same."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What a run must say about a model it used."""

    role: str
    name: str
    revision: str
    licence: str
    source: str
    """Where it comes from: a package with version, or a hub id."""
    options: Mapping[str, object] = field(default_factory=dict)
