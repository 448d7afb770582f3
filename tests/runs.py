"""Tiny finished runs with true masks, written without the engine: moving coloured squares over a ramp."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from vpdata import codec
from vpdata.dataset import layout
from vpdata.dataset.run import Run, parquet_bytes
from vpdata.dataset.shards import Member, PackEntry, TarWriter, write_shard
from vpdata.errors import Reason
from vpdata.media.clips import ClipWriter
from vpdata.media.masks import encode_mask
from vpdata.media.phash import phash_frames
from vpdata.records import (
    Caption,
    Clip,
    Detection,
    Record,
    Reject,
    Score,
    Source,
    Track,
    Verdict,
    Video,
    clip_id,
    video_id,
)
from vpdata.storage import Folder

WIDTH_PX, HEIGHT_PX, NUM_FRAMES, FPS = 96, 64, 24, Fraction(12)
RED, BLUE = (220, 30, 30), (30, 30, 220)
_MODEL = "hand 1"
FILLED = ((), ("tags", "detections"), ("tracks",), ("captions",), ("verdict",))
"""Fields of `Record` that each stage fills, in the order of the stages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Footage:
    """One clip before it is a record."""

    frames: NDArray[np.uint8]
    """uint8 [T, H, W, 3] RGB."""
    masks: dict[str, NDArray[np.bool_]]
    """Label to bool [T, H, W], true by construction."""


def make_footage(seed: int) -> Footage:
    """A red square crossing to the right over a blue one that goes down and is gone for the last 6 frames."""
    frames = np.zeros((NUM_FRAMES, HEIGHT_PX, WIDTH_PX, 3), dtype=np.uint8)
    frames[..., 1] = np.linspace(40, 200, WIDTH_PX).astype(np.uint8)
    frames[..., 2] = (np.linspace(0, 90, HEIGHT_PX).astype(np.uint8))[:, None]
    masks = {
        name: np.zeros((NUM_FRAMES, HEIGHT_PX, WIDTH_PX), dtype=np.bool_) for name in ("blue square", "red square")
    }
    top = 12 + 4 * (seed % 4)
    for index in range(NUM_FRAMES):
        if index < NUM_FRAMES - 6:
            masks["blue square"][index, 4 + index : 28 + index, 40:64] = True
        masks["red square"][index, top : top + 16, 4 + 3 * index : 20 + 3 * index] = True
        frames[index][masks["blue square"][index]] = BLUE
        frames[index][masks["red square"][index]] = RED
    return Footage(frames=frames, masks=masks)


def encode_clip(frames: NDArray[np.uint8]) -> bytes:
    """The normalised mp4 of uint8 [T, H, W, 3] RGB."""
    writer = ClipWriter(width_px=frames.shape[2], height_px=frames.shape[1], fps=FPS)
    for frame in frames:
        writer.write(frame)
    return writer.finish()


def make_source(seed: int) -> Source:
    """Source number `seed`; every second one says its licence."""
    uri = f"footage/squares {seed}.mp4"
    return Source(
        id=video_id(uri), uri=uri, licence=("CC-BY-4.0", None)[seed % 2], attribution=("Ann & Bo", None)[seed % 2]
    )


