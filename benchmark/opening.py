"""The one benchmark that a command line names, in any layout."""

from __future__ import annotations

import argparse

from benchmark.bench import Bench, open_bench
from vpdata.errors import ConfigError


def add_bench_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which benchmark; exactly one of them is needed."""
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--bench", metavar="DIR", help="a folder that `python -m benchmark make` wrote")
    group.add_argument("--davis", metavar="DIR", help="DAVIS in its published layout, or VPBench's folder data/davis")
    group.add_argument("--published", metavar="DIR", help="VPBench as it was published: its folder data/")
    parser.add_argument(
        "--davis-masks",
        choices=("moving", "objects", "published"),
        help="moving: random ones (default); objects: DAVIS's annotations; published: those of data/davis, as they are",
    )
    parser.add_argument("--davis-seed", metavar="N", type=int, help="of the moving masks (default: 0)")


def bench_of(args: argparse.Namespace) -> Bench:
    """The benchmark that parsed options name. ConfigError or RunError where it cannot be opened.

    ConfigError too for an option that would have no effect on it.
    """
    _refuse_idle(args)
    if args.davis_masks == "published":
        from benchmark.davis_published import open_published_davis

        return open_published_davis(args.davis)
    if args.davis:
        from benchmark.davis import open_davis

        return open_davis(args.davis, seed=args.davis_seed or 0, masks=args.davis_masks or "moving")
    if args.published:
        from benchmark.published import open_published

        return open_published(args.published)
    return open_bench(args.bench)


def _refuse_idle(args: argparse.Namespace) -> None:
    if not args.davis and (args.davis_masks is not None or args.davis_seed is not None):
        raise ConfigError("got --davis-masks or --davis-seed without --davis, the only benchmark that they are of")
    if args.davis_masks in ("objects", "published") and args.davis_seed is not None:
        raise ConfigError(f"got --davis-seed with --davis-masks {args.davis_masks}, wanted it with moving masks alone")
