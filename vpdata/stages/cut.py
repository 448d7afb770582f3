"""Sources to clips: finds the shots and writes spans of them as normalised mp4s, in one decode of the source."""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import IO, Any, ClassVar

import av
import numpy as np

from vpdata import models
from vpdata.config import ModelChoice, to_plain
from vpdata.errors import Reason, RejectItem, StorageError
from vpdata.media.clips import ClipSettings, ClipWriter, scaled_size
from vpdata.media.normalise import Thumbnails
from vpdata.media.phash import phash_frames
from vpdata.media.video import FrameReader, VideoInfo, probe
from vpdata.models.ports import Frames, Image, ModelCard, Scorer, ShotDetector
from vpdata.records import Clip, Record, Reject, Score, ScoreName, Source, Video, clip_id
from vpdata.stages.base import Rejected, Resources, Result

_NUM_HASHED_FRAMES = 8
HASH_SAMPLE_FPS = 4.0
"""The frames of a hash are some of those at this rate."""
_HASH_SHORT_SIDE_PX = 96
_SPILL_IN_MEMORY_BYTES = 32 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class CutSettings:
    """How sources become clips."""

    min_s: float = 6.125
    """Shortest clip: 49 frames at 8 fps, what the VideoPainter trainer reads."""
    max_s: float = 10.0
    """Longest clip; a longer shot gives several."""
    max_pixels: int = 8192 * 4320
    """Largest frame accepted."""
    max_duration_s: float = 6 * 3600.0
    """Longest source accepted."""
    clip: ClipSettings = field(default_factory=ClipSettings)
    shot_detector: ModelChoice = field(default_factory=lambda: ModelChoice(name="scenedetect"))
    scorer: ModelChoice | None = field(default_factory=lambda: ModelChoice(name="embedded"))
    """None: no scores are measured."""
    resources: Resources = field(default_factory=lambda: Resources(memory_gb=2.0, timeout_s=6 * 3600.0))
    """The time limit is a long film's at 720 px: about two and a half times faster than it plays on one core."""

    def __post_init__(self) -> None:
        if not 0 < self.min_s <= self.max_s:
            raise ValueError(f"got min_s {self.min_s} and max_s {self.max_s}, wanted 0 < min_s <= max_s")
        if self.max_pixels <= 0 or self.max_duration_s <= 0:
            raise ValueError(f"got max_pixels {self.max_pixels}, max_duration_s {self.max_duration_s}, wanted over 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class CutInputs:
    """A source that has been measured and hashed; its file must stay until its last result."""

    source: Source
    path: Path
    info: VideoInfo
    size_bytes: int
    content_hash: str

    @property
    def item_id(self) -> str:
        return self.source.id

    @property
    def num_bytes(self) -> int:
        return 0


class Cut:
    """Detects shots, cuts each into clips of `min_s` to `max_s`, encodes, scores and hashes them."""

    name: ClassVar[str] = "cut"
    needs_media: ClassVar[bool] = True

    def __init__(
        self,
        settings: CutSettings,
        *,
        shots: Callable[[], ShotDetector] | None = None,
        scorer: Callable[[], Scorer] | None = None,
    ) -> None:
        self.settings = settings
        self.resources = settings.resources
        self._make_shots = shots or models.maker("shot_detector", settings.shot_detector)
        self._make_scorer = scorer or (models.maker("scorer", settings.scorer) if settings.scorer else None)

    @property
    def identity(self) -> Mapping[str, Any]:
        """Settings, and the version of the algorithm."""
        settings = {name: value for name, value in to_plain(self.settings).items() if name != "resources"}
        return {"version": 2, "settings": settings}

    @property
    def models(self) -> tuple[ModelCard, ...]:
        """The shot detector and the scorer."""
        cards = [models.describe("shot_detector", self.settings.shot_detector)]
        if self.settings.scorer:
            cards.append(models.describe("scorer", self.settings.scorer))
        return tuple(cards)

    def setup(self) -> None:
        """Load the models."""
        self._shots = self._make_shots()
        self._scorer = self._make_scorer() if self._make_scorer else None
        card = models.describe("scorer", self.settings.scorer) if self.settings.scorer else None
        self._scorer_name = f"{card.name} {card.revision}" if card else ""

    def prepare(self, item: Source, media: Path) -> CutInputs:
        """Measure and hash the file. Raises RejectItem for one that is no usable video."""
        info = probe(media, max_pixels=self.settings.max_pixels, max_duration_s=self.settings.max_duration_s)
        with media.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return CutInputs(source=item, path=media, info=info, size_bytes=media.stat().st_size, content_hash=digest)

    def process_many(self, inputs: Iterator[CutInputs]) -> Iterator[Result | Rejected]:
        """Per source its clips and the spans that gave none, in the order of time."""
        for one in inputs:
            try:
                yield from self._cut(one)
            except RejectItem as error:
                yield _rejected(one.source, error.reason, error.detail, got=error.got, wanted=error.wanted)

    def _cut(self, inputs: CutInputs) -> Iterator[Result | Rejected]:
        # A record tells its shot's end and its video's true length, so clips wait for both, on disk.
        with tempfile.SpooledTemporaryFile(max_size=_SPILL_IN_MEMORY_BYTES) as spill:
            reader = FrameReader(
                inputs.path,
                inputs.info,
                short_side_px=self.settings.clip.short_side_px,
                max_pixels=self.settings.max_pixels,
            )
            spans = list(self._spans(reader, spill))
            if not spans:
                raise RejectItem(Reason.DECODE_ERROR, reader.damage or "no frame could be decoded")
            if reader.num_source_frames == 1:
                raise RejectItem(Reason.STILL_PICTURE, "the video has one frame", got="1 frame", wanted="2 or more")
            stop_s = spans[-1].shot.stop_s(reader.fps)
            video = _video(inputs, reader, duration_s=stop_s)
            for span in spans:
                yield self._outcome(span, video, inputs.source, reader, spill)
            if reader.damage:
                detail = f"{reader.damage}; the {stop_s:.3f} s before that were used"
                yield _rejected(inputs.source, Reason.DECODE_ERROR, detail, start_s=stop_s)

    def _spans(self, reader: FrameReader, spill: IO[bytes]) -> Iterator[_Span]:
        """Decode once; encode each span while it runs, and forget the encoding of one that stays too short."""
        # By way of text, since 2.2 s as a float are a little more, and would be 56 frames at 25 fps.
        min_frames = math.ceil(Fraction(str(self.settings.min_s)) * reader.fps)
        max_frames = math.floor(Fraction(str(self.settings.max_s)) * reader.fps)
        shot: _Shot | None = None
        running: _Encoding | None = None
        for frame, starts_shot in _with_shot_starts(reader, self._shots):
            if running and (starts_shot or running.num_frames == max_frames):
                yield running.finish(min_frames, spill)
                running = None
            if starts_shot or shot is None:
                start = shot.stop if shot else 0
                shot = _Shot(index=shot.index + 1 if shot else 0, start=start, stop=start)
            running = running or _Encoding(shot, reader, self.settings.clip, self._scorer)
            running.add(frame)
            shot.stop += 1
        if running:
            yield running.finish(min_frames, spill)

    def _outcome(
        self, span: _Span, video: Video, source: Source, reader: FrameReader, spill: IO[bytes]
    ) -> Result | Rejected:
        start_s, stop_s = float(span.start / reader.fps), float(span.stop / reader.fps)
        id_ = clip_id(video.id, start_s, stop_s)
        if span.encoded is None:
            return _rejected(
                source,
                Reason.TOO_SHORT,
                f"this is all of shot {span.shot.index} that no clip covers",
                id_=id_,
                got=f"{stop_s - start_s:.3f} s",
                wanted=f"at least {self.settings.min_s:g} s",
                start_s=start_s,
                stop_s=stop_s,
            )
        spill.seek(span.encoded.offset)
        data = spill.read(span.encoded.num_bytes)
        clip = Clip(
            id=id_,
            video=video,
            shot=span.shot.index,
            shot_start_s=float(span.shot.start / reader.fps),
            shot_stop_s=span.shot.stop_s(reader.fps),
            start_s=start_s,
            stop_s=stop_s,
            num_frames=span.stop - span.start,
            fps=reader.fps,
            width_px=reader.width_px,
            height_px=reader.height_px,
            sha256=hashlib.sha256(data).hexdigest(),
            phash=span.encoded.phash,
        )
        scores = tuple(
            Score(name=name, value=value, model=self._scorer_name) for name, value in span.encoded.scores.items()
        )
        return Result(item_id=source.id, record=Record(id=id_, clip=clip, scores=scores), members={"mp4": data})


@dataclass(slots=True)
class _Shot:
    """Frames of one shot, half-open; `stop` grows while the shot runs."""

    index: int
    start: int
    stop: int

    def stop_s(self, fps: Fraction) -> float:
        return float(self.stop / fps)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Encoded:
    """A finished clip in the spill file, and what was measured on its frames."""

    offset: int
    num_bytes: int
    phash: str
    scores: Mapping[ScoreName, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    """Frames of one shot that became a clip or, where `encoded` is None, were too few for one."""

    shot: _Shot
    start: int
    stop: int
    encoded: _Encoded | None


class _Encoding:
    """The span that is running: it may still turn out too short."""

    def __init__(self, shot: _Shot, reader: FrameReader, settings: ClipSettings, scorer: Scorer | None) -> None:
        size = {"width_px": reader.width_px, "height_px": reader.height_px}
        self._shot, self._start, self._scorer = shot, shot.stop, scorer
        self._writer = ClipWriter(**size, fps=reader.fps, settings=settings)
        self._hashed = _Samples(**size, fps=reader.fps, sample_fps=HASH_SAMPLE_FPS, short_side_px=_HASH_SHORT_SIDE_PX)
        self._scored: _Samples | None = None
        if scorer:
            self._scored = _Samples(
                **size, fps=reader.fps, sample_fps=scorer.sample_fps, short_side_px=scorer.max_short_side_px
            )

    @property
    def num_frames(self) -> int:
        return self._writer.num_frames

    def add(self, frame: av.VideoFrame) -> None:
        for samples in (self._hashed, self._scored):
            if samples:
                samples.add(frame, self.num_frames)
        self._writer.write(frame)

    def finish(self, min_frames: int, spill: IO[bytes]) -> _Span:
        start, stop = self._start, self._start + self.num_frames
        if self.num_frames < min_frames:
            self._writer.discard()
            return _Span(shot=self._shot, start=start, stop=stop, encoded=None)
        data = self._writer.finish()
        try:
            offset = spill.seek(0, 2)
            spill.write(data)
        except OSError as error:
            raise StorageError(
                f"cannot spill clips to {tempfile.gettempdir()}: {error.strerror}; free space there or set TMPDIR"
            ) from error
        hashed = self._hashed.frames()
        chosen = np.linspace(0, len(hashed) - 1, _NUM_HASHED_FRAMES).round().astype(int)
        scores = (
            self._scorer.score(self._scored.frames(), fps=self._scored.fps) if self._scorer and self._scored else {}
        )
        encoded = _Encoded(offset=offset, num_bytes=len(data), phash=phash_frames(hashed[chosen]), scores=scores)
        return _Span(shot=self._shot, start=start, stop=stop, encoded=encoded)


class _Samples:
    """Small copies of every n-th frame of a span."""

    def __init__(self, *, width_px: int, height_px: int, fps: Fraction, sample_fps: float, short_side_px: int) -> None:
        self._stride = max(1, round(float(fps) / sample_fps))
        self.fps = float(fps / self._stride)
        self._thumbnails = Thumbnails(*scaled_size(width_px, height_px, short_side_px))
        self._images: list[Image] = []

    def add(self, frame: av.VideoFrame, index: int) -> None:
        if index % self._stride == 0:
            self._images.append(self._thumbnails.of(frame))

    def frames(self) -> Frames:
        return np.stack(self._images)


def _with_shot_starts(reader: FrameReader, detector: ShotDetector) -> Iterator[tuple[av.VideoFrame, bool]]:
    """Each frame with whether a shot starts there. Only the frames by which the detector lags are held."""
    thumbnails = Thumbnails(*detector.frame_size(reader.width_px, reader.height_px), is_bgr=True, is_smooth=False)
    lagging: deque[av.VideoFrame] = deque()

    def small() -> Iterator[Image]:
        for frame in reader:
            lagging.append(frame)
            yield thumbnails.of(frame)

    for starts_shot in detector.shot_starts(small(), reader.fps):
        yield lagging.popleft(), starts_shot


def _video(inputs: CutInputs, reader: FrameReader, *, duration_s: float) -> Video:
    source, info = inputs.source, inputs.info
    return Video(
        id=source.id,
        uri=source.uri,
        size_bytes=inputs.size_bytes,
        width_px=info.geometry.width_px,
        height_px=info.geometry.height_px,
        fps=info.average_fps,
        num_frames=reader.num_source_frames,
        duration_s=duration_s,
        codec=info.codec,
        content_hash=inputs.content_hash,
        licence=source.licence,
        attribution=source.attribution,
        caption=source.caption,
    )


def _rejected(
    source: Source,
    reason: Reason,
    detail: str,
    *,
    id_: str | None = None,
    got: str = "",
    wanted: str = "",
    start_s: float | None = None,
    stop_s: float | None = None,
) -> Rejected:
    reject = Reject(
        id=id_ or source.id,
        stage=Cut.name,
        reason=reason,
        detail=detail,
        got=got,
        wanted=wanted,
        video_id=source.id,
        uri=source.uri,
        start_s=start_s,
        stop_s=stop_s,
    )
    return Rejected(item_id=source.id, reject=reject)
