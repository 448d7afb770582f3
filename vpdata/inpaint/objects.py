"""A mask from words, boxes or points: found and followed by the models of the build, some seconds at a time."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from vpdata import models
from vpdata.config import ModelChoice
from vpdata.errors import ConfigError
from vpdata.inpaint.any_length import Frames, Masks
from vpdata.inpaint.fit import Size, scale_frames
from vpdata.inpaint.options import FrameBox, FramePoint, Wanted
from vpdata.media.clips import scaled_size
from vpdata.media.masks import bounding_box, decode_mask
from vpdata.models.ports import BoxPrompt, BoxXyxy, Detector, KeyFrame, MaskTracker
from vpdata.records import Detection
from vpdata.stages.follow import FollowedObject, FollowSettings, follow_objects

_log = logging.getLogger(__name__)

_MAX_SHORT_SIDE_PX = 720
"""Frames are held at this size at most."""
_BOXED = "object"
"""The label of what the user has boxed."""
_ARTICLES = ("the ", "a ", "an ")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectSettings:
    """How objects are found and followed. The embedded models need no weights, and know few words."""

    detector: ModelChoice = field(default_factory=lambda: ModelChoice(name="embedded"))
    tracker: ModelChoice = field(default_factory=lambda: ModelChoice(name="embedded"))
    min_score: float = 0.3
    """Detections below this confidence are no objects; in [0, 1]."""
    interval_s: float = 1.0
    """Seconds between the frames that objects are looked for on."""
    piece_frames: int = 120
    """So many frames are held and followed at a time; objects are handed on from one piece to the next."""
    point_labels: tuple[str, ...] = ()
    """What a point may be on beside the named objects; detectors that find only what they are told need some."""
    follow: FollowSettings = field(default_factory=FollowSettings)
    """Its `max_objects` and `max_rounds` bound builds alone: here all that is asked for is followed."""

    def __post_init__(self) -> None:
        if self.interval_s <= 0 or self.piece_frames < 2:
            raise ValueError(
                f"got interval_s {self.interval_s} and piece_frames {self.piece_frames}, wanted more than 0 and at "
                "least 2"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """An object that is followed whatever else there is: one that was boxed, pointed at, or is handed on."""

    detection: Detection
    place: str = ""
    """Where the user has marked it; "" for one that is handed on."""


class ObjectFinder:
    """Loads detector and tracker once. A box or a point is followed from the piece of video that it is in."""

    def __init__(
        self, settings: ObjectSettings, *, detector: Detector | None = None, tracker: MaskTracker | None = None
    ) -> None:
        self._settings = settings
        self._detector: Detector = detector or models.maker("detector", settings.detector)()
        self._tracker: MaskTracker = tracker or models.maker("mask_tracker", settings.tracker)()

    def masks(self, frames: Iterable[Frames], wanted: Wanted, *, fps: float) -> Iterator[Masks]:
        """One bool `[H, W]` per uint8 `[H, W, 3]` RGB frame: the union of all objects.

        ConfigError where nothing was found on any frame, nothing at a point, or nothing could be held in a box. A name
        of which nothing was found is warned of.
        """
        labels = tuple(dict.fromkeys(_plain(label) for label in wanted.labels))
        missing = dict.fromkeys(labels)
        found_any = False
        start, carried = 0, []
        for piece, size, is_last in _pieces(frames, self._settings.piece_frames):
            here = _shifted(replace(wanted, labels=labels), start, stop=start + len(piece), is_first=start == 0)
            asked = [*carried, *self._asked(piece, here, size, fps=fps, start=start)]
            named = self._named(piece, labels, size, fps=fps)
            followed = self._followed(piece, asked, named, size, start=start)
            found_any |= bool(followed)
            for frame, mask in enumerate(_union(followed, size, range(len(piece) if is_last else len(piece) - 1))):
                for one in named:
                    if one.frame == frame and _is_in(mask, one.box):
                        missing.pop(one.label, None)
                yield mask
            # The last frame is the first of the next piece.
            start += len(piece) - 1
            carried = [_Asked(detection=one) for one in _carried(followed, size)]
        if not found_any:
            raise ConfigError(self._nothing(wanted))
        for label in missing:
            _log.warning("%r was not found in the video; the mask is of the other objects alone", label)

    def _named(self, piece: Frames, labels: tuple[str, ...], size: Size, *, fps: float) -> list[Detection]:
        """What the detector finds of the labels, now and then."""
        step = max(1, round(self._settings.interval_s * fps))
        return self._detected(piece, range(0, len(piece), step), labels, size, fps=fps) if labels else []

    def _asked(self, piece: Frames, wanted: Wanted, size: Size, *, fps: float, start: int) -> list[_Asked]:
        """What is boxed or pointed at."""
        asked = [
            _Asked(
                detection=Detection(frame=one.frame, box=one.box, label=_BOXED, score=1.0),
                place=f"the box {','.join(f'{edge:g}' for edge in one.box)} of frame {start + one.frame}",
            )
            for one in wanted.boxes
        ]
        for one in wanted.points:
            frame, (x, y) = one.frame, one.point
            labels = (*wanted.labels, *self._settings.point_labels)
            at = [
                found
                for found in self._detected(piece, [frame], labels, size, fps=fps)
                if found.box[0] <= x < found.box[2] and found.box[1] <= y < found.box[3]
            ]
            place = f"the point {x:g}, {y:g} of frame {start + frame}"
            if not at:
                raise ConfigError(f"no object was found at {place}; give --box instead")
            asked.append(_Asked(detection=min(at, key=_area), place=place))
        return asked

    def _detected(
        self, piece: Frames, frames: Sequence[int], labels: tuple[str, ...], size: Size, *, fps: float
    ) -> list[Detection]:
        steps = [round(offset_s * fps) for offset_s in self._detector.context_s]
        around = [[min(max(frame + step, 0), len(piece) - 1) for step in steps] for frame in frames]
        key_frames = [
            KeyFrame(image=piece[frame], context=piece[context], labels=labels)
            for frame, context in zip(frames, around, strict=True)
        ]
        scale = size.height_px / piece.shape[1], size.width_px / piece.shape[2]
        return [
            Detection(frame=frame, box=_scaled(box.box, *scale), label=box.label, score=box.score)
            for frame, boxes in zip(frames, self._detector.detect(key_frames), strict=True)
            for box in boxes
            if box.score >= self._settings.min_score
        ]

    def _followed(
        self, piece: Frames, asked: Sequence[_Asked], named: Sequence[Detection], size: Size, *, start: int
    ) -> list[FollowedObject]:
        """What is asked for, each for itself, and after it what is named and covered by none of that."""
        if not asked and not named:
            return []
        limit = self._tracker.max_short_side_px
        width, height = scaled_size(piece.shape[2], piece.shape[1], limit)
        small = scale_frames(piece, Size(height_px=height, width_px=width))
        full = {"height_px": size.height_px, "width_px": size.width_px}
        track = partial(self._tracker.track, small, **full, seed=start)
        prompts = [BoxPrompt(frame=at.frame, box=at.box, label=at.label) for at in (one.detection for one in asked)]
        known = []
        for one, found in zip(asked, track(prompts), strict=True):
            at = one.detection
            is_held = found.score >= self._settings.follow.min_score and any(found.counts)
            if one.place and not (is_held and found.counts[at.frame]):
                raise ConfigError(f"nothing could be masked at {one.place}; give a closer box, or one on another frame")
            if is_held:
                votes = Counter({at.label: at.score})
                known.append(FollowedObject(masks=list(found.counts), score=found.score, votes=votes))
        # A round follows one of them at least, so that none is left out.
        settings = replace(self._settings.follow, max_objects=len(known) + len(named) + 1, max_rounds=len(named) + 1)
        return follow_objects(named, track=track, settings=settings, known=known, **full)

    def _nothing(self, wanted: Wanted) -> str:
        names = ", ".join(repr(label) for label in wanted.labels) or "what was boxed"
        knows = ""
        if wanted.labels and self._settings.detector.name == "embedded":
            knows = (
                "; the embedded detector knows person, face and moving object alone: name another in objects.detector"
            )
        return f"{names} was not found in the video{knows}; give --box or --point, other words, or a --mask"


def _pieces(frames: Iterable[Frames], num_frames: int) -> Iterator[tuple[Frames, Size, bool]]:
    """Pieces that share one frame with the next, no larger than they need to be; the video's size; whether it ends."""
    held: list[Frames] = []
    size = Size(height_px=0, width_px=0)
    for frame in frames:
        if len(held) == num_frames:
            yield np.stack(held), size, False
            held = held[-1:]
        size = Size(height_px=frame.shape[0], width_px=frame.shape[1])
        width, height = scaled_size(size.width_px, size.height_px, _MAX_SHORT_SIDE_PX)
        held.append(scale_frames(frame[None], Size(height_px=height, width_px=width))[0])
    if held:
        yield np.stack(held), size, True


