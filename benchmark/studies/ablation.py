"""`python -m benchmark ablation`: the paper's ablations, as many of their rows as there are trained parts for.

python -m benchmark ablation --bench runs/demo/vpbench --config configs/inpaint_demo.yaml --trained runs/train-demo
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.opening import add_bench_options, bench_of

if TYPE_CHECKING:
    from benchmark.bench import Bench
    from benchmark.methods.settings import MethodSettings
    from benchmark.metrics.settings import Protocol
    from benchmark.report.tables import Table
    from benchmark.results import Results
    from benchmark.studies.ablation_rows import AblationRow


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ablation`."""
    add_bench_options(parser)
    parser.add_argument("--config", metavar="YAML", required=True, help="of `vpdata inpaint`: what all rows share")
    parser.add_argument("--trained", metavar="DIR", required=True, help="folder of the outputs of `vpdata train`")
    parser.add_argument("--output", metavar="DIR", default="runs/ablation", help="results; what is there stays")
    parser.add_argument("--rows", metavar="NAME,NAME", help="those of benchmark/studies/ablation.yaml; left out: all")
    parser.add_argument("--protocol", choices=("clean", "paper"), default="clean")
    parser.add_argument("--give-first-frame", action="store_true", help="give the true first frame, for image-to-video")
    parser.add_argument("--cpus", metavar="N", type=float, default=1.0, help="of a worker")
    parser.add_argument("--gpus", metavar="N", type=float, default=0.0, help="of a worker")
    parser.add_argument("--retry", action="store_true", help="run cases again that failed")
    parser.add_argument(
        "--redo", action="store_true", help="drop the results of these rows first, as after training anew"
    )


def main(args: argparse.Namespace) -> int:
    """Run, score and print the table; it is in `ablation.md` too. Exit status 1 if results of older weights are in the
    way of a row.
    """
    import logging

    from benchmark.methods.settings import MethodSettings
    from benchmark.report.reasons import public_reason
    from benchmark.results import Results
    from benchmark.running import run
    from benchmark.studies.ablation_rows import method_of, read_rows
    from vpdata.config import read_yaml
    from vpdata.errors import ConfigError
    from vpdata.storage import Folder

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    rows = read_rows()
    names = args.rows.split(",") if args.rows else list(rows)
    if unknown := [name for name in names if name not in rows]:
        raise ConfigError(f"got the rows {', '.join(unknown)}, wanted some of {', '.join(rows)}")
    run_in = MethodSettings(kind="vpdata", give_first_frame=args.give_first_frame, cpus=args.cpus, gpus=args.gpus)
    shared = read_yaml(args.config)
    methods = {name: method_of(rows[name], shared, Path(args.trained), run_in) for name in names}
    bench, output = bench_of(args), Path(args.output)
    tables: dict[str, Sequence[Table]] = {}
    refused: dict[str, str] = {}
    notes: dict[str, None] = {}
    for group in _groups({name: rows[name] for name in names}, methods, bench):
        results = Results(output / group.bench.name)
        refused |= run(group.bench, group.methods, results, redo=args.redo, retry=args.retry)
        found = _measured(group.bench, results, args.protocol)
        tables |= {name: found for name in group.methods if name not in refused}
        notes |= dict.fromkeys(_notes(group, args.protocol))
    methods |= {name: public_reason(why, output) for name, why in refused.items()}
    text = _text(bench, {name: rows[name] for name in names}, methods, tables, args.protocol, tuple(notes))
    Folder(output).write("ablation.md", text.encode())
    print(text, end="")
    return int(bool(refused))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Rows that are run on the same cases under the same masks."""

    bench: Bench
    methods: Mapping[str, MethodSettings]


def _groups(rows: Mapping[str, AblationRow], methods: Mapping[str, MethodSettings | str], bench: Bench) -> list[_Group]:
    from benchmark.studies.altered_masks import altered

    groups: dict[str, _Group] = {}
    for name, row in rows.items():
        method = methods[name]
        cases = tuple(case for case in bench.cases if case.subset == row.subset)
        if isinstance(method, str) or not cases:
            continue
        own = altered(bench, row.masks)
        own = replace(own, name=f"{own.name}-{row.subset}", cases=cases)
        known = groups.get(own.name)
        groups[own.name] = _Group(bench=own, methods={**(known.methods if known else {}), name: method})
    return list(groups.values())


def _measured(bench: Bench, results: Results, protocol: Protocol) -> Sequence[Table]:
    """Score a group of rows; the tables of the whole frame, raw and with known pixels put back."""
    from benchmark.metrics.networks import open_networks
    from benchmark.metrics.scorer import Scorer
    from benchmark.metrics.settings import ScoreSettings
    from benchmark.report.scores import read_scores
    from benchmark.report.tables import tables

    settings = ScoreSettings(protocol=protocol)
    Scorer(bench, results, settings, open_networks(settings)).score()
    return [table for table in tables(read_scores(bench, results, protocol)) if table.place == "frame"]


def _notes(group: _Group, protocol: Protocol) -> Iterator[str]:
    """What a reader of a group's numbers must know of its cases."""
    from benchmark.metrics.paper_setting import unlike_published
    from benchmark.studies.altered_masks import not_eroded

    if protocol == "paper" and (unlike := unlike_published(group.bench)):
        yield f"{group.bench.name}: {unlike}"
    for case, num_frames in not_eroded(group.bench).items():
        yield f"{group.bench.name}, {case}: on {num_frames} frames the mask is too thin to erode, and stays as it is"


