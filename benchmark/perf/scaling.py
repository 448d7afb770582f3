"""What a build of any size takes: workers per stage, GPUs, days, storage and cost, from measured stage times.

python -m benchmark.perf.scaling                             # from the figures of one H200 below
python -m benchmark.perf.scaling --stage-times FILE          # from what gpu_pipeline --results FILE measured elsewhere
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vpdata.errors import ConfigError
from vpdata.options import exit_code

CLIP_S = 10.0
HOURS = (1.0, 866.7, 1_000_000.0)

H200_GPU_S = {"detect": 1.59, "track": 6.42, "caption": 2.95}
"""Seconds of one H200 per clip, as benchmark/perf/README.md has them."""
CPU_S = {"cut": 7.0, "filter": 0.01}
"""Seconds of one core per clip: decoding, encoding and scores 0.3 per second of video, TransNetV2 0.4."""
GPU_PER_WORKER = {"detect": 0.25, "track": 0.25, "caption": 0.5}
CPUS_PER_WORKER = {"cut": 1, "detect": 4, "track": 3, "caption": 2, "filter": 1}
"""As in configs/vpdata.yaml."""

MP4_BITS_PER_PIXEL = 0.205
MASK_BYTES_PER_OBJECT_FRAME = 1566
ROW_BYTES_PER_CLIP = 12_620 + 1_512
"""Of the demo's clips: crf 18, its one of 1280x720, its twelve of 480x272 for the texts and numbers, an index row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is to be built, by when, on what."""

    hours: float
    """Of video that enters the GPU stages."""
    days: float
    usd_per_gpu_hour: float
    gpus_per_node: int = 8
    used_frac: float = 0.8
    """Of the time that a worker has: starts, stragglers and repeated parts take the rest."""
    width_px: int = 1280
    height_px: int = 720
    fps: float = 24.0
    num_objects: int = 3

    @property
    def num_clips(self) -> float:
        return self.hours * 3600 / CLIP_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What that takes."""

    worked_gpu_hours: float
    """That the models compute."""
    paid_gpu_hours: float
    """Of all GPUs of the nodes for all the days: also while they wait, and those that whole nodes have too many."""
    usd: float
    """For the GPU-hours that are paid for."""
    nodes: int
    workers: Mapping[str, int]
    """By stage, over all nodes."""
    shards_tb: float
    """The data set: clips, masks, texts and index, in 10^12 bytes."""
    run_tb: float
    """Most that the run needs while it lasts: the clips of `cut` too."""

    @property
    def cpus(self) -> int:
        """Cores that all workers hold."""
        return sum(num * CPUS_PER_WORKER[stage] for stage, num in self.workers.items())


def plan(job: Job, gpu_s: Mapping[str, float]) -> Plan:
    """From seconds of a whole GPU per clip, by stage."""
    wall_s = job.days * 86400
    seconds = {**gpu_s, **CPU_S}
    workers = {
        stage: math.ceil(
            job.num_clips * seconds[stage] / GPU_PER_WORKER.get(stage, 1.0) / (wall_s * job.used_frac) - 1e-9
        )
        for stage in CPUS_PER_WORKER
    }
    nodes = math.ceil(sum(workers[stage] * share for stage, share in GPU_PER_WORKER.items()) / job.gpus_per_node)
    paid_gpu_hours = nodes * job.gpus_per_node * wall_s / 3600
    shards_tb = job.num_clips * bytes_per_clip(job) / 1e12
    mp4_tb = job.num_clips * mp4_bytes_per_clip(job) / 1e12
    return Plan(
        worked_gpu_hours=job.num_clips * sum(gpu_s.values()) / 3600,
        paid_gpu_hours=paid_gpu_hours,
        usd=paid_gpu_hours * job.usd_per_gpu_hour,
        nodes=nodes,
        workers=workers,
        shards_tb=shards_tb,
        run_tb=shards_tb + mp4_tb,
    )


def mp4_bytes_per_clip(job: Job) -> float:
    """Of the video alone."""
    return MP4_BITS_PER_PIXEL / 8 * job.width_px * job.height_px * job.fps * CLIP_S


def bytes_per_clip(job: Job) -> float:
    """Of all that a clip leaves in the shards and the index."""
    masks = MASK_BYTES_PER_OBJECT_FRAME * job.num_objects * job.fps * CLIP_S
    return mp4_bytes_per_clip(job) + masks + ROW_BYTES_PER_CLIP


def read_stage_times(file: Path) -> dict[str, float]:
    """Seconds of a whole GPU per clip, of row `ours`; ConfigError where a stage is missing or was only tiny.

    And where there is no such file, or it is none that gpu_pipeline wrote.
    """
    try:
        rows = [row for row in json.loads(file.read_text(encoding="utf-8")) if row["row"] == "ours"]
        is_tiny = any(row["is_tiny"] for row in rows)
        times = {row["stage"]: 1 / row["clips_per_s"] for row in rows if row["clips_per_s"]}
    except OSError as error:
        raise ConfigError(
            f"--stage-times {file}: {error.strerror}; python -m benchmark.perf.gpu_pipeline --results {file} writes it"
        ) from error
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"--stage-times {file}: got no file of gpu_pipeline --results: {error!r}") from error
    if is_tiny:
        raise ConfigError(f"{file}: got figures of tiny models, wanted those of full-size ones on a GPU")
    if missing := H200_GPU_S.keys() - times.keys():
        raise ConfigError(
            f"{file}: got no figures of {sorted(missing)}; run gpu_pipeline for them with --results {file}"
        )
    return times


def table(jobs: Sequence[Job], gpu_s: Mapping[str, float]) -> str:
    """One column per job, as Markdown."""
    plans = [plan(job, gpu_s) for job in jobs]
    rows = [
        ("clips of 10 s", [f"{job.num_clips:,.0f}" for job in jobs]),
        ("days", [f"{job.days:g}" for job in jobs]),
        *(
            (f"workers of {stage}, {_holds(stage)}", [f"{one.workers[stage]:,}" for one in plans])
            for stage in CPUS_PER_WORKER
        ),
        ("cores of all workers", [f"{one.cpus:,}" for one in plans]),
        (f"nodes of {jobs[0].gpus_per_node} GPUs", [f"{one.nodes:,}" for one in plans]),
        ("GPU-hours that the models work", [f"{one.worked_gpu_hours:,.1f}" for one in plans]),
        ("GPU-hours paid for: nodes x GPUs x hours", [f"{one.paid_gpu_hours:,.1f}" for one in plans]),
        ("data set, TB", [_tb(one.shards_tb) for one in plans]),
        ("run folder at its fullest, TB", [_tb(one.run_tb) for one in plans]),
        (f"GPU cost at {jobs[0].usd_per_gpu_hour:g} USD an hour", [f"{one.usd:,.0f} USD" for one in plans]),
    ]
    lines = ["| | " + " | ".join(f"{job.hours:,.10g} h" for job in jobs) + " |", "| --- |" + " ---: |" * len(jobs)]
    return "\n".join([*lines, *(f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows)])


def _holds(stage: str) -> str:
    gpu = f" and {GPU_PER_WORKER[stage]:g} GPU" if stage in GPU_PER_WORKER else ""
    return f"each {CPUS_PER_WORKER[stage]} CPU{gpu}"


def _tb(size_tb: float) -> str:
    return f"{size_tb:,.3f}" if size_tb < 10 else f"{size_tb:,.0f}"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage-times", type=Path, help="what gpu_pipeline wrote with --results")
    parser.add_argument("--usd-per-gpu-hour", type=float, default=3.0)
    parser.add_argument("--days", type=float, nargs=len(HOURS), default=(0.01, 2.0, 60.0), help="one for each column")
    args = parser.parse_args()
    gpu_s = read_stage_times(args.stage_times) if args.stage_times else H200_GPU_S
    jobs = [
        Job(hours=hours, days=days, usd_per_gpu_hour=args.usd_per_gpu_hour)
        for hours, days in zip(HOURS, args.days, strict=True)
    ]
    print(table(jobs, gpu_s))
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
