"""Small real implementations of the ports for films in which an object is what has a known colour.

They find what is there, so a pipeline made of them yields a true data set.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from vpdata.media.clips import ClipWriter
from vpdata.media.masks import bounding_box, encode_mask
from vpdata.models.ports import Box, BoxPrompt, CaptionRequest, Frames, KeyFrame, ObjectMasks, unheard
from vpdata.records import Clip, Record, Video, clip_id, video_id

COLOUR_OF: Mapping[str, tuple[int, int, int]] = {"red square": (220, 30, 30), "blue square": (30, 30, 220)}


class ColourDetector:
    """A `Detector` that draws one box around everything of a label's colour; its score is how full the box is."""

    context_s: tuple[float, ...] = ()
    has_own_labels = True

    def __init__(self) -> None:
        self.batch_sizes: list[int] = []

    def detect(self, key_frames: Sequence[KeyFrame]) -> list[list[Box]]:
        self.batch_sizes.append(len(key_frames))
        return [self._boxes(one) for one in key_frames]

    def _boxes(self, key_frame: KeyFrame) -> list[Box]:
        boxes = []
        for label in key_frame.labels or COLOUR_OF:
            mask = has_colour(key_frame.image, COLOUR_OF[label]) if label in COLOUR_OF else None
            if mask is not None and (found := bounding_box(mask)):
                x0, y0, x1, y1 = found
                boxes.append(Box(box=(x0, y0, x1, y1), label=label, score=float(mask[y0:y1, x0:x1].mean())))
        return sorted(boxes, key=lambda box: -box.score)


class ColourTracker:
    """A `MaskTracker` that holds all pixels of the colour that fills most of the box."""

    def __init__(self, max_short_side_px: int | None = None) -> None:
        self.max_short_side_px = max_short_side_px
        self.prompts: list[tuple[BoxPrompt, ...]] = []

    def track(
        self, frames: Frames, prompts: Sequence[BoxPrompt], *, height_px: int, width_px: int, seed: int
    ) -> list[ObjectMasks]:
        self.prompts.append(tuple(prompts))
        full = np.stack([cv2.resize(frame, (width_px, height_px)) for frame in frames])
        return [self._follow(full, prompt) for prompt in prompts]

    def _follow(self, frames: Frames, prompt: BoxPrompt) -> ObjectMasks:
        x0, y0, x1, y1 = (round(edge) for edge in prompt.box)
        patch = frames[prompt.frame, y0:y1, x0:x1]
        shares = {label: float(has_colour(patch, colour).mean()) for label, colour in COLOUR_OF.items()}
        label = max(shares, key=lambda label: shares[label])
        if shares[label] < 0.1:
            return ObjectMasks(counts=(None,) * len(frames), score=0.0)
        counts = tuple(encode_mask(has_colour(frame, COLOUR_OF[label])) for frame in frames)
        return ObjectMasks(counts=counts, score=shares[label])


class LabelCaptioner:
    """A `Captioner` that names the tracks."""

    def __init__(self) -> None:
        self.requests: list[CaptionRequest] = []
        self.batch_sizes: list[int] = []

    def caption(self, requests: Sequence[CaptionRequest], *, alive: Callable[[], None] = unheard) -> list[str]:
        self.requests += requests
        self.batch_sizes.append(len(requests))
        return [self._text(one) for one in requests]

    def _text(self, request: CaptionRequest) -> str:
        tracks = [track for track in request.record.tracks or () if request.track in (None, track.id)]
        return "Seen: " + ", ".join(f"a {track.label}" for track in tracks) + "."


def has_colour(image: NDArray[np.uint8], colour: tuple[int, int, int]) -> NDArray[np.bool_]:
    """bool [H, W]: pixels within what a video encoder does to a colour."""
    return (np.abs(image.astype(int) - colour) < 70).all(axis=-1)


def textured_ground(*, height_px: int = 64, width_px: int = 96, seed: int = 0) -> NDArray[np.uint8]:
    """Grey noise with structure of several pixels, which flow and key points can hold on to: uint8 [H, W, 3]."""
    noise = np.random.default_rng(seed).uniform(60, 200, (height_px // 4 + 1, width_px // 4 + 1)).astype(np.float32)
    grey = cv2.resize(noise, (width_px, height_px), interpolation=cv2.INTER_CUBIC)
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=-1)


def squares_film(
    boxes: Mapping[str, Sequence[tuple[int, int, int, int] | None]], *, ground: NDArray[np.uint8] | None = None
) -> Frames:
    """uint8 [T, H, W, 3]: each label's square in its box of each frame (None: not there), later labels on top.

    `ground` is one picture, or one per frame.
    """
    num_frames = len(next(iter(boxes.values())))
    ground = textured_ground() if ground is None else ground
    frames = np.broadcast_to(ground, (num_frames, *ground.shape[-3:])).copy()
    for label, of_frame in boxes.items():
        for frame, box in zip(frames, of_frame, strict=True):
            if box is not None:
                x0, y0, x1, y1 = box
                frame[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = COLOUR_OF[label]
    return frames


def make_clip(
    frames: Frames, *, name: str = "film.mp4", fps: int = 12, caption: str | None = None
) -> tuple[Record, bytes]:
    """The record and the mp4 of a clip as `cut` would hand it on, without scores."""
    num_frames, height, width = frames.shape[:3]
    writer = ClipWriter(width_px=width, height_px=height, fps=Fraction(fps))
    for frame in frames:
        writer.write(frame)
    data = writer.finish()
    video = Video(
        id=video_id(name),
        uri=name,
        size_bytes=1,
        width_px=width,
        height_px=height,
        fps=Fraction(fps),
        num_frames=num_frames,
        duration_s=num_frames / fps,
        codec="h264",
        content_hash="0" * 64,
        caption=caption,
    )
    clip = Clip(
        id=clip_id(video.id, 0, num_frames / fps),
        video=video,
        shot=0,
        shot_start_s=0.0,
        shot_stop_s=num_frames / fps,
        start_s=0.0,
        stop_s=num_frames / fps,
        num_frames=num_frames,
        fps=Fraction(fps),
        width_px=width,
        height_px=height,
        sha256=hashlib.sha256(data).hexdigest(),
        phash="0" * 16,
    )
    return Record(id=clip.id, clip=clip), data
