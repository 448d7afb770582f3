"""`python -m benchmark report`: `report.html`, `report.md` and `report.tex` of a folder of results."""

from __future__ import annotations

import argparse

from benchmark.opening import add_bench_options, bench_of


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `report`."""
    add_bench_options(parser)
    parser.add_argument("--results", metavar="DIR", required=True, help="a folder that `score` has scored")
    parser.add_argument("--output", metavar="DIR", help="folder of the report (default: the results')")
    parser.add_argument("--protocol", choices=("clean", "paper"), default="clean", help="of the scores that are shown")
    parser.add_argument("--reference", metavar="METHOD", help="whom others differ from (default: the first usable)")
    parser.add_argument(
        "--average",
        choices=("pixels", "cases"),
        default="pixels",
        help="pixels: a case weighs by what was measured in it; cases: all alike (default: pixels)",
    )
    parser.add_argument("--side", metavar="PX", type=int, default=240, help="longest short side of a player's video")
    parser.add_argument("--latex-intervals", action="store_true", help="intervals in report.tex too")
    parser.add_argument("--no-videos", action="store_true", help="tables and numbers alone, in seconds")


def main(args: argparse.Namespace) -> int:
    """Write the report, and print where it is and what is not in it."""
    import logging

    from benchmark.report.writing import ReportSettings, write_report
    from benchmark.results import open_results
    from vpdata.storage import Folder

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings = ReportSettings(
        protocol=args.protocol,
        reference=args.reference,
        average=args.average,
        side_px=args.side,
        has_videos=not args.no_videos,
        has_latex_intervals=args.latex_intervals,
    )
    output = Folder(args.output or args.results)
    facts = write_report(bench_of(args), open_results(args.results), output, settings)
    for metric, why in facts.missing.items():
        print(f"n/a: {metric}: {why}")
    for method, case, reason in facts.failed:
        print(f"failed: {method} on {case}: {reason}")
    for name in ("report.html", "report.md", "report.tex"):
        print(f"{output.uri}/{name}")
    return 0
