"""The `vpdata` command: one function per sub-command, each importing what it needs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

import vpdata
from vpdata.options import add_build_options, build_options, exit_code

Command = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    args = _parser().parse_args(argv)
    try:
        return exit_code(lambda: args.command(args))
    except BrokenPipeError:
        # The reader of our output went away; point stdout elsewhere so that Python's own flush stays quiet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vpdata", description=vpdata.__doc__)
    parser.add_argument("--version", action="version", version=f"vpdata {vpdata.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Command, help_text: str) -> argparse.ArgumentParser:
        child = commands.add_parser(name, help=help_text, description=help_text)
        child.set_defaults(command=command)
        return child

    build = add("build", _build, "build a data set from videos")
    add_build_options(build)
    inspect = add("inspect", _inspect, "print a clip's record and draw its masks")
    inspect.add_argument("path", metavar="SHARD_OR_RUN")
    inspect.add_argument("clip", metavar="CLIP", nargs="?", help="id of a clip; without it the clips are listed")
    inspect.add_argument("--sheet", metavar="JPG", help="where the contact sheet goes (default: CLIP.jpg)")
    stats = add("stats", _stats, "print what a run kept and dropped")
    stats.add_argument("run", metavar="RUN")
    stats.add_argument(
        "--what-if", metavar="RULE.BOUND=VALUE", action="append", default=[], help="such as motion.min=0.3"
    )
    check = add("check", _check, "verify every byte offset, mask, id, hash and caption")
    check.add_argument("run", metavar="RUN")
    report = add("report", _report, "write the report page again")
    report.add_argument("run", metavar="RUN")
    report.add_argument("--sample", metavar="N", type=int, help="one single file with N clips (at most 50)")
    clean = add("clean", _clean, "remove the clips that the shards already hold, after a successful check")
    clean.add_argument("run", metavar="RUN")
    export = add("export", _export, "write the data set in another layout")
    export.add_argument("run", metavar="RUN")
    export.add_argument("--format", choices=("videopainter", "hf"), required=True)
    export.add_argument("--output", metavar="FOLDER", required=True)
    imports = add("import", _import, "read a data set in the published VPData layout into a run")
    imports.add_argument("source", metavar="FOLDER")
    imports.add_argument("--format", choices=("videopainter",), required=True)
    imports.add_argument("--output", metavar="RUN", required=True)
    return parser


def _build(args: argparse.Namespace) -> int:
    from vpdata.build import load_config, run, stages_of

    options = build_options(args)
    config = load_config(options.config_path, options.overrides)
    return run(options, config, stages_of(config))


def _inspect(args: argparse.Namespace) -> int:
    import yaml

    from vpdata.codec import to_builtins
    from vpdata.dataset.reader import open_dataset
    from vpdata.report.sheet import write_sheet

    dataset = open_dataset(args.path)
    if args.clip is None:
        for sample in dataset:
            print(
                sample.id, f"{sample.record.clip.duration_s:.2f} s", *(track.label for track in sample.tracks), sep="  "
            )
        return 0
    sample = dataset.find(args.clip)
    record = to_builtins(sample.record)
    for track in record["tracks"]:
        # One entry per frame: the sheet shows them better.
        del track["masks"], track["area_frac"]
    print(yaml.safe_dump(record, sort_keys=False, allow_unicode=True, width=100), end="")
    sheet = args.sheet or f"{sample.id}.jpg"
    write_sheet(sample, sheet)
    print(f"contact sheet: {sheet}", file=sys.stderr)
    return 0


def _stats(args: argparse.Namespace) -> int:
    from vpdata.dataset.run import Run
    from vpdata.dataset.stats import collect
    from vpdata.storage import Folder

    run = Run(Folder(args.run))
    if args.what_if:
        from vpdata.report.what_if import what_if_text

        print(what_if_text(run, args.what_if))
    else:
        print(collect(run))
    return 0


def _check(args: argparse.Namespace) -> int:
    from vpdata.dataset.check import check
    from vpdata.dataset.run import Run
    from vpdata.storage import Folder

    problems = check(Run(Folder(args.run)))
    for problem in problems:
        print(problem)
    print(f"{args.run}: {len(problems)} problems" if problems else f"{args.run}: all is well")
    return 1 if problems else 0


def _report(args: argparse.Namespace) -> int:
    from vpdata.config import fill
    from vpdata.dataset.run import Run
    from vpdata.report import ReportSettings, write_report
    from vpdata.storage import Folder

    folder = Folder(args.run)
    settings = fill(ReportSettings, Run(folder).config()["config"].get("report", {}), where="report")
    print(write_report(folder, settings, single_file_sample=args.sample))
    return 0


def _clean(args: argparse.Namespace) -> int:
    from vpdata.dataset.clean import clean
    from vpdata.dataset.run import Run
    from vpdata.storage import Folder

    print(clean(Run(Folder(args.run))))
    return 0


def _export(args: argparse.Namespace) -> int:
    from vpdata.dataset.export import export
    from vpdata.dataset.run import Run
    from vpdata.storage import Folder

    print(export(Run(Folder(args.run)), args.output, format=args.format))
    return 0


def _import(args: argparse.Namespace) -> int:
    from vpdata.dataset.import_videopainter import import_videopainter
    from vpdata.dataset.reader import open_dataset

    run = import_videopainter(args.source, args.output)
    print(f"{len(open_dataset(run.folder.uri))} clips are in {run.folder.uri}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
