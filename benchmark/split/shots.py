"""Whole shots of the sources as long clips: opened again, cut again, and followed by the run's own models."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmark.split.cases import Material
from benchmark.split.unusable import UnusableError
from vpdata.build import BuildConfig, stages_of
from vpdata.errors import RejectItem
from vpdata.media.clips import ClipReader, ClipWriter
from vpdata.media.phash import phash_frames
from vpdata.media.video import FrameReader, probe
from vpdata.records import Clip, Record, Source, Video, clip_id
from vpdata.sources import Input
from vpdata.stages.base import Rejected, Stage
from vpdata.stages.rules import judge

_NUM_HASHED_FRAMES = 8
_HASH_SHORT_SIDE_PX = 96


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """A part of one shot, long enough for a case."""

    video: Video
    index: int
    """Of the shot in the video."""
    start_s: float
    stop_s: float
    """Of the whole shot."""
    max_s: float
    """Its first seconds that are used."""

    @property
    def id(self) -> str:
        """Unique in the run."""
        return clip_id(self.video.id, self.start_s, self.stop_s)


class ShotCutter:
    """Makes long clips with the settings of the run. Loads the run's models when the first shot is cut."""

    def __init__(self, config: BuildConfig, input_uri: str) -> None:
        """`config` is that of the run, and so is the input."""
        self._config = config
        self._input = Input(input_uri, config.source)

    def material(self, shot: Shot) -> Material:
        """The shot as a clip with tracks and captions. UnusableError where it cannot be had."""
        source = Source(id=shot.video.id, uri=shot.video.uri)
        try:
            with self._input.local_file(source) as path:
                _check_unchanged(path, shot.video)
                clip, mp4 = self._cut(path, shot)
        except RejectItem as error:
            raise UnusableError("source_gone", f"{shot.video.uri} cannot be opened again: {error.detail}") from error
        return Material(record=self._followed(Record(id=clip.id, clip=clip), mp4), mp4=mp4)

    def _cut(self, path: Path, shot: Shot) -> tuple[Clip, bytes]:
        cut = self._config.cut
        info = probe(path, max_pixels=cut.max_pixels, max_duration_s=cut.max_duration_s)
        reader = FrameReader(path, info, short_side_px=cut.clip.short_side_px, max_pixels=cut.max_pixels)
        start = round(shot.start_s * reader.fps)
        stop = min(round(shot.stop_s * reader.fps), start + math.floor(Fraction(str(shot.max_s)) * reader.fps))
        writer = ClipWriter(width_px=reader.width_px, height_px=reader.height_px, fps=reader.fps, settings=cut.clip)
        for index, frame in enumerate(reader):
            if index >= stop:
                break
            if index >= start:
                writer.write(frame)
        if writer.num_frames < stop - start:
            raise UnusableError("source_changed", f"{shot.video.uri} ends after {writer.num_frames} frames of the shot")
        mp4, stop_s = writer.finish(), float(stop / reader.fps)
        hashed = np.linspace(0, writer.num_frames - 1, _NUM_HASHED_FRAMES).round().astype(int)
        clip = Clip(
            id=clip_id(shot.video.id, shot.start_s, stop_s),
            video=shot.video,
            shot=shot.index,
            shot_start_s=shot.start_s,
            shot_stop_s=shot.stop_s,
            start_s=shot.start_s,
            stop_s=stop_s,
            num_frames=writer.num_frames,
            fps=reader.fps,
            width_px=reader.width_px,
            height_px=reader.height_px,
            sha256=hashlib.sha256(mp4).hexdigest(),
            phash=phash_frames(ClipReader(mp4).read(hashed.tolist(), max_short_side_px=_HASH_SHORT_SIDE_PX)),
        )
        return clip, mp4

    def _followed(self, record: Record, mp4: bytes) -> Record:
        """With detections, tracks that pass the run's rules, and captions."""
        for stage in self._stages:
            (*_, outcome) = stage.process_many(iter([stage.prepare(record, mp4)]))
            if isinstance(outcome, Rejected):
                raise UnusableError("not_tracked", f"{outcome.reject.reason}: {outcome.reject.detail}")
            assert isinstance(outcome.record, Record)
            record = outcome.record
            if stage.name == "track":
                # The run's other rules are for clips of the run's length.
                judged = judge(record, self._config.filter, after="track")
                if judged.record is None:
                    raise UnusableError("not_tracked", f"no track passed the run's rules: {judged.rejects[-1].detail}")
                record = judged.record
        return record

    @cached_property
    def _stages(self) -> list[Stage]:
        stages = [stage for stage in stages_of(self._config) if stage.name in ("detect", "track", "caption")]
        for stage in stages:
            stage.setup()
        return stages


def _check_unchanged(path: Path, video: Video) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != video.content_hash:
        got_wanted = f"got SHA-256 {found[:12]}, wanted {video.content_hash[:12]}"
        raise UnusableError("source_changed", f"{video.uri} has other bytes than the run was built from: {got_wanted}")
