"""The videos of a benchmark that was not made of the run: cut, hashed and embedded as the run's own are."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmark.bench import SPLIT, Bench, Case, FolderMedia
from benchmark.published import PublishedMedia
from benchmark.running import fingerprint
from benchmark.split.settings import BenchSettings
from vpdata.build import BuildConfig
from vpdata.dataset.look_alikes import Looks
from vpdata.dataset.split import SplitFacts, SplitRow, read_rows_of_split
from vpdata.errors import ConfigError, RejectItem, RunError, StorageError
from vpdata.media.clips import ClipReader
from vpdata.media.phash import phash_frames
from vpdata.records import Record, Source
from vpdata.stages.base import Result
from vpdata.stages.cut import HASH_SAMPLE_FPS, Cut
from vpdata.stages.scoring import Scoring

_log = logging.getLogger(__name__)

Read = Callable[[Sequence[int]], NDArray[np.uint8]]
"""From rising frame numbers to uint8 [N, H, W, 3] RGB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignVideos:
    """What is known of the videos of a benchmark. All ids begin with its name, so that none is one of the run's."""

    facts: SplitFacts
    """For the split that holds them out of the run."""
    videos: Mapping[str, str | None]
    """Id to the SHA-256 of the file, None where no one file is the video."""
    looks: tuple[Looks, ...]


class Onlooker:
    """Looks at videos as a run's build does."""

    def __init__(self, config: BuildConfig | None, *, num_hashed_frames: int, embedder: str | None) -> None:
        """`config` is that of the run, None for one that was imported; `embedder`: what made the run's embeddings."""
        self._config, self._num_hashed_frames, self._embedder = config, num_hashed_frames, embedder

    def looks(self, name: str, read: Read, *, num_frames: int, fps: float, phash: str | None = None) -> Looks:
        """Of that many frames; RejectItem for an embedding without a direction, and errors of `read`."""
        phash = phash or self._phash(read, num_frames=num_frames, fps=fps)
        return Looks(id=name, phash=phash, embedding=self._embedding(read, num_frames=num_frames, fps=fps))

    def clips(self, path: Path, video_id: str) -> Iterator[Looks]:
        """Of the clips that the run would have cut from a video; none for a run that was imported."""
        if self._cut is None:
            return
        source = Source(id=video_id, uri=path.name)
        for outcome in self._cut.process_many(iter([self._cut.prepare(source, path)])):
            if isinstance(outcome, Result) and isinstance(outcome.record, Record):
                clip = outcome.record.clip
                read = ClipReader(outcome.members["mp4"]).read
                yield self.looks(clip.id, read, num_frames=clip.num_frames, fps=float(clip.fps), phash=clip.phash)

    def _phash(self, read: Read, *, num_frames: int, fps: float) -> str:
        # An import has all frames to choose from, `cut` has some.
        sampled = np.arange(0, num_frames, max(1, round(fps / HASH_SAMPLE_FPS)) if self._config else 1)
        chosen = sampled[np.linspace(0, len(sampled) - 1, self._num_hashed_frames).round().astype(int)]
        distinct, place = np.unique(chosen, return_inverse=True)
        return phash_frames(read(distinct.tolist())[place])

    def _embedding(self, read: Read, *, num_frames: int, fps: float) -> str | None:
        if self._scoring is None:
            return None
        (wanted,) = self._scoring.frames(num_frames, fps=fps)
        (frames,) = self._scoring.samples(dict(zip(wanted, read(wanted), strict=True)), [wanted])
        embedding = self._scoring.embedding(frames)
        if embedding.model != self._embedder:
            raise ConfigError(
                f"got the embedder {embedding.model}, wanted {self._embedder}, which the run's clips were embedded "
                "with: only embeddings of one model compare; give the run's own as --build-config"
            )
        return embedding.values

    @cached_property
    def _cut(self) -> Cut | None:
        if self._config is None:
            return None
        cut = Cut(replace(self._config.cut, scorer=None))
        cut.setup()
        return cut

    @cached_property
    def _scoring(self) -> Scoring | None:
        if self._config is None or self._config.detect.embedder is None or self._embedder is None:
            return None
        scoring = Scoring((), self._config.detect.embedder)
        scoring.setup()
        return scoring


def foreign_videos(bench: Bench, onlooker: Onlooker) -> ForeignVideos:
    """What can be known of them.

    Of all benchmarks the cases as they are; of the published VPBench also the whole videos, cut as the run's were; of a
    benchmark made of another run also what its own split says: all that was ever cut from its videos, and the hashes of
    their files. A case or a video that cannot be read is named by a warning; RunError where no case can. ConfigError
    where the split is not there.
    """
    facts, rows = _split_of(bench)
    videos = {row.id: row.content_hash for row in rows if row.kind == "video"}
    looks = [Looks(id=row.id, phash=row.phash) for row in rows if row.kind == "clip" and row.phash]
    if isinstance(bench.media, PublishedMedia):
        for path, video in {bench.media.video(case): case.video_id for case in bench.cases}.items():
            videos[video] = _sha256(path)
            looks += _readable(path.name, onlooker.clips(path, video))
    # Several masks, and an edit, may share a span.
    spans = {(case.clip_id, case.start_frame, case.num_frames): case for case in bench.cases}
    of_cases: list[Looks] = []
    for number, case in enumerate(spans.values()):
        videos.setdefault(case.video_id, None)
        of_cases += _readable(case.id, _case_looks(bench, case, f"{case.video_id}-case-{number}", onlooker))
    if not of_cases:
        raise RunError(
            f"{bench.name}: none of its {len(spans)} cases can be read, so that nothing would be held out for how it "
            "looks; see to its videos, which the warnings name, and hold it out again"
        )
    looks += of_cases
    return ForeignVideos(
        facts=replace(facts, name=f"{bench.name}-{fingerprint(bench)[:8]}"),
        videos={f"{bench.name}-{video}": content_hash for video, content_hash in videos.items()},
        looks=tuple(replace(one, id=f"{bench.name}-{one.id}") for one in looks),
    )


def _split_of(bench: Bench) -> tuple[SplitFacts, list[SplitRow]]:
    """What was written with a benchmark of a run; of others our own limits and no rows."""
    limits = BenchSettings()
    if not isinstance(bench.media, FolderMedia):
        frac, cosine = limits.look_alike_frac, limits.look_alike_cosine
        return SplitFacts(name=bench.name, seed=0, look_alike_frac=frac, look_alike_cosine=cosine), []
    folder = bench.media.folder
    if not folder.exists(SPLIT) or (read := read_rows_of_split(folder, SPLIT)) is None:
        raise ConfigError(
            f"{folder.uri} has no {SPLIT}, which says what its videos look like: make it again, or copy there as "
            f"{SPLIT} what lies in the run that it was made of as splits/{bench.name}.parquet"
        )
    return read


def _case_looks(bench: Bench, case: Case, name: str, onlooker: Onlooker) -> Iterator[Looks]:
    read = partial(bench.media.frames, case)
    yield onlooker.looks(name, read, num_frames=case.num_frames, fps=float(case.fps))


def _readable(name: str, looks: Iterator[Looks]) -> Iterator[Looks]:
    """Those before the first that cannot be had. A whole benchmark is not given up for one odd video."""
    try:
        yield from looks
    except (RunError, RejectItem, StorageError) as error:
        _log.warning("%s cannot be read, so that nothing is compared with it: %s", name, error)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
