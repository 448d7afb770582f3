"""`python -m benchmark leaderboard add|show`: adds a folder of results to a leaderboard, and shows it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
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

    from benchmark.report.board import measured_board, merged, read_board, refuse_unlike, setting_of, write_board
    from benchmark.results import open_results
    from vpdata.storage import Folder

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    bench = bench_of(args)
    path = Path(args.board or f"leaderboards/{bench.name}.json")
    old = read_board(path) if path.exists() else None
    settings, networks = scoring.opened(args)
    if old is not None:
        # Before what takes hours, and again with what is there after it.
        refuse_unlike(old, setting_of(bench, settings, networks))
    with _alone(path):
        pass  # a disk that cannot be written to or locked is found before as well
    board = measured_board(bench, open_results(args.results), settings, networks)
    with _alone(path):
        if path.exists():
            board = merged(read_board(path), board, replaces=args.replace)
        write_board(path, board)
        Folder(path.parent).write(f"{path.stem}.html", _page(board))
    for metric, why in board.facts.missing.items():
        print(f"n/a: {metric}: {why}")
    print(f"{path} and {path.with_suffix('.html')}: {', '.join(entry.method.name for entry in board.entries)}")
    return 0


@contextmanager
def _alone(board: Path) -> Iterator[None]:
    """Keep others from adding to a leaderboard meanwhile: of two who read it at once, one would be lost."""
    from filelock import FileLock

    from vpdata.errors import StorageError

    held = FileLock(board.with_name(f".{board.name}.lock"))
    try:
        board.parent.mkdir(parents=True, exist_ok=True)
        held.acquire()
    except (OSError, NotImplementedError) as error:
        raise StorageError(f"cannot write to {board.parent}, or lock a file there: {error}") from error
    try:
        yield
    finally:
        held.release()


def _show(args: argparse.Namespace) -> int:
    from benchmark.report.board import read_board
    from benchmark.report.markdown import markdown

    board = read_board(Path(args.board))
    print(markdown(board.all_facts, board.tables()), end="")
    return 0


def _page(board: Board) -> bytes:
    from benchmark.report.writing import Shown, bench_page

    return bench_page(Shown(facts=board.all_facts, tables=board.tables(), num_cases=board.num_cases))
