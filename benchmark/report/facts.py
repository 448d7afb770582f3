"""What a reader must know before a number: protocol, frames, networks, and of each method what it was given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.bench import Bench
from benchmark.methods.kinds import MADE_ELSEWHERE, STARTED_ANEW
from benchmark.metrics.paper_setting import unlike_published
from benchmark.metrics.settings import Protocol
from benchmark.report.numbers import MISSING
from benchmark.report.reasons import public_reason
from benchmark.report.scores import Scores
from benchmark.results import MethodRecord, Results, measured
from benchmark.running import fingerprint
from vpdata.errors import ConfigError

PROTOCOLS: dict[Protocol, str] = {
    "clean": "clean: each region is measured by itself, without the first frame, which a method may be given; means "
    "are sums over counts, each case weighing by what was measured in it where a table does not say otherwise",
    "paper": "paper: VideoPainter's published definitions, per frame and averaged over all frames of all videos, with "
    "its mask on one side only, so that the hole counts as error; for comparison with its tables alone",
}

METHOD_HEADS = ("kind", "given", "usable cases", "s a case", "peak MB, host", "peak MB, GPU", "machine", "weights")


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodFacts:
    """One method."""

    name: str
    kind: str
    given: str
    """Hole and first frame."""
    num_ok: int
    """Cases with usable frames, of `num_cases`."""
    num_cases: int
    seconds: float | None
    """A case, on average, of those that say; None for results that were made elsewhere, and so are the next three."""
    peak_memory_mb: float | None
    """On the host."""
    peak_gpu_memory_mb: float | None = None
    machine: str | None
    weights: str
    problem: str | None
    """Why none of its results can be used."""

    @property
    def cells(self) -> tuple[str, ...]:
        """As text, under `METHOD_HEADS`."""
        includes = " with start and load" if self.kind in STARTED_ANEW else ""
        return (
            self.kind,
            self.problem or self.given,
            f"{self.num_ok} of {self.num_cases}",
            MISSING if self.seconds is None else f"{self.seconds:.2f}{includes}",
            *(MISSING if peak is None else f"{peak:.0f}" for peak in (self.peak_memory_mb, self.peak_gpu_memory_mb)),
            self.machine or MISSING,
            self.weights,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All of it."""

    bench: str
    protocol: str
    frames: str
    dilate_px: tuple[int, ...]
    methods: tuple[MethodFacts, ...]
    models: dict[str, str]
    """Metric to what it was measured with."""
    missing: dict[str, str]
    """Metric to why it was measured nowhere."""
    failed: tuple[tuple[str, str, str], ...]
    """Method, case and reason of every result that cannot be used."""


def facts_of(bench: Bench, results: Results, scores: Scores) -> Facts:
    """From the records of the methods and the rows of the table.

    A method whose results nothing can be said of, or that are on another benchmark, has no time and no memory.
    """
    failed = tuple(
        (method, case.id, next(iter(scores.rows[method, case.id].values())).reason or "")
        for method in scores.methods
        for case in scores.cases
        if any(row.status == "failed" for row in scores.rows[method, case.id].values())
    )
    rows = [row for of_case in scores.rows.values() for row in of_case.values()]
    found = {row.metric for row in rows if row.status == "ok"}
    usable = [row for row in rows if row.status == "n/a" and row.reason]
    return Facts(
        bench=bench.name,
        protocol=_protocol(bench, scores.protocol),
        frames=_frames(bench, scores),
        dilate_px=scores.dilate_px,
        methods=tuple(_method(results, scores, name, failed, fingerprint(bench)) for name in scores.methods),
        models={row.metric: row.model for row in rows if row.model and row.metric in found},
        missing={row.metric: row.reason or "" for row in usable if row.metric not in found},
        failed=failed,
    )


def _protocol(bench: Bench, protocol: Protocol) -> str:
    unlike = unlike_published(bench) if protocol == "paper" else None
    return f"{PROTOCOLS[protocol]}; warning: {unlike}" if unlike else PROTOCOLS[protocol]


def _frames(bench: Bench, scores: Scores) -> str:
    rows = [next(iter(of_case.values())) for of_case in scores.rows.values()]
    numbers = sorted({row.num_frames for row in rows})
    sizes = Counter((row.width_px, row.height_px) for row in rows)
    named = ", ".join(f"{width}x{height} px" for (width, height), _ in sizes.most_common(3))
    rate = f"{float(bench.sampling.fps):g} fps or less" if bench.sampling.fps else "their own rate"
    length = f"{numbers[0]} to {numbers[-1]} frames" if len(numbers) > 1 else f"{numbers[0]} frames"
    return f"{length} a case at {rate}, {named}{' and others' if len(sizes) > 3 else ''}"


def _method(
    results: Results, scores: Scores, name: str, failed: Sequence[tuple[str, str, str]], bench: str
) -> MethodFacts:
    problem, record, good = None, None, []
    try:
        record = results.method(name, bench=bench)
        good = [outcome for case in scores.cases if (outcome := results.outcome(name, case.id)).status == "ok"]
    except ConfigError as error:
        problem = public_reason(str(error), results.root)
    if record and record.kind in MADE_ELSEWHERE:
        # Outcomes of before 2026-11-28 say what looking them up took.
        good = []
    seconds, on_host, on_gpu = measured(good)
    return MethodFacts(
        name=name,
        kind=record.kind if record else "unknown",
        given=_given(record) if record else "unknown",
        num_ok=len(scores.cases) - sum(method == name for method, _, _ in failed),
        num_cases=len(scores.cases),
        seconds=sum(seconds) / len(seconds) if seconds else None,
        peak_memory_mb=max(on_host, default=None),
        peak_gpu_memory_mb=max(on_gpu, default=None),
        machine=next((outcome.machine for outcome in good if outcome.machine), None),
        weights=_weights(record) if record else "",
        problem=problem,
    )


def _weights(record: MethodRecord) -> str:
    if record.weights is None:
        return "not there"
    return ", ".join(f"{part} {value}" for part, value in record.weights.items())


def _given(record: MethodRecord) -> str:
    grown = f"hole {'grown' if record.dilate_px > 0 else 'shrunk'} by {abs(record.dilate_px)} px"
    hole = grown if record.dilate_px else "the hole"
    if not record.first_frame_given:
        return f"{hole}, first frame not given"
    return f"{hole}, first frame given{'' if record.gave_first_frame(is_edit=True) else ', of edits never'}"