def make_record(seed: int, *, mp4: bytes, footage: Footage) -> Record:
    """A record that went through all stages."""
    source = make_source(seed)
    video = Video(
        id=source.id, uri=source.uri, size_bytes=len(mp4), width_px=WIDTH_PX, height_px=HEIGHT_PX, fps=FPS,
        num_frames=NUM_FRAMES, duration_s=2.0, codec="h264", licence=source.licence,
        attribution=source.attribution, content_hash=hashlib.sha256(source.uri.encode()).hexdigest(),
    )  # fmt: skip
    clip = Clip(
        id=clip_id(video.id, 0.0, 2.0), video=video, shot=0, shot_start_s=0.0, shot_stop_s=2.0, start_s=0.0, stop_s=2.0,
        num_frames=NUM_FRAMES, fps=FPS, width_px=WIDTH_PX, height_px=HEIGHT_PX, sha256=hashlib.sha256(mp4).hexdigest(),
        phash=phash_frames(footage.frames[::12]),
    )  # fmt: skip
    tracks = tuple(make_track(number, label, masks) for number, (label, masks) in enumerate(footage.masks.items(), 1))
    return Record(
        id=clip.id,
        clip=clip,
        tags=("red square", "blue square"),
        detections=(Detection(frame=0, box=(4.0, 12.0, 20.0, 28.0), label="red square", score=0.9),),
        tracks=tracks,
        captions=(
            Caption(text=f"Clip {seed}: a red square crosses a blue one.", scope=None, model=_MODEL, prompt="clip"),
            *(Caption(text=f"a {track.label}", scope=track.id, model=_MODEL, prompt="object") for track in tracks),
        ),
        scores=(
            Score(name="motion", value=0.5 + seed, model=_MODEL),
            Score(name="sharpness", value=None if seed % 3 == 2 else 100.0, model=_MODEL),
        ),
        verdict=Verdict(keep=True),
    )


def make_track(number: int, label: str, masks: NDArray[np.bool_]) -> Track:
    """A track of bool [T, H, W]; every square here has a constant size while it is in the picture."""
    area_frac = masks.mean(axis=(1, 2))
    present = area_frac > 0
    return Track(
        id=number, label=label, score=0.9, masks=tuple(encode_mask(mask) for mask in masks),
        area_frac=tuple(map(float, area_frac)), mean_area_frac=float(area_frac[present].mean()),
        max_area_change_frac=0.0, coverage_frac=float(present.mean()), stability=1.0, border_frac=0.0,
    )  # fmt: skip


