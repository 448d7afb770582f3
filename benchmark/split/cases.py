"""From a clip with its record to a case: as long as the benchmark wants it, with one mask and the words for it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.bench import Case, Subset
from benchmark.split.categories import Offer
from benchmark.split.regions import background_region, union_of
from benchmark.split.unusable import UnusableError
from vpdata.errors import RunError
from vpdata.media.clips import ClipReader, ClipSettings, ClipWriter
from vpdata.media.masks import encode_mask
from vpdata.records import Record

_MIN_COVERAGE_FRAC = 0.5
_AREA_FRAC = (0.005, 0.7)
"""Of the mask, on average over the frames: less shows nothing of a method, more leaves it nothing to go by."""
_AGAIN = ClipSettings(crf=10)
"""A clip that is cut again is encoded twice: the second time it loses next to nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What a case is made from."""

    record: Record
    """With tracks and captions."""
    mp4: bytes
    """The clip of the record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeCase:
    """A case with its files."""

    case: Case
    mp4: bytes
    counts: tuple[str | None, ...]
    """Per frame the compressed COCO RLE of the mask."""


def make_case(material: Material, offer: Offer, *, subset: Subset, max_s: float, seed: int) -> MadeCase:
    """The case that starts where its mask is first seen, or as much earlier as its length asks.

    UnusableError where the mask is hardly seen, tiny, or nearly everything; RunError for a damaged clip or mask.
    """
    clip = material.record.clip
    num_frames = min(clip.num_frames, math.ceil(round(max_s * clip.fps, 6)))
    try:
        masks = _masks(material, offer, num_frames=num_frames, key=f"{seed} {subset} {clip.id}")
    except ValueError as error:
        raise RunError(f"{clip.id}: a track's mask is damaged: {error}; run `vpdata check` on the run") from error
    first_seen = next((frame for frame, (counts, _) in enumerate(masks) if counts), 0)
    start = 0 if offer.is_drawn else min(first_seen, clip.num_frames - num_frames)
    masks = masks[start : start + num_frames]
    _check([area for _, area in masks])
    mp4 = _part(material, start, start + num_frames)
    case = Case(
        id=f"{subset.lower()}-{clip.id}",
        subset=subset,
        category=offer.category,
        clip_id=clip.id,
        start_frame=start,
        video_id=clip.video.id,
        num_frames=num_frames,
        fps=clip.fps,
        width_px=clip.width_px,
        height_px=clip.height_px,
        sha256=hashlib.sha256(mp4).hexdigest(),
        tracks=offer.tracks,
        caption=text_of(material.record, None),
        object_caption=" ".join(text_of(material.record, track) for track in offer.tracks),
    )
    return MadeCase(case=case, mp4=mp4, counts=tuple(counts for counts, _ in masks))


def text_of(record: Record, scope: int | None) -> str:
    """The first caption of the clip or of a track; a track without one has its label."""
    for caption in record.captions or ():
        if caption.scope == scope:
            return caption.text
    if scope is None:
        raise RunError(f"{record.id}: got no caption of the clip; wanted a run that the stage `caption` went through")
    return next(track.label for track in record.tracks or () if track.id == scope)


def _masks(material: Material, offer: Offer, *, num_frames: int, key: str) -> list[tuple[str | None, float]]:
    """Run lengths and share of the frame: of a drawn region for the first `num_frames`, else for all frames."""
    record = material.record
    size = {"height_px": record.clip.height_px, "width_px": record.clip.width_px}
    if offer.is_drawn:
        masks = background_region(key, record.tracks or (), num_frames=num_frames, **size)
    else:
        tracks = [track for track in record.tracks or () if track.id in offer.tracks]
        masks = union_of(tracks, range(record.clip.num_frames), **size)
    return [(encode_mask(mask), float(mask.mean())) for mask in masks]


def _check(area_frac: Sequence[float]) -> None:
    coverage, mean_area = sum(area > 0 for area in area_frac) / len(area_frac), sum(area_frac) / len(area_frac)
    if coverage < _MIN_COVERAGE_FRAC or not _AREA_FRAC[0] <= mean_area <= _AREA_FRAC[1]:
        raise UnusableError(
            "mask",
            f"the mask covers {mean_area:.1%} of the frame and is seen on {coverage:.0%} of the frames, wanted "
            f"{_AREA_FRAC[0]:.1%} to {_AREA_FRAC[1]:.0%}, and at least {_MIN_COVERAGE_FRAC:.0%}",
        )


def _part(material: Material, start: int, stop: int) -> bytes:
    """The frames from `start` to `stop` as a clip; the whole one keeps its bytes."""
    clip = material.record.clip
    if (start, stop) == (0, clip.num_frames):
        return material.mp4
    reader = ClipReader(material.mp4, sha256=clip.sha256)
    writer = ClipWriter(width_px=clip.width_px, height_px=clip.height_px, fps=clip.fps, settings=_AGAIN)
    for frame in range(start, stop):
        writer.write(reader.read([frame])[0])
    return writer.finish()
