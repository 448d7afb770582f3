"""`python -m benchmark score`: measures results case by case, and only what is missing or changed."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from benchmark.opening import add_bench_options, bench_of

if TYPE_CHECKING:
    from benchmark.metrics.networks import Networks
    from benchmark.metrics.settings import ScoreSettings


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `score`."""
    add_bench_options(parser)
    parser.add_argument("--results", metavar="DIR", required=True, help="a folder that `python -m benchmark run` wrote")
    parser.add_argument(
        "--protocol", choices=("clean", "paper"), help="clean (default), or the paper's own definitions"
    )
    parser.add_argument("--dilate", metavar="PX,...", help="radii by which holes grow before measuring (default: 0)")
    parser.add_argument("--weights", metavar="URI", help="what `vpdata models fetch` filled (default: $VPDATA_WEIGHTS)")
    parser.add_argument("--config", metavar="YAML", help="other networks: `benchmark/metrics/settings.py` has the keys")
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], dest="overrides", help="one setting")


def main(args: argparse.Namespace) -> int:
    """Score, and print what was measured and what was not."""
    import logging

    from benchmark.metrics.paper_setting import unlike_published
    from benchmark.metrics.scorer import TABLES, Scorer
    from benchmark.results import open_results

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings, networks = opened(args)
    bench = bench_of(args)
    scorer = Scorer(bench, open_results(args.results), settings, networks)
    if settings.protocol == "paper":
        print("protocol paper: VideoPainter's published definitions, their one-sided mask included, for its tables")
        if unlike := unlike_published(bench):
            print(f"warning: {unlike}")
    for metric, why in networks.missing.items():
        print(f"n/a: {metric}: {why}")
    tally = scorer.score()
    print(f"{tally.num_scored} results measured, {tally.num_kept} as measured before")
    if tally.num_failed:
        print(f"{tally.num_failed} have no usable frames: their rows say why")
    print(f"{args.results}/{TABLES[settings.protocol]}")
    return 0


def opened(args: argparse.Namespace) -> tuple[ScoreSettings, Networks]:
    """What parsed options say is measured, and the networks of it that are here."""
    import os

    from benchmark.metrics.networks import open_networks
    from vpdata.models.weights import WEIGHTS_VARIABLE

    if args.weights:
        os.environ[WEIGHTS_VARIABLE] = args.weights
    settings = _settings(args)
    return settings, open_networks(settings)


def _settings(args: argparse.Namespace) -> ScoreSettings:
    from benchmark.metrics.settings import ScoreSettings
    from vpdata.config import fill, read_yaml, with_overrides

    given = [f"protocol={args.protocol}"] if args.protocol else []
    given += [f"dilate_px=[{args.dilate}]"] if args.dilate else []
    return fill(ScoreSettings, with_overrides(read_yaml(args.config) if args.config else {}, [*args.overrides, *given]))
