"""`python -m benchmark make`: the benchmark of a run, and the split that holds it out of training."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmark.split.edits import WriteWords
    from benchmark.split.settings import BenchSettings
    from vpdata.dataset.run import Run


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `make`."""
    parser.add_argument("--run", metavar="RUN", required=True, help="a finished run")
    parser.add_argument("--output", metavar="DIR", help="a new folder for the benchmark (default: RUN/vpbench)")
    parser.add_argument("--config", metavar="YAML", help="such as configs/vpbench.yaml")
    parser.add_argument("--input", metavar="URI", help="what the run was built from, for long cases: as in its build")
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], dest="overrides", help="one setting")


def main(args: argparse.Namespace) -> int:
    """Make it, and print what was made."""
    import logging

    from benchmark.split.making import Maker, make_bench
    from benchmark.split.settings import BenchSettings
    from benchmark.split.shots import ShotCutter
    from vpdata.config import fill, read_yaml, with_overrides
    from vpdata.dataset.run import Run
    from vpdata.errors import ConfigError
    from vpdata.storage import Folder

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings = fill(BenchSettings, with_overrides(read_yaml(args.config) if args.config else {}, args.overrides))
    run = Run(Folder(args.run))
    if settings.num_long and not args.input:
        raise ConfigError(
            "long cases are cut again from the sources: give what the run was built from as --input, or "
            "--set num_long=0 --set num_long_edits=0"
        )
    cutter = ShotCutter(run.config(), args.input) if settings.num_long else None
    output = Folder(args.output or f"{args.run.rstrip('/')}/{settings.name}")
    maker = Maker(run, settings, output, cutter=cutter, write_words=_writer_of_words(run, settings))
    facts = make_bench(maker)
    for warning in facts["warnings"]:
        print(f"warning: {warning}")
    for lost in facts["unusable"]:
        print(f"not used: {lost['id']}: {lost['why']}: {lost['detail']}")
    held_out = facts["held_out"]
    print(f"{output.uri}: {', '.join(f'{num} {subset}' for subset, num in facts['sizes'].items())}")
    print(
        f"{args.run}/splits/{settings.name}.parquet holds out {held_out['num_videos']} videos with "
        f"{held_out['num_clips']} clips, and {held_out['num_look_alikes']} look-alikes; {held_out['num_left']} clips "
        "are left to train on"
    )
    return 0


def _writer_of_words(run: Run, settings: BenchSettings) -> WriteWords:
    """By the captioner of the settings, or else of the run; by templates where that follows no instruction."""
    from functools import partial

    from benchmark.split.asking import asked_words
    from benchmark.split.operations import template_words
    from vpdata import models
    from vpdata.config import ModelChoice, fill

    choice = settings.captioner
    if choice is None:
        of_run = run.config()["config"].get("caption", {}).get("captioner", {"name": "embedded"})
        choice = fill(ModelChoice, of_run, where="run.yaml: config.caption.captioner")
    if choice.name == "embedded":
        return partial(template_words, seed=settings.seed)
    return partial(asked_words, models.maker("captioner", choice)())
