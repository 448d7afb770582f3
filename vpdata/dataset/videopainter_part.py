"""One part of an import: its videos cut into normalised clips, and their label maps made tracks."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from vpdata import codec
from vpdata.dataset import annotations, layout
from vpdata.dataset import videopainter_files as files
from vpdata.dataset.label_maps import LabelMaps
from vpdata.dataset.run import Run, parquet_bytes
from vpdata.dataset.shards import Member, TarWriter
from vpdata.dataset.videopainter_files import Span
from vpdata.dataset.videopainter_sources import Origin
from vpdata.errors import Reason, RejectItem
from vpdata.media.clips import ClipReader, ClipSettings, ClipWriter
from vpdata.media.masks import Mask, encode_mask
from vpdata.media.normalise import Geometry
from vpdata.media.phash import phash_frames
from vpdata.media.track_measures import measured_track
from vpdata.media.video import FrameReader, VideoInfo, probe
from vpdata.records import Caption, Clip, Record, Reject, Source, Track, Verdict, Video, clip_id

_log = logging.getLogger(__name__)

_LABEL = "object"
"""Of every track: a published mask id has no class, since the tags were never published."""
_GIVEN = "source"
"""Name of the model of whatever the layout itself gave."""
_CLIP = ClipSettings()
_MAX_PIXELS, _MAX_DURATION_S = 8192 * 4320, 6 * 3600.0
_NUM_HASHED_FRAMES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class PartVideo:
    """A video file and its rows."""

    name: str
    origin: Origin
    spans: Sequence[Span]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """All that the files of one part depend on."""

    name: str
    """`part-00017`."""
    root: Path
    """The folder in the published layout."""
    videos: Sequence[PartVideo]
    rejects: Sequence[Reject]
    """Of rows that name no video, in the first part."""

    def __str__(self) -> str:
        return f"{self.name} (videos {self.videos[0].name} to {self.videos[-1].name})"


def write_part(run: Run, part: Part) -> None:
    """Write the files of one part of the stages source, cut and filter; that of filter, the last, says it is done."""
    dropped = list(part.rejects)
    records: dict[str, Record] = {}
    members: list[Member] = []
    with run.stage_folder("cut").writing(layout.tar_file(part.name)) as path, path.open("wb") as file:
        tar = TarWriter(file)
        for one in part.videos:
            try:
                for outcome in _import_video(part.root, one.name, one.origin, one.spans):
                    if isinstance(outcome, Reject):
                        dropped.append(outcome)
                    elif outcome[0].id in records:
                        detail = f"{one.name}: a file before it gave the clip {outcome[0].id}"
                        dropped.append(files.reject(one.origin, RejectItem(Reason.BAD_ANNOTATION, detail)))
                    else:
                        records[outcome[0].id] = outcome[0]
                        members.append(tar.add(outcome[0].id, annotations.VIDEO, outcome[1]))
            except RejectItem as error:
                dropped.append(replace(files.reject(one.origin, error), detail=f"{one.name}: {error.detail}"))
        tar.finish()
    sources = {one.origin.source.id: one.origin.source for one in part.videos}
    _write_rows(run, "source", layout.records_file(part.name), list(sources.values()), Source)
    _write_rows(run, "cut", layout.members_file(part.name), members, Member)
    _write_rows(run, "cut", layout.rejects_file(part.name), dropped, Reject)
    for stage in ("cut", "filter"):
        _write_rows(run, stage, layout.records_file(part.name), [records[name] for name in sorted(records)], Record)


def _write_rows(run: Run, stage: str, name: str, rows: Sequence[object], kind: type) -> None:
    run.stage_folder(stage).write(name, parquet_bytes(codec.to_table(rows, kind)))


def _import_video(
    root: Path, name: str, origin: Origin, spans: Sequence[Span]
) -> Iterator[tuple[Record, bytes] | Reject]:
    """A record and its mp4 for each span that can be used, and a reject for each span or track that cannot."""
    uri = files.video_uri(name)
    path = files.existing(root, uri)
    maps = LabelMaps(files.existing(root, files.masks_uri(name)))
    info = probe(path, max_pixels=_MAX_PIXELS, max_duration_s=_MAX_DURATION_S)
    _check_size(maps, info.geometry)
    maps.verify()
    # Rows and label maps count the source's own frames. At a constant rate, holes of its clock would shift all behind.
    reader = FrameReader(path, info, short_side_px=_CLIP.short_side_px, max_pixels=_MAX_PIXELS, one_to_one=True)
    mp4s, num_frames = _encode(reader, spans)
    if num_frames != maps.num_frames:
        _log.warning("%s: got %d label maps for %d frames; both are counted from 0", uri, maps.num_frames, num_frames)
    video = origin.video or _video(path, origin.source, info, num_frames=reader.num_source_frames)
    for span, mp4 in zip(spans, mp4s, strict=True):
        rejected = partial(files.reject, origin, span=span, fps=reader.fps)
        try:
            num_there = min(num_frames, maps.num_frames) - span.start
            if num_there < span.stop - span.start:
                got, wanted = f"{max(0, num_there)} frames", f"{span.stop - span.start} frames from {span.start} on"
                raise RejectItem(Reason.BAD_ANNOTATION, "the video or its masks end before", got=got, wanted=wanted)
            tracks, missing = _tracks(maps, span, width_px=reader.width_px, height_px=reader.height_px)
            yield from (rejected(_no_pixels(one), track=one) for one in missing)
            if not tracks:
                raise RejectItem(Reason.NO_TRACKS, "none of the rows' masks has a pixel", wanted="at least one")
            yield _record(video, origin, reader, span, tracks, mp4), mp4
        except RejectItem as error:
            yield rejected(error)


def _check_size(maps: LabelMaps, geometry: Geometry) -> None:
    """Most readers of frames know no shape of a pixel, so that label maps made with them have the stored size."""
    stored = geometry.stored_width_px, geometry.stored_height_px
    shown = geometry.width_px, geometry.height_px
    got = maps.width_px, maps.height_px
    if got not in (stored, shown):
        wanted = " or ".join(f"{width}x{height}" for width, height in dict.fromkeys((stored, shown)))
        raise RejectItem(
            Reason.BAD_ANNOTATION,
            "the masks have another size than the video",
            got=f"{got[0]}x{got[1]}",
            wanted=f"{wanted} as the video",
        )


def _encode(reader: FrameReader, spans: Sequence[Span]) -> tuple[list[bytes], int]:
    """The mp4 of each span, nothing where the video ends before the span does, and the number of frames of the video.

    An encoder lives while its span runs: at 720p it takes 75 MB.
    """
    mp4s = [b""] * len(spans)
    running: dict[int, ClipWriter] = {}
    num_frames = 0
    try:
        for index, frame in enumerate(reader):
            num_frames = index + 1
            for number, span in enumerate(spans):
                if index == span.start:
                    size = {"width_px": reader.width_px, "height_px": reader.height_px}
                    running[number] = ClipWriter(**size, fps=reader.fps, settings=_CLIP)
                if number in running:
                    running[number].write(frame)
                if number in running and num_frames == span.stop:
                    mp4s[number] = running.pop(number).finish()
    finally:
        for writer in running.values():
            writer.discard()
    return mp4s, num_frames


def _no_pixels(mask_id: int) -> RejectItem:
    return RejectItem(Reason.BAD_ANNOTATION, f"mask {mask_id} has no pixel in the span", got="0 pixels", wanted="some")


def _tracks(maps: LabelMaps, span: Span, *, width_px: int, height_px: int) -> tuple[tuple[Track, ...], list[int]]:
    """The tracks of a span in the order of their ids, and the ids that have no pixel in it."""
    counts: dict[int, list[str | None]] = {mask_id: [] for mask_id in sorted(span.mask_ids)}
    for labels in maps.read(span.start, span.stop):
        for mask_id, of_frames in counts.items():
            of_frames.append(encode_mask(_fitted(labels == mask_id, width_px=width_px, height_px=height_px)))
    tracks = tuple(
        measured_track(masks, id=mask_id, label=_LABEL, score=1.0, height_px=height_px, width_px=width_px)
        for mask_id, masks in counts.items()
        if any(masks)
    )
    return tracks, [mask_id for mask_id, masks in counts.items() if not any(masks)]


def _fitted(mask: Mask, *, width_px: int, height_px: int) -> Mask:
    """The mask at the clip's size: an odd last row or column goes, as it does in the clip; else the nearest pixel."""
    height, width = mask.shape
    if (width & ~1, height & ~1) == (width_px, height_px):
        return mask[:height_px, :width_px]
    small = cv2.resize(mask.astype(np.uint8), (width_px, height_px), interpolation=cv2.INTER_NEAREST_EXACT)
    return small.astype(np.bool_)


