"""`python -m benchmark run`: methods on the cases of a benchmark, going on where it was stopped."""

from __future__ import annotations

import argparse
import hashlib
import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext

import vpdata
from benchmark.bench import Bench, Case
from benchmark.methods.kinds import kind_of
from benchmark.methods.settings import NO_FIRST_FRAME, MethodSettings, read_methods
from benchmark.opening import add_bench_options, bench_of
from benchmark.results import MethodRecord, Outcome, Results, measured
from vpdata.codec import to_json
from vpdata.config import public, to_plain
from vpdata.errors import BackendError, ConfigError, RunError

_log = logging.getLogger(__name__)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command to a parser."""
    add_bench_options(parser)
    parser.add_argument("--output", required=True, metavar="DIR", help="folder of results; what is there stays")
    parser.add_argument("--config", default="configs/methods.yaml", metavar="YAML", help="methods with their settings")
    parser.add_argument("--methods", metavar="NAME,NAME", help="those of the config that are run; left out: all")
    parser.add_argument("--cases", metavar="ID,ID", help="cases that are run; left out: all")
    parser.add_argument(
        "--set", metavar="NAME.KEY=VALUE", action="append", default=[], dest="overrides", help="one setting"
    )
    parser.add_argument("--retry", action="store_true", help="run cases again that failed or are damaged")
    parser.add_argument("--redo", action="store_true", help="drop the results of these methods first")


def main(args: argparse.Namespace) -> int:
    """Exit status 0 if every case of every method has a result, but edits that it cannot do, 1 if some failed or were
    not run.
    """
    logging.basicConfig(format="%(message)s")
    _log.setLevel(logging.INFO)
    bench = bench_of(args)
    methods = read_methods(args.config, _listed(args.methods), overrides=args.overrides)
    cases = _chosen(bench, _listed(args.cases))
    results = Results(args.output)
    refused = run(bench, methods, results, cases=cases, redo=args.redo, retry=args.retry)
    has_failed = bool(refused)
    for name in methods:
        if name in refused:
            print(f"{name}: not run: {refused[name]}")
            continue
        # Videos are hashed, which takes seconds a method: what was damaged since it was written is not called done.
        outcomes = [results.checked(name, case.id) for case in cases]
        has_failed |= any(outcome.status == "failed" and outcome.reason != NO_FIRST_FRAME for outcome in outcomes)
        for case, outcome in zip(cases, outcomes, strict=True):
            if outcome.status == "failed" and results.outcome(name, case.id).status == "ok":
                print(f"{name}, {case.id}: {outcome.reason}; --retry runs it again")
        print(summary(name, outcomes))
    return int(has_failed)


def run(
    bench: Bench,
    methods: Mapping[str, MethodSettings],
    results: Results,
    *,
    cases: Sequence[Case] | None = None,
    redo: bool = False,
    retry: bool = False,
) -> dict[str, str]:
    """Run methods, by name, one after the other, on all cases or on those given.

    A case that is finished is left as it is, with `retry` only if it did not fail and its video is as it was written;
    one whose video is missing is not finished. With `redo` all results of these methods are dropped first. Faults of a
    method are outcomes of its cases, and so are weights that are not there and a machine that is too small; edits that
    it cannot do have failed without being tried. Returns why others were not run, by name, such as for results of other
    settings that are there under it; those are as they were.
    """
    # Both take seconds to import, and mistakes on the command line should show before.
    from benchmark.methods.crew import Crew
    from benchmark.methods.worker import Job, failed
    from vpdata.engine.ray import connected

    problems: dict[str, str] = {}
    refused: dict[str, str] = {}
    fills_only: set[str] = set()
    for name, settings in methods.items():
        try:
            record, problems[name] = record_of(name, settings, bench)
            if not problems[name] and not settings.can_edit:
                fills_only.add(name)
            # Without weights nothing could take the place of what is there.
            results.begin(record, redo=redo and not problems[name])
        except (BackendError, ConfigError, RunError) as error:
            refused[name] = str(error)
            _log.error("%s is not run: %s", name, error)
    chosen = bench.cases if cases is None else cases
    todo = {
        name: [case for case in chosen if not _is_finished(results, name, case, retry=retry)]
        for name in methods
        if name not in refused
    }
    for name in fills_only & todo.keys():
        for case in (case for case in todo[name] if case.is_edit):
            results.keep_failure(name, case.id, failed(NO_FIRST_FRAME))
        todo[name] = [case for case in todo[name] if not case.is_edit]
    for name, of_method in todo.items():
        if of_method and (begun := results.method(name).code_version) != vpdata.__version__:
            _log.warning(
                "%s: its first results are of vpdata %s, what is run now is of %s; --redo makes all anew",
                *(name, begun, vpdata.__version__),
            )
    # Where nothing can be run, no cluster is started, which takes seconds.
    needs_cluster = any(of_method and not problems[name] for name, of_method in todo.items())
    with connected() if needs_cluster else nullcontext():
        for name, of_method in todo.items():

            def tell(case: Case, outcome: Outcome, name: str = name) -> None:
                time = "looked up" if outcome.seconds is None else f"{outcome.seconds:.1f} s"
                _log.info("%s, %s: %s", name, case.id, outcome.reason or time)

            job = Job(name=name, settings=methods[name], bench=bench, results=results.root.absolute())
            Crew(job, tell, problem=problems[name]).run(of_method)
    return refused


def record_of(name: str, settings: MethodSettings, bench: Bench) -> tuple[MethodRecord, str]:
    """What a folder of results says of its method, of local paths the last part only; and why its weights cannot be
    opened, or "".
    """
    options, problem = settings.filled_options(), ""
    try:
        weights = kind_of(settings.kind).weights(options)
    except (BackendError, ConfigError) as error:
        weights, problem = None, str(error)
    record = MethodRecord(
        name=name,
        kind=settings.kind,
        settings=public(to_plain(options)),
        bench=fingerprint(bench),
        dilate_px=settings.dilate_px,
        first_frame_given=settings.give_first_frame,
        given_version=settings.given_version,
        weights=weights,
        code_version=vpdata.__version__,
    )
    return record, problem


def fingerprint(bench: Bench) -> str:
    """16 hex digits of its name, of its cases with the hashes of their files, and of how they are sampled."""
    return hashlib.sha256(to_json([bench.name, bench.sampling, bench.cases])).hexdigest()[:16]


def summary(name: str, outcomes: Sequence[Outcome]) -> str:
    """One line on a method: over how many cases, how long each took, and the most memory, as far as that is known."""
    good = [outcome for outcome in outcomes if outcome.status == "ok"]
    parts = [f"{name}: {len(good)} of {len(outcomes)} cases"]
    if num_edits := sum(outcome.reason == NO_FIRST_FRAME for outcome in outcomes):
        parts.append(f"{num_edits} edits not tried, which have no true first frame")
    seconds, on_host, on_gpu = measured(good)
    if seconds:
        parts.append(f"{sum(seconds) / len(seconds):.2f} s a case")
    if on_host:
        parts.append(f"peak {max(on_host):.0f} MB")
    if on_gpu:
        parts.append(f"on the GPU {max(on_gpu):.0f} MB")
    return ", ".join(parts)


def _is_finished(results: Results, name: str, case: Case, *, retry: bool) -> bool:
    if not results.has_outcome(name, case.id):
        return False
    return not (retry and results.checked(name, case.id).status == "failed")


def _chosen(bench: Bench, ids: Sequence[str] | None) -> list[Case]:
    if ids is None:
        return list(bench.cases)
    known = {case.id: case for case in bench.cases}
    if not ids:
        raise ConfigError(f"got no case, wanted some of the {len(known)} of {bench.name}; left out: all")
    if unknown := [case_id for case_id in ids if case_id not in known]:
        raise ConfigError(f"got the cases {', '.join(unknown)}, which {bench.name} does not have")
    return [known[case_id] for case_id in dict.fromkeys(ids)]


def _listed(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]