def _shifted(wanted: Wanted, start: int, *, stop: int, is_first: bool) -> Wanted:
    """What is asked of the frames of a piece, counted from its start; its first frame was asked of the one before."""
    first = start if is_first else start + 1
    return Wanted(
        labels=wanted.labels,
        boxes=tuple(
            FrameBox(frame=one.frame - start, box=one.box) for one in wanted.boxes if first <= one.frame < stop
        ),
        points=tuple(
            FramePoint(frame=one.frame - start, point=one.point) for one in wanted.points if first <= one.frame < stop
        ),
    )


def _carried(followed: Sequence[FollowedObject], size: Size) -> Iterator[Detection]:
    """Where the objects of a piece are on its last frame: the first of the next."""
    for one in followed:
        mask = decode_mask(one.masks[-1], height_px=size.height_px, width_px=size.width_px)
        if box := bounding_box(mask):
            yield Detection(frame=0, box=box, label=one.label(()), score=1.0)


def _union(followed: Sequence[FollowedObject], size: Size, frames: range) -> Iterator[Masks]:
    for frame in frames:
        mask = np.zeros((size.height_px, size.width_px), bool)
        for one in followed:
            mask |= decode_mask(one.masks[frame], height_px=size.height_px, width_px=size.width_px)
        yield mask


def _is_in(mask: Masks, box: BoxXyxy) -> bool:
    x0, y0, x1, y1 = (round(edge) for edge in box)
    return bool(mask[y0:y1, x0:x1].any())


def _plain(label: str) -> str:
    """As detectors know words: lower case, without an article."""
    words = " ".join(label.lower().split())
    return next((words.removeprefix(article) for article in _ARTICLES if words.startswith(article)), words)


def _scaled(box: BoxXyxy, height: float, width: float) -> BoxXyxy:
    x0, y0, x1, y1 = box
    return x0 * width, y0 * height, x1 * width, y1 * height


def _area(detection: Detection) -> float:
    x0, y0, x1, y1 = detection.box
    return (x1 - x0) * (y1 - y0)
