"""Every type that crosses a border between modules, in the order the data takes.

Times are seconds in the source, frames count from 0 in the normalised clip, spans and boxes are half-open.
`codec.py` carries these types to Arrow and JSON and back.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from vpdata.errors import Reason

SCHEMA_VERSION = 1
"""Of parts, shards and index; raised when a reader of the old version would misread the new one."""

ScoreName = Literal[
    "motion",
    "camera_motion",
    "object_motion",
    "sharpness",
    "exposure",
    "contrast",
    "black_border_frac",
    "static_frac",
    "aesthetic",
    "unsafe",
    "text_overlay_frac",
    "caption_words",
    "caption_repetition_frac",
    "text_alignment",
]
"""Closed list of clip scores; `docs/format.md` gives the unit and range of each."""

_ID = re.compile(r"[a-z0-9-]+")
_MAX_ID_CHARS = 128
MAX_VIDEO_ID_CHARS = _MAX_ID_CHARS - len("edit-s--99999999-99999999")
"""So that a clip's id is one too, which has its span in milliseconds of at most 27 hours, and the id of a benchmark's
case, which has its subset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One line of the frozen source list: a video before anybody has opened it."""

    id: str
    """`video_id(uri)`, or the list's own id."""
    uri: str
    """Canonical: path relative to the input root, or URL without user info, fragment and signing parameters."""
    licence: str | None = None
    attribution: str | None = None
    caption: str | None = None
    """The list's own caption of the whole video, kept beside ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """A source video as it was found when it was opened."""

    id: str
    uri: str
    """Canonical, as in `Source`."""
    size_bytes: int
    width_px: int
    """As displayed: after rotation and with square pixels."""
    height_px: int
    fps: Fraction
    """Average frame rate, measured from time stamps where the header lies."""
    num_frames: int
    """Frames that decoded."""
    duration_s: float
    codec: str
    content_hash: str
    """SHA-256 of the file, 64 hex digits."""
    licence: str | None = None
    attribution: str | None = None
    caption: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A span of one shot, re-encoded once as the normalised mp4 that every later reader opens."""

    id: str
    """`clip_id(video.id, start_s, stop_s)`."""
    video: Video
    shot: int
    """Index of the shot in the video, from 0."""
    shot_start_s: float
    shot_stop_s: float
    """The whole shot in the source, so that longer clips can be cut later."""
    start_s: float
    stop_s: float
    """The clip in the source, half-open."""
    num_frames: int
    fps: Fraction
    """Constant frame rate of the mp4."""
    width_px: int
    height_px: int
    sha256: str
    """Of the mp4 member, 64 hex digits."""
    phash: str
    """Perceptual hash of frames spread over the clip: 16 hex digits (64 bits) a frame, concatenated."""

    @property
    def duration_s(self) -> float:
        """Length of the mp4 in seconds."""
        return float(self.num_frames / self.fps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """One object on one key frame."""

    frame: int
    box: tuple[float, float, float, float]
    """x0, y0, x1, y1 in pixels of the clip, half-open."""
    label: str
    score: float
    """Confidence in [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One object's mask through the whole clip. Tracks of a clip may overlap."""

    id: int
    """1-based, unique in the clip, never renumbered."""
    label: str
    score: float
    """Confidence in [0, 1]."""
    masks: tuple[str | None, ...] = field(repr=False)
    """Per frame the `counts` of a compressed COCO RLE of the clip's height x width, or None where it is absent."""
    area_frac: tuple[float, ...] = field(repr=False)
    """Per frame: mask area over frame area, 0.0 where absent."""
    mean_area_frac: float
    """Mean of `area_frac` over the frames where the object is present."""
    max_area_change_frac: float
    """Largest change of area between neighbouring frames that both hold the object, over the object's mean area."""
    coverage_frac: float
    """Share of frames with the object."""
    stability: float
    """Mean IoU in [0, 1] of neighbouring masks after aligning their centroids."""
    border_frac: float
    """Share of the frames with the object in which its mask touches the frame's edge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """One text about the clip or about one track."""

    text: str
    scope: int | None
    """A track's id, or None for the whole clip."""
    model: str
    """Name and revision of the model, or `source` for a caption that the source list gave."""
    prompt: str
    """Name of the prompt file, empty where the model takes none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One measured number of a clip."""

    name: ScoreName
    value: float | None
    """None: could not be computed, which is never the same as low."""
    model: str
    """What measured it, with its version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """Where a clip lies among others by what it shows: clips that mean the same point the same way."""

    model: str
    """What made it, with its version; only embeddings of one model compare."""
    values: str = field(repr=False)
    """Vector of unit length: base64 of float16, little-endian."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the rules said of a clip."""

    keep: bool
    reason: Reason | None = None
    got: str = ""
    wanted: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """All that is known of one clip. A field is None until its stage has run; empty means it ran and found nothing."""

    id: str
    """Equal to `clip.id`."""
    clip: Clip
    tags: tuple[str, ...] | None = None
    """What to look for, as the tagger named it, best first; empty: everything the detector knows."""
    detections: tuple[Detection, ...] | None = None
    tracks: tuple[Track, ...] | None = None
    captions: tuple[Caption, ...] | None = None
    scores: tuple[Score, ...] = ()
    """Appended to by every stage that measures; one that measures again replaces what was measured before."""
    embedding: Embedding | None = None
    verdict: Verdict | None = None

    def score(self, name: ScoreName) -> float | None:
        """Value of a score; None if it could not be computed, KeyError if nobody has tried."""
        for score in self.scores:
            if score.name == name:
                return score.value
        raise KeyError(f"{self.id}: score {name!r} has not been measured")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """One thing that was dropped, why, and where to find it again."""

    id: str
    """A video's id before `cut`, a clip's after."""
    stage: str
    reason: Reason
    detail: str
    """A sentence for people: what happened and, where possible, what to do."""
    got: str = ""
    wanted: str = ""
    video_id: str
    uri: str
    """Canonical uri of the source."""
    start_s: float | None = None
    stop_s: float | None = None
    """Span in the source, half-open; None for the whole video."""
    track: int | None = None
    """Set where only this track of the clip was dropped."""


def video_id(canonical_uri: str) -> str:
    """16 hex digits that stay the same for a canonical uri from run to run."""
    return hashlib.sha256(canonical_uri.encode("utf-8")).hexdigest()[:16]


def clip_id(video: str, start_s: float, stop_s: float) -> str:
    """`<video>-<start_ms>-<stop_ms>`."""
    return f"{video}-{round(start_s * 1000)}-{round(stop_s * 1000)}"


def is_valid_id(text: str) -> bool:
    """Whether `text` may be an id: lower-case letters, digits and hyphens, no dot, at most 128 characters."""
    return len(text) <= _MAX_ID_CHARS and _ID.fullmatch(text) is not None
