"""The fixed workload: clips of three objects each, with the truth that a stage would have got from the one before."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations, count, cycle
from typing import Any

import numpy as np

from benchmark.footage import Footage, scene
from vpdata.dataset import lease
from vpdata.dataset.run import Run
from vpdata.engine.part_output import PartOutput
from vpdata.media.clips import ClipWriter
from vpdata.media.masks import box_iou, encode_mask
from vpdata.media.track_measures import measured_track
from vpdata.records import Clip, Detection, Record, Track, Video, clip_id, video_id
from vpdata.stages.scoring import key_frames

NUM_OBJECTS = 3
_NUM_FILMS = 4
"""Clips repeat so many films under ids of their own: drawing one takes seconds, and no model minds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """Size and length of the clips."""

    width_px: int
    height_px: int
    fps: int
    duration_s: int

    @property
    def num_frames(self) -> int:
        return self.fps * self.duration_s

    @property
    def size(self) -> dict[str, int]:
        """As keyword arguments."""
        return {"width_px": self.width_px, "height_px": self.height_px}


FULL = Format(width_px=720, height_px=480, fps=24, duration_s=10)
TINY = Format(width_px=96, height_px=64, fps=8, duration_s=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Film:
    media: bytes
    """The mp4."""
    detections: tuple[Detection, ...]
    """The objects, all on one key frame, where none is behind another."""
    tracks: tuple[Track, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueClip(_Film):
    """One clip and what is true of it."""

    record: Record
    """As `cut` leaves it."""

    def before(self, stage: str) -> Record:
        """The record as the stage wants it."""
        known = {"detect": {}, "track": {"detections": self.detections}}
        tracked = {"detections": self.detections, "tracks": self.tracks}
        return dataclasses.replace(self.record, **known.get(stage, tracked))


def make_clips(num_clips: int, format: Format) -> list[TrueClip]:
    """Equal for equal arguments."""
    seeds = count()
    films = [_film(seeds, format) for _ in range(min(num_clips, _NUM_FILMS))]
    return [
        TrueClip(
            record=_record(number, film.media, format), media=film.media, detections=film.detections, tracks=film.tracks
        )
        for number, film in zip(range(num_clips), cycle(films))
    ]


def write_parts(run: Run, parts: dict[str, Sequence[TrueClip]], *, stage: str, previous: str) -> None:
    """What the stages before `stage` would have left in a run, by the name of the part."""
    with lease.hold(run.folder) as proof:
        for name in dict.fromkeys(("cut", previous)):
            for part, clips in parts.items():
                with PartOutput(run.stage_folder(name), part, proof) as output:
                    for clip in clips:
                        record = clip.record if name == "cut" else clip.before(stage)
                        output.add(record, {"mp4": clip.media} if name == "cut" else {})
                    output.finish_items(len(clips))
                    output.commit()


def _film(seeds: Iterator[int], format: Format) -> _Film:
    looked_at = key_frames(format.num_frames, fps=format.fps, interval_s=1.0)
    middle_first = sorted(looked_at, key=lambda frame: (abs(frame - format.num_frames // 2), frame))
    for seed in seeds:
        footage = _three_objects(seed, format)
        for frame in middle_first:
            boxes = [box for box in footage.boxes(frame) if box]
            if len(boxes) == NUM_OBJECTS and not any(box_iou(*pair) > 0 for pair in combinations(boxes, 2)):
                return _described(footage, frame, boxes, format)
    raise ValueError("got no seed whose objects are ever apart")


def _three_objects(seed: int, format: Format) -> Footage:
    """One object crosses alone; two more pass each other before it."""
    size: dict[str, Any] = {"num_frames": format.num_frames, "size_frac": 0.25, **format.size}
    behind = scene("plain", seed=seed, **size)
    before = scene("crossing", seed=seed, backdrop=behind.frames, **size)
    masks = np.concatenate([behind.masks & ~before.masks.any(axis=0), before.masks])
    return Footage(frames=before.frames, masks=masks, labels=(*behind.labels, *before.labels))


def _described(footage: Footage, frame: int, boxes: Sequence[tuple[int, ...]], format: Format) -> _Film:
    writer = ClipWriter(width_px=format.width_px, height_px=format.height_px, fps=Fraction(format.fps))
    for image in footage.frames:
        writer.write(image)
    detections = []
    for label, (x0, y0, x1, y1) in zip(footage.labels, boxes, strict=True):
        box = float(x0), float(y0), float(x1), float(y1)
        detections.append(Detection(frame=frame, box=box, label=label, score=1.0))
    tracks = [
        measured_track([encode_mask(mask) for mask in masks], id=number, label=label, score=1.0, **format.size)
        for number, (label, masks) in enumerate(zip(footage.labels, footage.masks, strict=True), start=1)
    ]
    return _Film(media=writer.finish(), detections=tuple(detections), tracks=tuple(tracks))


def _record(number: int, media: bytes, format: Format) -> Record:
    uri, digest = f"clip-{number:05d}.mp4", hashlib.sha256(media).hexdigest()
    size: dict[str, Any] = {"fps": Fraction(format.fps), "num_frames": format.num_frames, **format.size}
    duration_s = float(format.duration_s)
    video = Video(
        id=video_id(uri),
        uri=uri,
        size_bytes=len(media),
        duration_s=duration_s,
        codec="h264",
        content_hash=digest,
        **size,
    )
    clip = Clip(
        id=clip_id(video.id, 0.0, duration_s),
        video=video,
        shot=0,
        shot_start_s=0.0,
        shot_stop_s=duration_s,
        start_s=0.0,
        stop_s=duration_s,
        sha256=digest,
        phash="0" * 128,
        **size,
    )
    return Record(id=clip.id, clip=clip)
