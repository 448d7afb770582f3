"""Turns boxes on key frames into one mask track per object over the whole clip."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

from vpdata import models
from vpdata.config import ModelChoice, to_plain
from vpdata.errors import Reason, RejectItem
from vpdata.media.clips import ClipReader
from vpdata.media.track_measures import measured_track
from vpdata.models.ports import Frames, MaskTracker, ModelCard
from vpdata.records import Record
from vpdata.stages.base import Rejected, Resources, Result, rejected
from vpdata.stages.follow import FollowSettings, follow_objects


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackSettings(FollowSettings):
    """Settings of the stage `track`."""

    tracker: ModelChoice = field(default_factory=lambda: ModelChoice(name="embedded"))
    resources: Resources = field(default_factory=lambda: Resources(memory_gb=3.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackInputs:
    """A whole clip at the tracker's size."""

    record: Record
    frames: Frames
    """uint8 [T, H, W, 3] RGB."""

    @property
    def item_id(self) -> str:
        return self.record.id

    @property
    def num_bytes(self) -> int:
        return self.frames.nbytes


class Track:
    """Fills `Record.tracks`; a clip in which no object can be held is rejected as `no_tracks`."""

    name: ClassVar[str] = "track"
    needs_media: ClassVar[bool] = True

    def __init__(self, settings: TrackSettings, *, tracker: Callable[[], MaskTracker] | None = None) -> None:
        self._settings = settings
        self._make_tracker = tracker or models.maker("mask_tracker", settings.tracker)
        self.resources = settings.resources

    @property
    def identity(self) -> Mapping[str, Any]:
        settings = to_plain(self._settings)
        # The card of the tracker says what of its options can change a mask; how many frames go at once cannot.
        for name in ("resources", "tracker"):
            del settings[name]
        return {"settings": settings, "version": 2}

    @property
    def models(self) -> tuple[ModelCard, ...]:
        return (models.describe("mask_tracker", self._settings.tracker),)

    def setup(self) -> None:
        self._tracker = self._make_tracker()

    def prepare(self, item: Record, media: bytes) -> TrackInputs:
        frames = ClipReader(media, sha256=item.clip.sha256).read(max_short_side_px=self._tracker.max_short_side_px)
        return TrackInputs(record=item, frames=frames)

    def process_many(self, inputs: Iterator[TrackInputs]) -> Iterator[Result | Rejected]:
        for one in inputs:
            try:
                yield Result(item_id=one.item_id, record=self._tracked(one))
            except RejectItem as rejection:
                yield rejected(one.record, rejection, stage=self.name)

    def _tracked(self, one: TrackInputs) -> Record:
        clip, detections = one.record.clip, one.record.detections or ()
        size = {"height_px": clip.height_px, "width_px": clip.width_px}
        track = partial(self._tracker.track, one.frames, **size, seed=seed_of(clip.id))
        objects = follow_objects(detections, track=track, settings=self._settings, **size)
        if not objects:
            raise RejectItem(
                Reason.NO_TRACKS,
                f"none of the objects on {len({one.frame for one in detections})} key frames could be followed",
                got=f"0 tracks from {len(detections)} detections",
                wanted=f"at least one with a score of {self._settings.min_score} or more",
            )
        tracks = tuple(
            measured_track(
                followed.masks,
                id=number,
                label=followed.label(self._settings.generic_labels),
                score=followed.score,
                **size,
            )
            for number, followed in enumerate(objects, start=1)
        )
        return dataclasses.replace(one.record, tracks=tracks)


def seed_of(clip: str) -> int:
    """A random seed in [0, 2**31) from a clip's id, the same on every machine."""
    return int.from_bytes(hashlib.sha256(clip.encode("utf-8")).digest()[:4], "big") >> 1
