"""The `vpdata` command: one function per sub-command, each importing what it needs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import vpdata
from vpdata.errors import ConfigError
from vpdata.extras import Extra, needs
from vpdata.inpaint.options import add_inpaint_options, inpaint_options
from vpdata.options import (
    add_build_options,
    add_encode_options,
    add_overrides,
    build_options,
    encode_options,
    exit_code,
    reason_of,
)

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

    def add(name: str, command: Command, help_text: str, *, extra: Extra | None = None) -> argparse.ArgumentParser:
        child = commands.add_parser(name, help=help_text, description=help_text)
        child.set_defaults(command=partial(_with_extra, extra, name, command) if extra else command)
        return child

    add_build_options(add("build", _build, "build a data set from videos"), needed="required: ")
    add_encode_options(add("encode", _encode, "encode a run's clips into latents to train on", extra="train"))
    _add_inspect(add("inspect", _inspect, "print a clip's record and draw its masks"))
    _add_stats(add("stats", _stats, "print what a run kept and dropped"))
    _add_check(add("check", _check, "verify every byte offset, mask, id, hash and caption"))
    _add_report(add("report", _report, "write the report page again"))
    cleans = "after a successful check remove clips that the shards hold; then only --redo cut makes anything again"
    add("clean", _clean, cleans).add_argument("run", metavar="RUN")
    _add_export(add("export", _export, "write the data set in another layout"))
    _add_import(add("import", _import, "read a data set in the published VPData layout into a run"))
    trains = "train on encoded latents, or go on training; exit status 75: stopped after saving"
    _add_train(add("train", _train, trains, extra="train"))
    paints = "paint a training's held-out clips at its newest checkpoint, beside the training"
    _add_sample(add("sample", _sample, paints, extra="train"))
    fills = "fill or change what is under a mask in a video of any length"
    add_inpaint_options(add("inpaint", _inpaint, fills, extra="train"))
    _add_app(add("app", _app, "inpaint on a local page", extra="app"))
    _add_models(add("models", _list_models, "list, fetch and check the models"))
    return parser


def _add_inspect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="SHARD_OR_RUN")
    parser.add_argument("clip", metavar="CLIP", nargs="?", help="id of a clip; without it the clips are listed")
    parser.add_argument("--sheet", metavar="JPG", help="where the contact sheet goes (default: CLIP.jpg)")


def _add_stats(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN")
    parser.add_argument(
        "--what-if",
        metavar="RULE.BOUND=VALUE",
        action="append",
        default=[],
        help="what other bounds would keep, such as motion.min=0.3; may be repeated",
    )
    parser.add_argument(
        "--rejects",
        metavar="REASON",
        nargs="?",
        const="",
        help="a line for each item that was dropped, for one reason or for all",
    )


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("--latents", metavar="DIR", help="also that nothing encoded there is in a split of the run")


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("--sample", metavar="N", type=int, help="one single file with N clips (at most 50)")


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("--format", choices=("videopainter", "hf", "files"), required=True)
    parser.add_argument("--output", metavar="FOLDER", required=True)
    _add_processes(parser)


def _add_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="FOLDER")
    parser.add_argument("--format", choices=("videopainter",), required=True)
    parser.add_argument("--output", metavar="RUN", required=True)
    _add_processes(parser)


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="YAML", required=True, help="such as configs/train/context_encoder.yaml")
    add_overrides(parser)
    parser.add_argument(
        "--launcher", choices=("env", "ray"), default="env", help="env: alone, or as torchrun or srun started it"
    )
    parser.add_argument(
        "--export-step", metavar="N", type=int, help="train nothing, but write what the checkpoint of step N holds"
    )
    parser.add_argument("--export-to", metavar="DIR", help="with --export-step: the folder to write")


def _add_sample(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="YAML", required=True, help="the training's")
    add_overrides(parser)
    parser.add_argument("--follow", action="store_true", help="wait for each next checkpoint, until the last")
    parser.add_argument("--num-clips", metavar="N", type=int, default=4, help="%(default)s")
    parser.add_argument("--num-steps", metavar="N", type=int, default=50, help="of the sampler (%(default)s)")
    parser.add_argument(
        "--guidance", metavar="SCALE", type=float, default=6.0, help="1: none, in half the time (%(default)s)"
    )


def _add_app(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="YAML", help="of `vpdata inpaint`; configs/app.yaml for a trial on a CPU")
    parser.add_argument("--weights", metavar="DIR", help="what `vpdata train` saved")
    add_overrides(parser)
    parser.add_argument("--host", default="127.0.0.1", help="another one lets other machines in, without a password")
    parser.add_argument("--port", metavar="N", type=int, default=7860)


def _with_extra(extra: Extra, name: str, command: Command, args: argparse.Namespace) -> int:
    with needs(extra, f"vpdata {name}"):
        return command(args)


def _add_processes(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--processes",
        type=int,
        default=min(8, os.cpu_count() or 1),
        metavar="N",
        help="side by side, 0.4 GB each; default: one per core, at most 8",
    )


def _add_models(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="list|fetch|check")
    where = os.environ.get("VPDATA_WEIGHTS")
    listing = commands.add_parser("list", help="every model, its licence, its size, and whether its weights are here")
    listing.add_argument("--weights", metavar="URI", default=where, help="where fetched weights are")
    listing.set_defaults(command=_list_models)
    fetch = commands.add_parser("fetch", help="download weights into a shared folder or bucket")
    fetch.add_argument(
        "names", metavar="NAME[@REVISION]", nargs="*", help="a hub id, or a name of `vpdata models list`"
    )
    fetch.add_argument("--config", metavar="YAML", help="fetch what this build needs")
    fetch.add_argument("--to", metavar="URI", default=where, help="where they go; VPDATA_WEIGHTS if not given")
    fetch.set_defaults(command=_fetch_models)
    check = commands.add_parser("check", help="load every model of a config and show it one clip")
    check.add_argument("--config", metavar="YAML", default="configs/vpdata.yaml", help="of a build (%(default)s)")
    add_overrides(check)
    check.add_argument("--all", action="store_true", help="the other models too, where their weights are here")
    check.set_defaults(command=_check_models)


def _build(args: argparse.Namespace) -> int:
    from vpdata.build import load_config, run, stages_of

    options = build_options(args)
    config = load_config(options.config_path, options.overrides)
    return run(options, config, stages_of(config))


def _encode(args: argparse.Namespace) -> int:
    from vpdata.encode import load_config, run

    options = encode_options(args)
    print(run(options, load_config(options.config_path, options.overrides)))
    return 0


def _inspect(args: argparse.Namespace) -> int:
    import yaml

    from vpdata.codec import to_builtins
    from vpdata.dataset.reader import open_dataset
    from vpdata.report.sheet import write_sheet

    if args.clip is None:
        return _list_clips(args.path)
    try:
        sample = open_dataset(args.path).find(args.clip)
    except KeyError as error:
        raise ConfigError(f"{error.args[0]}; `vpdata inspect {args.path}` lists them") from error
    record = to_builtins(sample.record)
    for track in record["tracks"]:
        # One entry per frame: the sheet shows them better.
        del track["masks"], track["area_frac"]
    print(yaml.safe_dump(record, sort_keys=False, allow_unicode=True, width=100), end="")
    sheet = args.sheet or f"{sample.id}.jpg"
    write_sheet(sample, sheet)
    print(f"contact sheet: {sheet}", file=sys.stderr)
    return 0


def _list_clips(path: str) -> int:
    """Print id, length and objects of every clip; no shard is read."""
    from vpdata.dataset import layout
    from vpdata.dataset.printable import printable
    from vpdata.dataset.reader import index_files
    from vpdata.dataset.run import read_table

    root, names = index_files(path)
    for name in names:
        table = read_table(root.child(layout.INDEX), name, columns=["id", "duration_s", "tracks.list.element.label"])
        for clip in table.to_pylist():
            labels = (printable(track["label"]) for track in clip["tracks"])
            print(clip["id"], f"{clip['duration_s']:.2f} s", *labels, sep="  ")
    return 0


def _stats(args: argparse.Namespace) -> int:
    from vpdata.dataset.run import Run
    from vpdata.dataset.stats import collect
    from vpdata.storage import Folder

    run = Run(Folder(args.run))
    if args.what_if and args.rejects is not None:
        raise ConfigError("got both --what-if and --rejects, wanted one of the two")
    if args.rejects is not None:
        from vpdata.dataset.reject_lines import reject_lines

        for line in reject_lines(run, reason_of(args.rejects, option="--rejects") if args.rejects else None):
            print(line)
    elif args.what_if:
        from vpdata.report.what_if import what_if_text

        print(what_if_text(run, args.what_if))
    else:
        print(collect(run))
    return 0


def _check(args: argparse.Namespace) -> int:
    from vpdata.dataset.check import check
    from vpdata.dataset.check_splits import check_latents
    from vpdata.dataset.run import Run
    from vpdata.storage import Folder

    run = Run(Folder(args.run))
    problems = [*check(run), *(check_latents(run, Folder(args.latents)) if args.latents else ())]
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
    name = write_report(folder, settings, single_file_sample=args.sample)
    print(f"{folder.uri}/{name}")
    return 0


def _clean(args: argparse.Namespace) -> int:
    from vpdata.dataset.clean import clean
    from vpdata.dataset.run import Run
    from vpdata.storage import Folder

    print(clean(Run(Folder(args.run))))
    return 0


def _export(args: argparse.Namespace) -> int:
    import logging

    from vpdata.dataset.export import export
    from vpdata.dataset.run import Run
    from vpdata.storage import Folder

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    print(export(Run(Folder(args.run)), args.output, format=args.format, processes=args.processes))
    return 0


def _import(args: argparse.Namespace) -> int:
    import logging

    from vpdata.dataset.import_videopainter import import_videopainter
    from vpdata.dataset.reader import open_dataset

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    run = import_videopainter(args.source, args.output, processes=args.processes)
    print(f"{len(open_dataset(run.folder.uri))} clips are in {run.folder.uri}")
    return 0


def _train(args: argparse.Namespace) -> int:
    import logging

    from vpdata.config import fill, read_yaml, with_overrides

    if (args.export_step is None) != (args.export_to is None):
        raise ConfigError("got one of --export-step and --export-to, wanted both or none")
    data = with_overrides(read_yaml(args.config), args.overrides)
    # Only now, since torch and diffusers take 10 s.
    from vpdata.train.export import export_step
    from vpdata.train.launch import launch
    from vpdata.train.settings import TrainSettings

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    settings = fill(TrainSettings, data)
    if args.export_step is not None:
        export_step(settings, args.export_step, Path(args.export_to))
        print(args.export_to)
        return 0
    outcome = launch(settings, launcher=args.launcher)
    print(f"{settings.output}: {outcome}")
    return outcome.exit_code


def _sample(args: argparse.Namespace) -> int:
    from vpdata.config import fill, read_yaml, with_overrides

    data = with_overrides(read_yaml(args.config), args.overrides)
    from vpdata.train.samples import SampleSettings, write_samples
    from vpdata.train.settings import TrainSettings

    settings = fill(TrainSettings, data)
    options = {"num_clips": args.num_clips, "num_steps": args.num_steps, "guidance": args.guidance}
    for folder in write_samples(settings, fill(SampleSettings, options), follow=args.follow):
        print(folder, flush=True)
    return 0


def _inpaint(args: argparse.Namespace) -> int:
    import logging

    from vpdata.inpaint.command import load_settings, run

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options = inpaint_options(args)
    print(run(options, load_settings(options)))
    return 0


def _app(args: argparse.Namespace) -> int:
    import logging

    from vpdata.app.command import load_settings, serve

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    app, inpaint = load_settings(args.config, weights=args.weights, overrides=args.overrides)
    serve(app, inpaint, host=args.host, port=args.port)
    return 0


def _list_models(args: argparse.Namespace) -> int:
    from vpdata.models.catalogue import list_text
    from vpdata.storage import Folder

    print(list_text(args.weights))
    if args.weights is None:
        print("set VPDATA_WEIGHTS, or give --weights, to see which of them are here", file=sys.stderr)
    elif not Folder(args.weights).names():
        print(f"nothing is in {args.weights}, or there is no such folder", file=sys.stderr)
    return 0


def _fetch_models(args: argparse.Namespace) -> int:
    from vpdata.build import load_config
    from vpdata.models.catalogue import weights_of
    from vpdata.models.check import choices_in
    from vpdata.storage import Folder

    wanted = [(name, revision or None) for name, _, revision in (one.partition("@") for one in args.names)]
    if args.config:
        chosen = choices_in(load_config(args.config))
        wanted += [one for role, choice in chosen for one in weights_of(role, choice)]
    lacks = ["NAME or --config"] * (not args.names and not args.config) + ["--to or VPDATA_WEIGHTS"] * (not args.to)
    if lacks:
        raise ConfigError(f"vpdata models fetch needs {', and '.join(lacks)}")
    if not wanted:
        print(f"{args.config} names no model whose weights are fetched")
        return 0
    from vpdata.models.fetch import fetch
    from vpdata.models.hub import HuggingFaceHub

    for name, revision in dict.fromkeys(wanted):
        lock = fetch(name, to=Folder(args.to), hub=HuggingFaceHub(), revision=revision)
        size_gb = sum(file.size_bytes for file in lock.files.values()) / 1e9
        print(f"{name}: {len(lock.files)} files, {size_gb:.2f} GB, revision {lock.revision}")
    return 0


def _check_models(args: argparse.Namespace) -> int:
    from vpdata.build import load_config
    from vpdata.engine.gpus import gpus_here
    from vpdata.models.catalogue import opened_by
    from vpdata.models.check import check, check_other, choices_in, doubts, others, summary
    from vpdata.models.weights import how_to_fetch, never_fetched

    chosen = list(choices_in(load_config(args.config, args.overrides)))
    rows = []
    for role, choice in chosen:
        rows.append(check(role, choice))
        print(rows[-1], flush=True)
    if args.all:
        has_gpu = bool(gpus_here().names)
        for role, choice in others(chosen):
            rows.append(check_other(role, choice, has_gpu=has_gpu))
            print(rows[-1], flush=True)
    print(summary(rows))
    if doubt := doubts(rows):
        print(doubt, file=sys.stderr)
    if missing := never_fetched(one for role, choice in chosen for one in opened_by(role, choice)):
        print(how_to_fetch(missing), file=sys.stderr)
    return int(any(row.fault for row in rows))


if __name__ == "__main__":
    sys.exit(main())
