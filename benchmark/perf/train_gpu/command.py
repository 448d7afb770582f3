"""The command line: measures each row in a fresh process and prints the table."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

from benchmark.perf.train_gpu.backbones import PUBLISHED
from benchmark.perf.train_gpu.row import ROWS, measure
from benchmark.perf.train_gpu.table import TARGET_BACKBONE, Measured, line, table

_SCRATCH_GB = 8
"""Of latents, and of the checkpoint that a training ends with."""


def main() -> None:
    """Measure what was asked for and print it."""
    args = _arguments()
    if not args.tiny and not torch.cuda.is_available():
        raise SystemExit("torch finds no GPU, which backbones of full size need; --tiny runs the same code on the CPU")
    if args.tiny:
        # Threads that share a tiny sum wait for each other longer than it takes.
        os.environ["OMP_NUM_THREADS"] = "1"
    measured = []
    for row in args.rows or ROWS:
        measured.append(_measured(row, args))
        print(line(measured[-1]), file=sys.stderr, flush=True)
    print(table(measured))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="a tiny backbone on the CPU: proves that it runs")
    parser.add_argument("--backbone", choices=list(PUBLISHED), default=TARGET_BACKBONE)
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), help="default: all")
    parser.add_argument("--steps", type=int, help="measured steps of a row (default 20, tiny 3)")
    parser.add_argument("--folder", type=Path, help="where latents and checkpoints lie while it runs (default: TMPDIR)")
    return parser.parse_args()


def _measured(row: str, args: argparse.Namespace) -> Measured:
    """The row in a fresh process, which leaves nothing on the GPU."""
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        free_gb = shutil.disk_usage(folder).free / 1e9
        if not args.tiny and free_gb < _SCRATCH_GB:
            raise SystemExit(f"{folder}: got {free_gb:.0f} GB free, wanted {_SCRATCH_GB}; give --folder")
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            return pool.submit(
                measure,
                row,
                name=args.backbone,
                is_tiny=args.tiny,
                num_steps=args.steps or (3 if args.tiny else 20),
                folder=Path(folder),
            ).result()
