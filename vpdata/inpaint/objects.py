"""A mask from words, boxes or points: found and followed by the models of the build, some seconds at a time."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial

import numpy as np

from vpdata import models
from vpdata.config import ModelChoice
from vpdata.errors import ConfigError
from vpdata.inpaint.any_length import Frames, Masks
from vpdata.inpaint.fit import Size, scale_frames
from vpdata.inpaint.options import Wanted
from vpdata.inpaint.pieces import Film, Piece
from vpdata.media.clips import scaled_size
from vpdata.media.masks import bounding_box, box_iou, decode_mask
from vpdata.models.ports import BoxPrompt, BoxXyxy, Detector, KeyFrame, MaskTracker
from vpdata.records import Detection
from vpdata.stages.follow import INSIDE_FRAC, FollowedObject, FollowSettings, follow_objects, mean_iou

_log = logging.getLogger(__name__)

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
    """All that is asked for is followed, so `max_objects` and `max_rounds`, which bound builds, are refused."""

    def __post_init__(self) -> None:
        if self.interval_s <= 0 or self.piece_frames < 2:
            raise ValueError(
                f"got interval_s {self.interval_s} and piece_frames {self.piece_frames}, wanted more than 0 and at "
                "least 2"
            )
        for name in ("max_objects", "max_rounds"):
            if getattr(self.follow, name) != getattr(FollowSettings(), name):
                raise ValueError(
                    f"follow.{name} bounds builds alone; here all that is asked for is followed: remove it"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """An object that is followed whatever else there is: one that was boxed, pointed at, or is handed on."""

    frame: int
    """Of the video."""
    box: BoxXyxy
    label: str
    place: str = ""
    """Where the user has marked it; "" where it was found by its name."""
    is_handed_on: bool = False


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
        film = Film(frames, self._settings.piece_frames)
        found_any = is_last = False
        first, handed_on = 0, []
        while not is_last:
            piece = film.piece(min([first, *(one.frame for one in handed_on)]), first=first)
            named = self._named(piece, labels, fps=fps)
            followed = self._followed(piece, [*handed_on, *self._asked(piece, wanted, labels, fps=fps)], named)
            found_any, is_last = found_any or bool(followed), piece.is_last
            # The last frame is masked by the next piece.
            shown = range(first, piece.stop if is_last else piece.stop - 1)
            for frame in shown:
                mask = _union(followed, piece, frame)
                for one in named:
                    if piece.start + one.frame == frame and _is_in(mask, one.box):
                        missing.pop(one.label, None)
                yield mask
            first, handed_on = piece.stop - 1, [] if is_last else self._handed_on(followed, piece)
        if not found_any:
            raise ConfigError(self._nothing(wanted))
        for label in missing:
            _log.warning("%r was not found in the video; the mask is of the other objects alone", label)

    def _named(self, piece: Piece, labels: tuple[str, ...], *, fps: float) -> list[Detection]:
        """What the detector finds of the labels, now and then; frames are counted from the start of the piece."""
        step = max(1, round(self._settings.interval_s * fps))
        frames = range(piece.first - piece.start, len(piece.frames), step)
        return self._detected(piece, frames, labels, fps=fps) if labels else []

    def _asked(self, piece: Piece, wanted: Wanted, labels: tuple[str, ...], *, fps: float) -> list[_Asked]:
        """What is boxed or pointed at on frames that no piece before has held."""
        new = range(piece.first + 1 if piece.start else 0, piece.stop)
        asked = []
        for one in wanted.boxes:
            if one.frame in new:
                place = f"the box {','.join(f'{edge:g}' for edge in one.box)} of frame {one.frame}"
                asked.append(_Asked(frame=one.frame, box=one.box, label=_BOXED, place=place))
        for one in wanted.points:
            if one.frame in new:
                (x, y), place = one.point, f"the point {one.point[0]:g}, {one.point[1]:g} of frame {one.frame}"
                known = (*labels, *self._settings.point_labels)
                at = [
                    found
                    for found in self._detected(piece, [one.frame - piece.start], known, fps=fps)
                    if found.box[0] <= x < found.box[2] and found.box[1] <= y < found.box[3]
                ]
                if not at:
                    raise ConfigError(f"no object was found at {place}; give --box instead")
                smallest = min(at, key=_area)
                asked.append(_Asked(frame=one.frame, box=smallest.box, label=smallest.label, place=place))
        return asked

    def _detected(self, piece: Piece, frames: Sequence[int], labels: tuple[str, ...], *, fps: float) -> list[Detection]:
        images = piece.frames
        steps = [round(offset_s * fps) for offset_s in self._detector.context_s]
        around = [[min(max(frame + step, 0), len(images) - 1) for step in steps] for frame in frames]
        key_frames = [
            KeyFrame(image=images[frame], context=images[context], labels=labels)
            for frame, context in zip(frames, around, strict=True)
        ]
        scale = piece.size.height_px / images.shape[1], piece.size.width_px / images.shape[2]
        return [
            Detection(frame=frame, box=_scaled(box.box, *scale), label=box.label, score=box.score)
            for frame, boxes in zip(frames, self._detector.detect(key_frames), strict=True)
            for box in boxes
            if box.score >= self._settings.min_score
        ]

    def _followed(
        self, piece: Piece, asked: Sequence[_Asked], named: Sequence[Detection]
    ) -> list[tuple[FollowedObject, str]]:
        """What is asked for, each for itself, with its place, and what is named and covered by none of that."""
        if not asked and not named:
            return []
        images = piece.frames
        width, height = scaled_size(images.shape[2], images.shape[1], self._tracker.max_short_side_px)
        small = scale_frames(images, Size(height_px=height, width_px=width))
        track = partial(self._tracker.track, small, **asdict(piece.size), seed=piece.start)
        prompts = [BoxPrompt(frame=one.frame - piece.start, box=one.box, label=one.label) for one in asked]
        known: list[FollowedObject] = []
        places: list[str] = []
        lost: list[_Asked] = []
        for one, found in zip(asked, track(prompts), strict=True):
            is_held = found.score >= self._settings.follow.min_score and any(found.counts)
            is_lost = not is_held or not (one.is_handed_on or found.counts[one.frame - piece.start])
            if is_lost:
                lost.append(one)
            if is_held:
                votes = Counter({one.label: 1.0})
                known.append(FollowedObject(masks=list(found.counts), score=found.score, votes=votes))
                places.append("" if is_lost else one.place)
        for one in lost:
            if self._is_covered(one, known, piece):
                continue
            if not one.is_handed_on:
                raise ConfigError(f"nothing could be masked at {one.place}; give a closer box, or one on another frame")
            _tell_of_loss(one.place, one.frame)
        # A round follows one of them at least, so that none is left out.
        settings = replace(self._settings.follow, max_objects=len(known) + len(named) + 1, max_rounds=len(named) + 1)
        followed = follow_objects(named, known, track=track, settings=settings, **asdict(piece.size))
        return list(zip(followed, [*places, *[""] * (len(followed) - len(known))], strict=True))

    def _is_covered(self, asked: _Asked, known: Sequence[FollowedObject], piece: Piece) -> bool:
        """Whether a mask is of what was asked for: of trackers with `overlap: exclusive`, one box of two gets it.

        Its box is about that of the mask, most of which lies there, or the mask fills it.
        """
        x0, y0, x1, y1 = (round(edge) for edge in asked.box)
        for one in known:
            mask = decode_mask(one.masks[asked.frame - piece.start], **asdict(piece.size))
            inside, follow = mask[y0:y1, x0:x1], self._settings.follow
            is_there = np.count_nonzero(inside) >= follow.part_frac * max(1, np.count_nonzero(mask))
            overlap = box_iou(asked.box, bounding_box(mask) or (0, 0, 0, 0))
            if (is_there and overlap >= follow.cover_iou) or (inside.size and inside.mean() >= INSIDE_FRAC):
                return True
        return False

    def _handed_on(self, followed: Sequence[tuple[FollowedObject, str]], piece: Piece) -> list[_Asked]:
        """Where the objects were last seen. Of those that are hidden half a piece, at most, is held again."""
        earliest = piece.stop - max(1, self._settings.piece_frames // 2)
        handed_on: list[_Asked] = []
        kept: list[FollowedObject] = []
        seen_last = [
            (max(index for index, counts in enumerate(one.masks) if counts), one, its) for one, its in followed
        ]
        # Of two that are the same, that which the user has marked goes on, else that which is seen longer.
        for seen, one, place in sorted(seen_last, key=lambda entry: (not entry[2], -entry[0])):
            frame, box = piece.start + seen, bounding_box(decode_mask(one.masks[seen], **asdict(piece.size)))
            if frame < earliest or box is None:
                _tell_of_loss(place, frame)
            elif not any(self._is_same(one, other, piece) for other in kept):
                kept.append(one)
                label = one.label(self._settings.follow.generic_labels)
                handed_on.append(_Asked(frame=frame, box=box, label=label, place=place, is_handed_on=True))
        return handed_on

    def _is_same(self, one: FollowedObject, other: FollowedObject, piece: Piece) -> bool:
        """Whether two tracks are of a thing that was boxed twice, or found anew where it came back.

        Each piece would go on with both, so that their number would grow with the video.
        """
        return mean_iou(one.masks, other.masks, asdict(piece.size)) > self._settings.follow.merge_iou

    def _nothing(self, wanted: Wanted) -> str:
        names = ", ".join(repr(label) for label in wanted.labels) or "what was boxed"
        knows = ""
        if wanted.labels and self._settings.detector.name == "embedded":
            knows = (
                "; the embedded detector knows person, face and moving object alone: name another in objects.detector"
            )
        return f"{names} was not found in the video{knows}; give --box or --point, other words, or a --mask"


def _tell_of_loss(place: str, frame: int) -> None:
    """Of what the user has marked; what was found by its name is looked for all the time."""
    if place:
        _log.warning(
            "what is at %s is not found after frame %d; give a box where it comes back, if it does", place, frame
        )


def _union(followed: Sequence[tuple[FollowedObject, str]], piece: Piece, frame: int) -> Masks:
    """Of all objects on a frame of the video."""
    mask = np.zeros((piece.size.height_px, piece.size.width_px), bool)
    for one, _ in followed:
        mask |= decode_mask(one.masks[frame - piece.start], **asdict(piece.size))
    return mask


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
