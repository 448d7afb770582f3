"""What the engine itself costs: one-clip videos through five stages that do nothing, and the pack.

    python -m benchmark.perf.engine [--videos 20000] [--engine local] [--folder FOLDER]

Prints one line of the table in `README.md`. The CPU column leaves out what Ray runs.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from vpdata.engine import EngineSettings, build_run
from vpdata.models.ports import ModelCard
from vpdata.records import Clip, Record, Source, Video, clip_id, video_id
from vpdata.stages.base import Resources, Result
from vpdata.stages.rules import FilterSettings

_CLIPS_PER_SHARD = 400


@dataclass(frozen=True, slots=True)
class Listed:
    """Stands for `vpdata.sources.Input`: a list of videos that need not exist."""

    num_videos: int

    def sources(self) -> list[Source]:
        uris = [f"v{number:07d}.mp4" for number in range(self.num_videos)]
        return [Source(id=video_id(uri), uri=uri) for uri in uris]

    @contextmanager
    def local_file(self, source: Source) -> Iterator[Path]:
        yield Path(source.uri)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    item: Any

    @property
    def item_id(self) -> str:
        return self.item.id

    @property
    def num_bytes(self) -> int:
        return 0


@dataclass
class Nothing:
    """A stage that hands its record on."""

    name: str
    needs_media: bool = True
    resources: Resources = field(default_factory=Resources)

    @property
    def identity(self) -> Mapping[str, Any]:
        return {}

    @property
    def models(self) -> tuple[ModelCard, ...]:
        return ()

    def setup(self) -> None:
        pass

    def prepare(self, item: Any, media: Any) -> Inputs:
        return Inputs(item=item)

    def process_many(self, inputs: Iterator[Inputs]) -> Iterator[Result]:
        for one in inputs:
            yield Result(item_id=one.item_id, record=replace(one.item, tracks=(), captions=()))


class CutNothing(Nothing):
    """Makes one clip of 64 bytes a video."""

    def process_many(self, inputs: Iterator[Inputs]) -> Iterator[Result]:
        for one in inputs:
            mp4 = one.item_id.encode() * 4
            yield Result(item_id=one.item_id, record=_record(one.item, mp4), members={"mp4": mp4})


def _record(source: Source, mp4: bytes) -> Record:
    digest = hashlib.sha256(mp4).hexdigest()
    video = Video(
        id=source.id,
        uri=source.uri,
        size_bytes=64,
        width_px=1280,
        height_px=720,
        fps=Fraction(25),
        num_frames=250,
        duration_s=10.0,
        codec="h264",
        content_hash=digest,
    )
    clip = Clip(
        id=clip_id(source.id, 0.0, 10.0),
        video=video,
        shot=0,
        shot_start_s=0.0,
        shot_stop_s=10.0,
        start_s=0.0,
        stop_s=10.0,
        num_frames=250,
        fps=Fraction(25),
        width_px=1280,
        height_px=720,
        sha256=digest,
        # 8 frames, as `cut` hashes them.
        phash=hashlib.sha512(mp4).hexdigest(),
    )
    return Record(id=clip.id, clip=clip)


def stages() -> list[Nothing]:
    """The five of a build."""
    names = ("cut", "detect", "track", "caption", "filter")
    return [(CutNothing if name == "cut" else Nothing)(name, needs_media=name != "filter") for name in names]


class PeakMemory:
    """Samples the resident memory of the driver and of its workers while it is entered."""

    def __init__(self, run: Path) -> None:
        self.driver_mb = 0.0
        self.worker_mb = 0.0
        """Of the largest worker of a stage or of the pack."""
        self.run_wide_mb = 0.0
        """Of the one process that looks at all clips."""
        self._run = run
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stop.wait(0.5):
            self.driver_mb = max(self.driver_mb, _resident_mb(os.getpid()))
            largest_mb = max(map(_resident_mb, _descendants(os.getpid())), default=0.0)
            if self._is_run_wide():
                self.run_wide_mb = max(self.run_wide_mb, largest_mb)
            else:
                self.worker_mb = max(self.worker_mb, largest_mb)

    def _is_run_wide(self) -> bool:
        num_parts = [len(list((self._run / name).glob("part-*[0-9].parquet"))) for name in ("0-source", "5-filter")]
        return num_parts[0] == num_parts[1] > 0 and not (self._run / "pack-plan.parquet").exists()


def _resident_mb(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        is_ours = b"vpdata.engine.child" in Path(f"/proc/{pid}/cmdline").read_bytes() or pid == os.getpid()
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6 if is_ours else 0.0


def _descendants(pid: int) -> list[int]:
    try:
        below = [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except OSError:
        return []
    return below + [one for child in below for one in _descendants(child)]


def measure(num_videos: int, *, kind: Literal["ray", "local"], folder: Path) -> None:
    """Build twice and print one line of the table in `README.md`."""

    def build() -> float:
        started_at = time.monotonic()
        build_run(
            str(folder / "run"),
            source=Listed(num_videos),  # type: ignore[arg-type]  # offers what the engine asks of an Input
            stages=stages(),  # type: ignore[arg-type]
            filter=FilterSettings(early=False),
            # As many clips in a shard as real ones have; these are of 64 bytes.
            engine=EngineSettings(ray_address="local", shard_mb=_CLIPS_PER_SHARD * 64e-6),
            config={},
            kind=kind,
        )
        return time.monotonic() - started_at

    with PeakMemory(folder / "run") as memory:
        first_s = build()
    cpu = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    again_s = build()
    print(
        f"| {kind} | {num_videos} | {first_s:.1f} | {num_videos / first_s:.0f} | {cpu:.1f} | "
        f"{memory.driver_mb:.0f} | {memory.worker_mb:.0f} | {memory.run_wide_mb:.0f} | {again_s:.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=20_000)
    parser.add_argument("--engine", choices=("ray", "local"), default="local")
    parser.add_argument("--folder", type=Path, help="where to put the run; a temporary folder by default")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        measure(args.videos, kind=args.engine, folder=Path(folder))


if __name__ == "__main__":
    # The workers import the stages by their module's name, which `__main__` is not for them.
    from benchmark.perf import engine

    sys.stderr = open(os.devnull, "w")  # noqa: SIM115  one line per part
    engine.main()
