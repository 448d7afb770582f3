"""The command line: makes checkpoints and clips, measures each row of each stage in a fresh process, prints tables."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch

from benchmark.perf.gpu_pipeline import ours, scripts, table, workload
from benchmark.perf.gpu_pipeline.checkpoints import NETWORKS_OF, save_checkpoints
from benchmark.perf.gpu_pipeline.gauge import Reading, device_name, visible_gpu
from benchmark.perf.gpu_pipeline.settings import FULL_TOKENS, TINY_TOKENS, settings_on
from benchmark.perf.gpu_pipeline.table import ROWS, STAGES, Measured
from benchmark.perf.gpu_pipeline.workload import NUM_OBJECTS, TrueClip
from vpdata.build import BuildConfig
from vpdata.config import fill
from vpdata.engine.local import this_node
from vpdata.engine.plan import make_plan
from vpdata.models.huggingface.settings import GroundingDinoSettings, VlmSettings

Result = TypeVar("Result")

_NUM_CLIPS = {"ours": 32, "batched": 8, "plain": 2}
_NUM_TINY_CLIPS = dict.fromkeys(_NUM_CLIPS, 2)
"""A plain row takes 80 s a clip on an H200."""
_SCRATCH_GB = 24
"""Of checkpoints, most of it the captioner's."""


def main() -> None:
    """Measure what was asked for and print it."""
    args = _arguments()
    if not args.tiny and not torch.cuda.is_available():
        print(
            "torch finds no GPU here, which full-size models need: this is the tiny setting, --tiny, on the CPU. It "
            "shows that every row runs; its figures say nothing of the targets",
            file=sys.stderr,
            flush=True,
        )
        args.tiny = True
    gpu = None if args.tiny else visible_gpu(os.environ.get("CUDA_VISIBLE_DEVICES"))
    device = device_name(gpu)
    if args.results:
        _refuse_others(args.results, device=device, is_tiny=args.tiny)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        measured = []
        # A kept folder may see both sizes: a GPU may come later.
        weights = (args.folder or Path(folder)) / ("weights-tiny" if args.tiny else "weights")
        for one in _measure_all(Path(folder), weights, args, gpu, device):
            _say(table.line(one))
            measured.append(one)
            if args.results:
                _keep(args.results, one)
    print(table.tables(table.read_results(args.results) if args.results else measured))


