"""How well known objects come out of the stages cut, detect and track, from the video file on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.footage import Footage, write_video
from benchmark.quality.davis import j_and_f
from vpdata.media.masks import decode_masks
from vpdata.records import Record, Source, video_id
from vpdata.stages.base import Rejected, Result
from vpdata.stages.cut import Cut, CutSettings
from vpdata.stages.detect import Detect, DetectSettings
from vpdata.stages.track import Track, TrackSettings

FPS = 25


def score_stages(footage: Footage, scratch: Path) -> list[float]:
    """Per object the J&F of the track that fits it best; 0.0 for an object that no track holds."""
    path = write_video(scratch / "shot.mp4", footage.frames, fps=FPS)
    source = Source(id=video_id(path.name), uri=path.name)
    found: list[NDArray[np.bool_]] = []
    for cut in _run(Cut(CutSettings(min_s=1.0)), [(source, path)]):
        (mp4,) = cut.members.values()
        for detected in _run(Detect(DetectSettings()), [(cut.record, mp4)]):
            for tracked in _run(Track(TrackSettings()), [(detected.record, mp4)]):
                assert isinstance(tracked.record, Record)
                found += _masks(tracked.record, len(footage.frames))
    return [max((sum(j_and_f(truth, masks)) / 2 for masks in found), default=0.0) for truth in footage.masks]


def _run(stage: Any, items: list[tuple[Any, Any]]) -> Iterator[Result]:
    """Outcomes of a stage for items with their media; rejected ones are left out."""
    stage.setup()
    outcomes: Iterator[Result | Rejected] = stage.process_many(stage.prepare(item, media) for item, media in items)
    return (outcome for outcome in outcomes if isinstance(outcome, Result))


def _masks(record: Record, num_frames: int) -> list[NDArray[np.bool_]]:
    """Per track bool [T, H, W] in the frames of the video that the clip was cut from."""
    clip = record.clip
    start = round(clip.start_s * FPS)
    found = []
    for track in record.tracks or ():
        masks = np.zeros((num_frames, clip.height_px, clip.width_px), dtype=np.bool_)
        masks[start : start + clip.num_frames] = decode_masks(
            track.masks, height_px=clip.height_px, width_px=clip.width_px
        )
        found.append(masks)
    return found