def _video(path: Path, source: Source, info: VideoInfo, *, num_frames: int) -> Video:
    with path.open("rb") as file:
        content_hash = hashlib.file_digest(file, "sha256").hexdigest()
    return Video(
        id=source.id,
        uri=source.uri,
        size_bytes=path.stat().st_size,
        width_px=info.geometry.width_px,
        height_px=info.geometry.height_px,
        fps=info.average_fps,
        num_frames=num_frames,
        duration_s=info.duration_s,
        codec=info.codec,
        content_hash=content_hash,
    )


def _record(
    video: Video, origin: Origin, reader: FrameReader, span: Span, tracks: tuple[Track, ...], mp4: bytes
) -> Record:
    num_frames = span.stop - span.start
    start_s, stop_s = (origin.time_s(frame, reader.fps) for frame in (span.start, span.stop))
    hashed = np.linspace(0, num_frames - 1, _NUM_HASHED_FRAMES).round().astype(int)
    clip = Clip(
        id=clip_id(video.id, start_s, stop_s),
        video=video,
        # The layout knows no shots: each span is taken for one.
        shot=0,
        shot_start_s=start_s,
        shot_stop_s=stop_s,
        start_s=start_s,
        stop_s=stop_s,
        num_frames=num_frames,
        fps=reader.fps,
        width_px=reader.width_px,
        height_px=reader.height_px,
        sha256=hashlib.sha256(mp4).hexdigest(),
        phash=phash_frames(ClipReader(mp4).read(hashed.tolist())),
    )
    caption = Caption(text=span.caption, scope=None, model=_GIVEN, prompt="")
    return Record(id=clip.id, clip=clip, tracks=tracks, captions=(caption,), verdict=Verdict(keep=True))
