"""The one benchmark that a command line names, in any layout."""

from __future__ import annotations

import argparse

from benchmark.bench import Bench, open_bench


def add_bench_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which benchmark; exactly one of them is needed."""
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--bench", metavar="DIR", help="a folder that `python -m benchmark make` wrote")
    group.add_argument("--davis", metavar="DIR", help="DAVIS in its published layout, under moving random masks")
    group.add_argument("--published", metavar="DIR", help="VPBench as it was published: its folder data/")
    parser.add_argument("--davis-seed", metavar="N", type=int, default=0, help="of DAVIS's random masks")


def bench_of(args: argparse.Namespace) -> Bench:
    """The benchmark that parsed options name. ConfigError or RunError where it cannot be opened."""
    if args.davis:
        from benchmark.davis import open_davis

        return open_davis(args.davis, seed=args.davis_seed)
    if args.published:
        from benchmark.published import open_published

        return open_published(args.published)
    return open_bench(args.bench)
