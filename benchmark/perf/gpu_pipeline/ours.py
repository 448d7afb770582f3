"""Our stages as the engine runs them: worker processes that share the GPU, each handed one part after another."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from queue import Empty, SimpleQueue

from benchmark.perf.gpu_pipeline.gauge import Gauge, Reading
from benchmark.perf.gpu_pipeline.workload import NUM_OBJECTS, TrueClip, write_parts
from vpdata.build import BuildConfig
from vpdata.dataset import layout, lease
from vpdata.dataset.run import Run
from vpdata.engine import EngineSettings
from vpdata.engine.intake import FromStage
from vpdata.engine.local import LocalCrew, LocalHand
from vpdata.engine.parts import StageJob
from vpdata.errors import Reason
from vpdata.stages.base import Stage
from vpdata.stages.caption import Caption
from vpdata.stages.detect import Detect
from vpdata.stages.track import Track
from vpdata.storage import Folder

PREVIOUS = {"detect": "cut", "track": "detect", "caption": "track"}
MAX_CLIPS_PER_PART = 64
"""A quarter of a real part: a stage fills its batches over the borders of clips, but not of parts."""


def measure(
    name: str, clips: Sequence[TrueClip], *, config: BuildConfig, num_workers: int, folder: Path, gpu: str | None
) -> Reading:
    """Run one stage on all clips after each worker has run it on one; starting and loading do not count.

    RuntimeError where a clip was not worked on to its end.
    """
    run = Run(Folder(folder / name))
    warm = {layout.part_name(worker): clips[:1] for worker in range(num_workers)}
    groups = _equal_groups(clips, num_workers=num_workers)
    timed = {layout.part_name(num_workers + number): group for number, group in enumerate(groups)}
    write_parts(run, warm | timed, stage=name, previous=PREVIOUS[name])
    with lease.hold(run.folder) as proof:
        engine = EngineSettings()
        job = StageJob(
            stage=_stage(name, config),
            intake=FromStage(run=run, previous=PREVIOUS[name], clips_per_part=engine.clips_per_part),
            folder=run.stage_folder(name),
            lease=proof,
            # The scores of random weights would drop clips by chance.
            rules=None,
            engine=engine,
        )
        hands = [LocalCrew().start(job) for _ in range(num_workers)]
        try:
            for started in [hand.ready() for hand in hands]:
                started.result()
            for done in [hand.run(part) for hand, part in zip(hands, warm, strict=True)]:
                done.result()
            with Gauge(gpu=gpu) as gauge:
                _share_out(list(timed), hands)
        finally:
            for hand in hands:
                hand.stop()
    _check(run, name, num_clips=num_workers + len(clips))
    return gauge.reading


def _equal_groups(clips: Sequence[TrueClip], *, num_workers: int) -> list[Sequence[TrueClip]]:
    """As many for each worker, so that none waits long for another at the end."""
    per_worker = -(-len(clips) // (num_workers * MAX_CLIPS_PER_PART))
    num_groups = min(len(clips), num_workers * per_worker)
    edges = [len(clips) * number // num_groups for number in range(num_groups + 1)]
    return [clips[start:stop] for start, stop in pairwise(edges)]


def _stage(name: str, config: BuildConfig) -> Stage:
    if name == "detect":
        return Detect(config.detect)
    return Track(config.track) if name == "track" else Caption(config.caption)


def _share_out(parts: Sequence[str], hands: Sequence[LocalHand]) -> None:
    """Hand each worker the next part as soon as it is idle."""
    waiting: SimpleQueue[str] = SimpleQueue()
    for part in parts:
        waiting.put(part)

    def feed(hand: LocalHand) -> None:
        while True:
            try:
                part = waiting.get_nowait()
            except Empty:
                return
            hand.run(part).result()

    with ThreadPoolExecutor(len(hands)) as pool:
        list(pool.map(feed, hands))


def _check(run: Run, name: str, *, num_clips: int) -> None:
    """Random weights detect nothing; every clip must have come to that end, to tracks, or to a caption per object."""
    records, rejects = list(run.records(name)), list(run.rejects(name))
    if name == "detect":
        num_done = sum(reject.reason is Reason.NO_DETECTIONS for reject in rejects)
    elif name == "track":
        num_done = sum(bool(record.tracks) for record in records)
    else:
        num_done = sum(len(record.captions or ()) == 1 + NUM_OBJECTS for record in records)
    if num_done != num_clips:
        reasons = sorted({f"{reject.reason}: {reject.detail}" for reject in rejects})
        raise RuntimeError(f"{name}: got {num_done} clips worked on to their end, wanted {num_clips}; {reasons}")