def _text(
    bench: Bench,
    rows: Mapping[str, AblationRow],
    methods: Mapping[str, MethodSettings | str],
    tables: Mapping[str, Sequence[Table]],
    protocol: Protocol,
    notes: Sequence[str],
) -> str:
    from benchmark.report.columns import columns_of
    from benchmark.report.facts import PROTOCOLS
    from benchmark.report.markdown import grid, row_cells, text
    from benchmark.report.numbers import quoted_number
    from benchmark.report.published import published

    columns = [column for column in columns_of(protocol, "frame") if column.is_published]
    lines: list[list[str]] = []
    why: dict[str, str] = {}
    reasons: dict[str, None] = {}
    for name, row in rows.items():
        method = methods[name]
        if name in tables:
            for table in tables[name]:
                cells = row_cells(table, name)[: len(columns)]
                output = "raw" if table.output == "raw" else "known pixels put back"
                lines.append([text(row.label), output, *cells, f"{table.num_cases} of {row.subset}"])
                reasons |= {cell.why: None for cell in table.rows[name][: len(columns)] if cell.why}
        else:
            why[name] = method if isinstance(method, str) else f"{bench.name} has no case of {row.subset}"
            lines.append([text(row.label), "cannot run: see below", *["n/a"] * len(columns), f"0 of {row.subset}"])
        values = [quoted_number(value) for value in row.published.values]
        lines.append(["", f"*quoted: table {row.published.table}*", *values, ""])
    parts = [
        f"# Ablations on {text(bench.name)}",
        f"Whole frame. Protocol {text(PROTOCOLS[protocol])}. Brackets hold 95 % intervals over videos, by Student's t; "
        "bold is the best of the rows that were measured on the same cases under the same masks. "
        "Quoted rows are of other cases, in a setting that the paper does not state. "
        f"{text(published().caveats_beside(protocol))}",
        grid(["variant", "output", *(column.head for column in columns), "cases"], lines),
    ]
    if notes:
        parts += ["\n".join(f"- {text(one)}" for one in notes)]
    if why:
        parts += [
            "## Rows that cannot run",
            "\n".join(f"- {text(rows[name].label)}: {text(one)}" for name, one in why.items()),
        ]
    if reasons:
        parts += ["## Why numbers are missing, or are not of all cases", "\n".join(f"- {text(one)}" for one in reasons)]
    return "\n\n".join(parts) + "\n"
