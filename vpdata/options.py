"""The options of a build, the same for `vpdata build` and for a Ray job. Imports nothing heavy."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vpdata.config import nearest
from vpdata.errors import ConfigError, Reason, VpdataError

JOB_CONFIG = "configs/vpdata.yaml"
"""Of a job that names none: the real build."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """One command line of a build, checked."""

    config_path: str
    overrides: tuple[str, ...]
    """`key=value`, applied over the file."""
    input_uri: str
    output_uri: str
    engine: Literal["ray", "local"]
    redo: str | None
    add_sources: bool
    retry_rejects: Reason | None
    dry_run: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeOptions:
    """One command line of `vpdata encode`, checked."""

    config_path: str
    overrides: tuple[str, ...]
    """`key=value`, applied over the file."""
    run_uri: str
    output_uri: str
    engine: Literal["ray", "local"]
    redo: bool


def add_build_options(parser: argparse.ArgumentParser, *, needed: str = "") -> None:
    """Add the options of a build to a parser; `needed` stands before the help of those that it cannot do without."""
    parser.add_argument("--config", metavar="YAML", help=f"{needed}settings of the run, such as configs/embedded.yaml")
    parser.add_argument(
        "--input", metavar="URI", help=f"{needed}folder, glob, CSV/Parquet list, http(s) or s3/gs uri of videos"
    )
    parser.add_argument(
        "--output", metavar="URI", help=f"{needed}folder of the run; an unfinished run goes on where it stopped"
    )
    add_overrides(parser)
    _add_engine(parser)
    redone = "first remove the results of this stage and of all after it: cut, detect, track, caption, filter or pack; "
    redone += "to go on with an interrupted redo leave it out"
    parser.add_argument("--redo", metavar="STAGE", help=redone)
    parser.add_argument("--add-sources", action="store_true", help="append the input's new videos to a run")
    parser.add_argument("--retry-rejects", metavar="REASON", help="run items again that were rejected for this reason")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the plan, what is missing for it, and what would be removed or added",
    )


def build_options(args: argparse.Namespace) -> BuildOptions:
    """Check parsed options; ConfigError says which is missing or wrong."""
    missing = [f"--{name}" for name in ("config", "input", "output") if not getattr(args, name)]
    if missing:
        raise ConfigError(f"got no {', '.join(missing)}; vpdata build needs --config, --input and --output")
    return BuildOptions(
        config_path=args.config,
        overrides=tuple(args.overrides),
        input_uri=args.input,
        output_uri=args.output,
        engine=args.engine,
        redo=args.redo,
        add_sources=args.add_sources,
        retry_rejects=None if args.retry_rejects is None else reason_of(args.retry_rejects, option="--retry-rejects"),
        dry_run=args.dry_run,
    )


def job_options(argv: Sequence[str], environ: Mapping[str, str], *, root: Path) -> BuildOptions:
    """The options of a Ray job: options first, then VPDATA_CONFIG, VPDATA_INPUT and VPDATA_OUTPUT."""
    parser = argparse.ArgumentParser(prog="build_vpdata.py", description="Build a data set on a Ray cluster.")
    add_build_options(parser)
    args = parser.parse_args(argv)
    args.config = args.config or environ.get("VPDATA_CONFIG") or str(root / JOB_CONFIG)
    args.input = args.input or environ.get("VPDATA_INPUT")
    args.output = args.output or environ.get("VPDATA_OUTPUT")
    missing = [name for name in ("input", "output") if not getattr(args, name)]
    if not Path(args.config).exists():
        missing.append("config")
    if missing:
        needs_weights = args.config == str(root / JOB_CONFIG) and not environ.get("VPDATA_WEIGHTS")
        # As it is named in a checkout: this may be the copy that Ray has uploaded.
        named = args.config.removeprefix(f"{root}/")
        raise ConfigError(_next_commands(missing, named, needs_weights=needs_weights))
    return build_options(args)


def add_encode_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of encoding to a parser."""
    parser.add_argument("--run", metavar="RUN", required=True, help="a finished run")
    parser.add_argument("--config", metavar="YAML", required=True, help="such as configs/train/encode.yaml")
    parser.add_argument(
        "--output", metavar="URI", required=True, help="folder of the latents; an unfinished one goes on"
    )
    add_overrides(parser)
    _add_engine(parser)
    parser.add_argument("--redo", choices=("encode",), help="remove what was encoded first; leave it out to go on")


def encode_options(args: argparse.Namespace) -> EncodeOptions:
    """The options of encoding, from what the parser gives."""
    return EncodeOptions(
        config_path=args.config,
        overrides=tuple(args.overrides),
        run_uri=args.run,
        output_uri=args.output,
        engine=args.engine,
        redo=args.redo is not None,
    )


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Add `--set`, which is kept as `overrides`."""
    text = "one setting over the file, as dotted.key=value; may be repeated"
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], dest="overrides", help=text)


def _add_engine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--engine", choices=("ray", "local"), default="ray", help="ray starts a local one if none runs")


def reason_of(name: str, *, option: str) -> Reason:
    """The reason that an option names; ConfigError for none."""
    try:
        return Reason(name)
    except ValueError:
        known = [reason.value for reason in Reason]
        tail = nearest(name, known) or f"; known: {', '.join(known)}"
        raise ConfigError(f"{option}: unknown reason {name!r}{tail}") from None


def exit_code(main: Callable[[], int]) -> int:
    """Run a command: our own errors become one message and status 1, Ctrl-C status 130."""
    try:
        return main()
    except VpdataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; run the same command again, without --redo if it had one, to go on", file=sys.stderr)
        return 130


def _next_commands(missing: Sequence[str], config: str, *, needs_weights: bool) -> str:
    lines = [f"this job lacks: {', '.join(missing)}. Set what is missing and submit again:"]
    if "config" in missing:
        lines += [
            f"  there is no {config}; name one of configs/*.yaml:",
            "  export VPDATA_CONFIG=configs/vpdata.yaml       # configs/embedded.yaml needs no GPU and no weights",
        ]
        config = '"$VPDATA_CONFIG"'
    if needs_weights:
        lines += [
            f"  vpdata models fetch --config {config} --to s3://bucket/weights",
            "  export VPDATA_WEIGHTS=s3://bucket/weights    # or an absolute path that every node can read",
        ]
    lines += [
        "  export VPDATA_INPUT=s3://bucket/videos/      # or an absolute path that every node can read",
        "  export VPDATA_OUTPUT=s3://bucket/runs/mine   # or an absolute path that every node can write",
        "  ray job submit --working-dir . -- python pipelines/build_vpdata.py \\",
        f'    --config {config} --input "$VPDATA_INPUT" --output "$VPDATA_OUTPUT"',
    ]
    return "\n".join(lines)
