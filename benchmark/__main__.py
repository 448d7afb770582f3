"""VPBench from the command line: make it, run methods on it, score them, report, ask people."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from vpdata.options import exit_code

COMMANDS = {
    "make": ("benchmark.split.command", "make the benchmark from a finished run, and the split that holds it out"),
    "hold-out": ("benchmark.split.hold_out", "hold a benchmark that was made of something else out of a run"),
    "run": ("benchmark.running", "run methods on the cases"),
    "score": ("benchmark.scoring", "measure the results"),
    "report": ("benchmark.report.command", "write the page, the Markdown and the LaTeX table"),
    "leaderboard": ("benchmark.report.leaderboard", "score a folder of results and add it to a leaderboard"),
    "ablation": ("benchmark.studies.ablation", "run the rows of the paper's ablations that the weights allow"),
    "study": ("benchmark.study.command", "ask people which result they prefer"),
}
"""Name to module, which has `add_options(parser)` and `main(args) -> int`, and to what it does."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status. Only the module of that command is imported."""
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="python -m benchmark", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (module_name, help_text) in COMMANDS.items():
        child = commands.add_parser(name, help=help_text, description=help_text)
        if argv[:1] == [name]:
            module = importlib.import_module(module_name)
            module.add_options(child)
            child.set_defaults(main=module.main)
    args = parser.parse_args(argv)
    return exit_code(lambda: args.main(args))


if __name__ == "__main__":
    sys.exit(main())
