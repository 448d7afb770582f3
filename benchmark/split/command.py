"""`python -m benchmark make`: the benchmark of a run, and the split that holds it out of training."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmark.split.edits import WriteWords
    from vpdata.config import ModelChoice


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `make`."""
    parser.add_argument("--run", metavar="RUN", required=True, help="a finished run")
    parser.add_argument("--output", metavar="DIR", help="a new folder for the benchmark (default: RUN/vpbench)")
    parser.add_argument("--config", metavar="YAML", help="such as configs/vpbench.yaml")
    parser.add_argument("--input", metavar="URI", help="what the run was built from, for long cases: as in its build")
    parser.add_argument(
        "--build-config",
        metavar="YAML",
        help="of the run's build, or a run.yaml that you trust (default: the run's, as far as it only reads)",
    )
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], dest="overrides", help="one setting")


def main(args: argparse.Namespace) -> int:
    """Make it, and print what was made."""
    import logging

    from benchmark.split.kept_config import build_config, refuse_reach
    from benchmark.split.making import Maker, make_bench
    from benchmark.split.settings import BenchSettings
    from benchmark.split.shots import ShotCutter
    from vpdata.config import ModelChoice, fill, read_yaml, with_overrides
    from vpdata.dataset.run import Run
    from vpdata.errors import ConfigError, RunError
    from vpdata.storage import Folder

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings = fill(BenchSettings, with_overrides(read_yaml(args.config) if args.config else {}, args.overrides))
    run = Run(Folder(args.run))
    if settings.num_long and not args.input:
        raise ConfigError(
            "long cases are cut again from the sources: give what the run was built from as --input, or "
            "--set num_long=0 --set num_long_edits=0"
        )
    build = build_config(run, args.build_config)
    asks_run = settings.captioner is None and settings.num_short_edits + settings.num_long_edits > 0
    if build and not args.build_config:
        refuse_reach(build, writes_words=asks_run, cuts_again=bool(settings.num_long))
    if settings.num_long and build is None:
        raise RunError(
            f"{args.run} was imported: it has no detector or tracker to follow long clips with; --set num_long=0 "
            "--set num_long_edits=0, or name some in a --build-config"
        )
    cutter = ShotCutter(build, args.input) if settings.num_long and build else None
    output = Folder(args.output or f"{args.run.rstrip('/')}/{settings.name}")
    captioner = settings.captioner or (build.caption.captioner if build and asks_run else ModelChoice(name="embedded"))
    maker = Maker(run, settings, output, cutter=cutter, write_words=_writer_of_words(captioner, seed=settings.seed))
    facts = make_bench(maker)
    for warning in facts["warnings"]:
        print(f"warning: {warning}")
    for lost in facts["unusable"]:
        print(f"not used: {lost['id']}: {lost['why']}: {lost['detail']}")
    print(f"{output.uri}: {', '.join(f'{num} {subset}' for subset, num in facts['sizes'].items())}")
    print(f"{args.run}/splits/{settings.name}.parquet: {held_out_text(facts['held_out'])}")
    return 0


def held_out_text(facts: Mapping[str, Any]) -> str:
    """One line on `HeldOutFacts`."""
    return (
        "{num_videos} videos with {num_clips} clips and {num_look_alikes} look-alikes are held out; {num_left} clips "
        "are left to train on"
    ).format_map(facts)


def _writer_of_words(choice: ModelChoice, *, seed: int) -> WriteWords:
    """By templates where the captioner is the embedded one, which follows no instruction."""
    from functools import partial

    from benchmark.split.asking import asked_words
    from benchmark.split.operations import template_words
    from vpdata import models

    if choice.name == "embedded":
        return partial(template_words, seed=seed)
    return partial(asked_words, models.maker("captioner", choice)())