def _say(text: str) -> None:
    """With the time, since most of a short call is loading."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--tiny", action="store_true", help="tiny models and clips on the CPU, as where no GPU is: proves that it runs"
    )
    parser.add_argument(
        "--clips", type=_num_clips, help="number of clips, or of each row: ours=32,batched=8,plain=2 (default; tiny 2)"
    )
    parser.add_argument("--rows", type=_names(ROWS), default=ROWS, help="comma-separated, of plain,batched,ours")
    parser.add_argument("--stages", type=_names(STAGES), default=STAGES, help="comma-separated")
    parser.add_argument(
        "--folder", type=Path, help="keeps the checkpoints for the next call (default: gone at the end, from TMPDIR)"
    )
    parser.add_argument("--results", type=Path, help="JSON file that keeps figures from one call to the next")
    return parser.parse_args()


def _names(known: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    def read(text: str) -> tuple[str, ...]:
        names = tuple(text.split(","))
        if unknown := set(names) - set(known):
            raise argparse.ArgumentTypeError(f"got {sorted(unknown)}, wanted some of {','.join(known)}")
        return names

    return read


def _num_clips(text: str) -> dict[str, int]:
    """Of each row that is named; one number is that of all."""
    try:
        given = dict.fromkeys(_NUM_CLIPS, int(text)) if text.isdigit() else _by_row(text)
    except ValueError:
        given = {}
    if not given or set(given) - set(ROWS) or min(given.values()) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted a number or such as ours=32,batched=8,plain=2")
    return given


def _by_row(text: str) -> dict[str, int]:
    pairs = (one.partition("=") for one in text.split(","))
    return {row: int(number) for row, _, number in pairs}


def _measure_all(
    folder: Path, weights: Path, args: argparse.Namespace, gpu: str | None, device: str
) -> Iterator[Measured]:
    free_gb = shutil.disk_usage(folder).free / 1e9
    if not args.tiny and not weights.exists() and free_gb < _SCRATCH_GB:
        raise SystemExit(f"{folder}: got {free_gb:.0f} GB free, wanted {_SCRATCH_GB} for checkpoints; give --folder")
    # Read when a process imports the libraries: nothing is to be downloaded.
    os.environ["HF_HUB_OFFLINE"] = "1"
    if args.tiny:
        # Threads that share a tiny sum wait for each other longer than it takes.
        os.environ["OMP_NUM_THREADS"] = "1"
    num_clips = {**(_NUM_TINY_CLIPS if args.tiny else _NUM_CLIPS), **(args.clips or {})}
    format = workload.TINY if args.tiny else workload.FULL
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        drawn = pool.submit(workload.make_clips, max(num_clips[row] for row in args.rows), format)
        _make_checkpoints(folder / "making", weights, args)
        _say(f"checkpoints are in {weights}")
        clips = drawn.result()
    _say(f"{len(clips)} clips are drawn")
    bench = _Bench(
        folder=folder,
        weights=weights,
        clips=clips,
        num_clips=num_clips,
        config=settings_on(weights, is_tiny=args.tiny),
        is_tiny=args.tiny,
        gpu=gpu,
        device=device,
    )
    for stage in args.stages:
        for row in args.rows:
            yield bench.measured(row, stage)


def _make_checkpoints(making: Path, weights: Path, args: argparse.Namespace) -> None:
    """Those of the stages that are measured, where they are not there yet."""
    making.mkdir()
    weights.mkdir(exist_ok=True)
    wanted = dict.fromkeys(name for stage in args.stages for name in NETWORKS_OF[stage])
    missing = tuple(name for name in wanted if not (weights / name).exists())
    if missing:
        _apart(save_checkpoints, making, missing, is_tiny=args.tiny, device="cpu" if args.tiny else "cuda")
    for made in making.iterdir():
        made.rename(weights / made.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bench:
    folder: Path
    weights: Path
    clips: Sequence[TrueClip]
    num_clips: Mapping[str, int]
    """How many of them each row gets."""
    config: BuildConfig
    is_tiny: bool
    gpu: str | None
    device: str

    def measured(self, row: str, stage: str) -> Measured:
        clips = self.clips[: self.num_clips[row]]
        num_workers = self._num_workers(stage) if row == "ours" else 1
        reading = self._ours(stage, clips, num_workers) if row == "ours" else self._script(row, stage, clips)
        return Measured(
            row=row,
            stage=stage,
            clips_per_s=len(clips) / reading.wall_s if reading else None,
            busy_frac=reading.busy_frac if reading else None,
            peak_gb=reading.peak_gb if reading else None,
            num_clips=len(clips),
            num_workers=num_workers,
            device=self.device,
            is_tiny=self.is_tiny,
        )

    def _ours(self, stage: str, clips: Sequence[TrueClip], num_workers: int) -> Reading:
        return ours.measure(
            stage,
            clips,
            config=self.config,
            num_workers=num_workers,
            folder=self.folder,
            gpu=self.gpu,
        )

    def _script(self, row: str, stage: str, clips: Sequence[TrueClip]) -> Reading | None:
        return _apart(
            scripts.measure,
            stage,
            row,
            clips,
            weights=self.weights,
            device="cpu" if self.is_tiny else "cuda",
            num_tokens=TINY_TOKENS if self.is_tiny else FULL_TOKENS,
            batch_size=_batch_size(self.config, stage),
            gpu=self.gpu,
        )

    def _num_workers(self, stage: str) -> int:
        """As many as the engine's own plan puts on one GPU of this machine."""
        if self.is_tiny:
            return 1
        resources = {name: getattr(self.config, name).resources for name in STAGES}
        return make_plan(resources, [replace(this_node(), gpus=1)], at_once=False).workers[stage]


def _batch_size(config: BuildConfig, stage: str) -> int:
    """What our model of the stage takes at once: key frames, objects or texts."""
    return {
        "detect": fill(GroundingDinoSettings, config.detect.detector.options).batch_size,
        "track": NUM_OBJECTS,
        "caption": fill(VlmSettings, config.caption.captioner.options).batch_size,
    }[stage]


def _apart(call: Callable[..., Result], *args: object, **options: object) -> Result:
    """The call in a fresh process, which leaves nothing on the GPU."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(call, *args, **options).result()


def _refuse_others(file: Path, *, device: str, is_tiny: bool) -> None:
    """Ratios are of one device and one size."""
    for one in table.read_results(file) if file.exists() else ():
        if (one.device, one.is_tiny) != (device, is_tiny):
            kind = "tiny models" if one.is_tiny else "full-size models"
            raise SystemExit(f"{file} holds figures of {kind} on {one.device}: give another file for this device")


def _keep(file: Path, new: Measured) -> None:
    """Beside what the file holds of other rows and stages, at once: a call may be cut off in the middle."""
    old = table.read_results(file) if file.exists() else []
    both = [*(one for one in old if (one.row, one.stage) != (new.row, new.stage)), new]
    file.write_text(json.dumps([asdict(one) for one in both], indent=1) + "\n", encoding="utf-8")
