"""`python -m benchmark leaderboard add|show`: adds a folder of results to a leaderboard, and shows it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark import scoring
from benchmark.opening import bench_of

if TYPE_CHECKING:
    from benchmark.report.board import Board


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add `add` and `show` with their options."""
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    add = actions.add_parser("add", help="measure results anew and put them on the leaderboard")
    scoring.add_options(add)
    add.add_argument("--board", metavar="JSON", help="(default: leaderboards/NAME.json, by the benchmark's name)")
    add.add_argument("--replace", action="store_true", help="drop older results of the same names")
    add.set_defaults(act=_add)
    show = actions.add_parser("show", help="print the leaderboard as Markdown")
    show.add_argument("--board", metavar="JSON", required=True)
    show.set_defaults(act=_show)


def main(args: argparse.Namespace) -> int:
    """Do the action."""
    return args.act(args)


def _add(args: argparse.Namespace) -> int:
    import logging

    from benchmark.report.board import measured_board, merged, read_board, write_board
    from benchmark.results import open_results
    from vpdata.storage import Folder

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    bench = bench_of(args)
    path = Path(args.board or f"leaderboards/{bench.name}.json")
    old = read_board(path) if path.exists() else None
    settings, networks = scoring.opened(args)
    board = measured_board(bench, open_results(args.results), settings, networks)
    if old is not None:
        board = merged(old, board, replaces=args.replace)
    write_board(path, board)
    Folder(path.parent).write(f"{path.stem}.html", _page(board))
    for metric, why in board.facts.missing.items():
        print(f"n/a: {metric}: {why}")
    print(f"{path} and {path.with_suffix('.html')}: {', '.join(entry.method.name for entry in board.entries)}")
    return 0


def _show(args: argparse.Namespace) -> int:
    from benchmark.report.board import read_board
    from benchmark.report.markdown import markdown

    board = read_board(Path(args.board))
    print(markdown(board.all_facts, board.tables()), end="")
    return 0


def _page(board: Board) -> bytes:
    from benchmark.report.writing import Shown, bench_page

    return bench_page(Shown(facts=board.all_facts, tables=board.tables(), num_cases=board.num_cases))