def make_run(folder: Path | str, *, num_clips: int = 3, clips_per_part: int = 2, packed: bool = True) -> Run:
    """A run of `num_clips` kept clips with a reject at most stages; `packed=False` leaves out shards and index."""
    run = Run(Folder(folder))
    run.folder.write(layout.RUN_CONFIG, yaml.safe_dump(RUN_CONFIG, sort_keys=False).encode())
    entries: list[PackEntry] = []
    for number, first in enumerate(range(0, num_clips, clips_per_part)):
        seeds = range(first, min(first + clips_per_part, num_clips))
        entries += _write_part(run, layout.part_name(number), seeds)
    entries.sort(key=lambda entry: entry.clip_id)
    # Two clips a shard, so that most runs have several.
    plan = [replace(entry, shard=position // 2) for position, entry in enumerate(entries)]
    run.folder.write(layout.PACK_PLAN, parquet_bytes(codec.to_table(plan, PackEntry)))
    run.folder.write(layout.RUNWIDE_REJECTS, parquet_bytes(codec.to_table([NEAR_DUPLICATE], Reject)))
    if packed:
        for shard in sorted({entry.shard for entry in plan}):
            write_shard(run, [entry for entry in plan if entry.shard == shard], shard=shard)
    return run


def _write_part(run: Run, part: str, seeds: range) -> list[PackEntry]:
    is_first = part == "part-00000"
    sources = [make_source(seed) for seed in seeds] + ([BAD_SOURCE, DUPLICATE_SOURCE] if is_first else [])
    _write_rows(run.stage_folder("source"), layout.records_file(part), sources, Source)
    tar, members = io.BytesIO(), []
    writer = TarWriter(tar)
    kept, records = [], []
    for seed in seeds:
        footage = make_footage(seed)
        mp4 = encode_clip(footage.frames)
        kept.append(make_record(seed, mp4=mp4, footage=footage))
        copies = [as_clip_of(reject, kept[0]) for reject in (STILL, NEAR_DUPLICATE)] if is_first and seed == 0 else []
        for record in (kept[-1], *copies):
            records.append(record)
            members.append(writer.add(record.id, "mp4", mp4))
    writer.finish()
    run.stage_folder("cut").write(layout.tar_file(part), tar.getvalue())
    _write_rows(run.stage_folder("cut"), layout.members_file(part), members, Member)
    records.sort(key=lambda record: record.id)
    for number, stage in enumerate(layout.STAGE_NAMES):
        unfilled = {field: None for later in FILLED[number + 1 :] for field in later}
        rejects = REJECTS.get(stage, []) if is_first else []
        dropped = {reject.id for reject in rejects if reject.track is None}
        records = [record for record in records if record.id not in dropped]
        _write_rows(
            run.stage_folder(stage),
            layout.records_file(part),
            [replace(record, **unfilled) for record in records],
            Record,
        )
        if rejects:
            _write_rows(run.stage_folder(stage), layout.rejects_file(part), rejects, Reject)
    return [PackEntry(clip_id=record.id, part=part, shard=0) for record in kept]


def as_clip_of(reject: Reject, record: Record) -> Record:
    """`record` as if it were the clip that was dropped."""
    video = replace(record.clip.video, id=reject.video_id, uri=reject.uri)
    assert reject.start_s is not None
    assert reject.stop_s is not None
    clip = replace(record.clip, id=reject.id, video=video, start_s=reject.start_s, stop_s=reject.stop_s)
    return replace(record, id=reject.id, clip=clip)


def _write_rows(folder: Folder, name: str, rows: list, kind: type) -> None:
    folder.write(name, parquet_bytes(codec.to_table(rows, kind)))


BAD_SOURCE = Source(id=video_id("footage/empty.mp4"), uri="footage/empty.mp4")
DUPLICATE_SOURCE = Source(id=video_id("footage/zz copy.mp4"), uri="footage/zz copy.mp4")
NEAR_DUPLICATE = Reject(
    id=clip_id(DUPLICATE_SOURCE.id, 0.0, 2.0), stage="pack", reason=Reason.NEAR_DUPLICATE, detail="looks like another",
    got="0.01", wanted="> 0.1", video_id=DUPLICATE_SOURCE.id, uri=DUPLICATE_SOURCE.uri, start_s=0.0, stop_s=2.0,
)  # fmt: skip
STILL = Reject(
    id=clip_id(DUPLICATE_SOURCE.id, 3.0, 5.0), stage="filter", reason=Reason.MOTION, detail="hardly anything moves",
    got="0.01", wanted=">= 0.1", video_id=DUPLICATE_SOURCE.id, uri=DUPLICATE_SOURCE.uri, start_s=3.0, stop_s=5.0,
)  # fmt: skip
REJECTS: dict[str, list[Reject]] = {
    "cut": [
        Reject(
            id=BAD_SOURCE.id, stage="cut", reason=Reason.EMPTY_FILE, detail="zero bytes", got="0 bytes",
            wanted="a video", video_id=BAD_SOURCE.id, uri=BAD_SOURCE.uri,
        ),
        Reject(
            id=clip_id(DUPLICATE_SOURCE.id, 2.0, 3.0), stage="cut", reason=Reason.TOO_SHORT, detail="shot of 1 s",
            got="1.0", wanted=">= 2.0", video_id=DUPLICATE_SOURCE.id, uri=DUPLICATE_SOURCE.uri, start_s=2.0, stop_s=3.0,
        ),
    ],
    "filter": [
        STILL,
        Reject(
            id=clip_id(make_source(0).id, 0.0, 2.0), stage="filter", reason=Reason.TRACK_AREA, detail="too small",
            got="0.001", wanted=">= 0.01", video_id=make_source(0).id, uri=make_source(0).uri, start_s=0.0, stop_s=2.0,
            track=3,
        ),
    ],
}  # fmt: skip
"""Written beside the first part."""
RUN_CONFIG = {
    "vpdata_version": "0.1.0",
    "config": {"cut": {"min_s": 2.0}, "filter": {"rules": {"motion": {"min": 0.1}}}},
    "models": [
        {
            "role": "captioner",
            "name": "hand",
            "revision": "1",
            "licence": "Apache-2.0",
            "source": "vpdata 0.1.0",
            "options": {},
        }
    ],
}
