"""What other bounds would have kept and dropped, told from the measures that a run has stored."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from vpdata import codec
from vpdata.config import fill, to_plain, with_overrides
from vpdata.dataset import layout
from vpdata.dataset.run import Run, check_version, read_table
from vpdata.errors import ConfigError, Reason, RunError
from vpdata.records import Record, Reject, Track
from vpdata.stages.rule_table import RULES, Rule
from vpdata.stages.rules import FilterSettings, judge, loosened, nothing_measured, only

_TRACK_FIELDS = tuple(one.name for one in dataclasses.fields(Track) if one.name not in ("masks", "area_frac"))
_REASONS = (*(rule.reason for rule in RULES), Reason.NO_TRACKS, Reason.SCORE_FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIfRow:
    """What one rule drops with the present bounds and with the changed ones."""

    reason: Reason
    """The rule's, or `no_tracks` or `score_failed`."""
    bounds_now: str
    bounds_then: str
    num_clips_now: int
    num_clips_then: int
    num_tracks_now: int
    """Tracks dropped on their own."""
    num_tracks_then: int
    num_clips_unknown: int
    """Of the clips dropped then, those that were dropped early and that the changed bounds may let through."""
    num_tracks_unknown: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """Two funnels over one run: as it is, and with changed bounds. Near-duplicates are not looked for again."""

    rows: tuple[WhatIfRow, ...]
    """One per rule that drops anything or that changes, in the order the rules apply."""
    num_kept_now: int
    """Clips that pass all rules, before near-duplicates are dropped."""
    num_kept_then: int
    num_unknown: int
    """Clips that might be kept then, beside `num_kept_then`: they were dropped before all was measured on them."""

    def __str__(self) -> str:
        """A table for a terminal."""
        return "\n".join(_lines(self))


def what_if_text(run: Run, changes: Sequence[str]) -> str:
    """The table for changes such as `motion.min=0.3` or `motion=null` to the rules in `run.yaml`.

    ConfigError for what is no such change, RunError for a run that was imported.
    """
    for change in changes:
        # A whole rule is null, or a mapping of its bounds.
        if "=" not in change or any(not isinstance(one, dict | None) for one in with_overrides({}, [change]).values()):
            raise ConfigError(f"got {change!r}, wanted RULE.BOUND=VALUE such as motion.min=0.3, or RULE=null")
    config = run.config()["config"]
    if "filter" not in config:
        raise RunError(
            f"{run.folder.uri}: its run.yaml names no rules, since its clips were imported and not filtered; "
            "give a run that `vpdata build` made"
        )
    base = fill(FilterSettings, config["filter"], where="filter")
    plain = with_overrides(to_plain(base), [f"rules.{change}" for change in changes])
    changed = fill(FilterSettings, plain, where="filter")
    given = " ".join(f"--set {shlex.quote(f'filter.rules.{change}')}" for change in changes)
    return f"{what_if(run, base, changed)}\nTo apply: the same `vpdata build` with {given} --redo {_redo(run, changed)}"


def _redo(run: Run, changed: FilterSettings) -> str:
    """The first stage that must run again: the one that has dropped clips that are wanted now, else the filter.

    By the rules that each stage has dropped by, which need not be those of the filter: that may have been redone alone.
    """
    for stage in layout.STAGE_NAMES[: layout.STAGE_NAMES.index("filter")]:
        folder = run.stage_folder(stage)
        state = json.loads(folder.read(layout.STAGE_STATE)) if folder.exists(layout.STAGE_STATE) else {}
        dropped_by = state.get("early_rules")
        if dropped_by is not None and loosened(only(dropped_by), changed, after=stage):
            return stage
    return "filter"


def what_if(run: Run, base: FilterSettings, changed: FilterSettings) -> WhatIf:
    """Judge every record that reached the filter by both settings, and count what earlier stages had dropped.

    A clip that a rule dropped early counts as dropped in both funnels: later stages have not measured it, so where that
    rule is looser in `changed` nobody can tell, and the clip is counted as unknown.
    """
    now, then = _Funnel(), _Funnel()
    for record in _records(run):
        for funnel, settings in ((now, base), (then, changed)):
            judged = judge(record, settings, after=None)
            funnel.num_kept += judged.record is not None
            for reject in judged.rejects:
                funnel.add(reject)
    unknown = _Funnel()
    looser = [rule for rule in RULES if changed.bounds(rule.name).are_looser_than(base.bounds(rule.name))]
    now_open = {nothing_measured(rule) for rule in looser if changed.bounds(rule.name).are_open}
    for stage in layout.STAGE_NAMES[: layout.STAGE_NAMES.index("filter")]:
        for reject in _early_rejects(run, stage):
            now.add(reject)
            then.add(reject)
        for reject in _recoverable(_early_rejects(run, stage), {rule.reason for rule in looser}, now_open):
            unknown.add(reject)
    return WhatIf(
        rows=tuple(_rows(now, then, unknown, base, changed)),
        num_kept_now=now.num_kept,
        num_kept_then=then.num_kept,
        num_unknown=unknown.clips.total(),
    )


@dataclass(slots=True)
class _Funnel:
    num_kept: int = 0
    clips: Counter[Reason] = field(default_factory=Counter)
    tracks: Counter[Reason] = field(default_factory=Counter)

    def add(self, reject: Reject) -> None:
        (self.clips if reject.track is None else self.tracks)[reject.reason] += 1


def _records(run: Run) -> Iterator[Record]:
    """The records that reached the filter, without masks: those are most of the bytes, and no rule reads them."""
    folder = run.stage_folder("caption")
    columns = ["id", "clip", "scores", *(f"tracks.list.element.{name}" for name in _TRACK_FIELDS)]
    for part in run.parts("caption"):
        name = layout.records_file(part)
        table = read_table(folder, name, columns=columns)
        check_version(table.schema, where=f"{folder.uri}/{name}")
        for batch in table.to_batches(max_chunksize=256):
            for row in batch.to_pylist():
                tracks = [track | {"masks": (), "area_frac": ()} for track in row["tracks"]]
                yield codec.from_builtins(row | {"tracks": tracks}, Record)


def _early_rejects(run: Run, stage: str) -> Iterator[Reject]:
    return (reject for reject in run.rejects(stage) if reject.reason in _REASONS)


def _recoverable(rejects: Iterator[Reject], looser: Collection[Reason], now_open: Collection[str]) -> Iterator[Reject]:
    """Those of one stage that the changed bounds may let through."""
    clips_with_tracks: set[str] = set()
    without_tracks: list[Reject] = []
    for reject in rejects:
        if reject.reason in looser or (reject.reason is Reason.SCORE_FAILED and reject.got in now_open):
            if reject.track is not None:
                clips_with_tracks.add(reject.id)
            yield reject
        elif reject.reason is Reason.NO_TRACKS:
            without_tracks.append(reject)
    yield from (reject for reject in without_tracks if reject.id in clips_with_tracks)


def _rows(
    now: _Funnel, then: _Funnel, unknown: _Funnel, base: FilterSettings, changed: FilterSettings
) -> Iterator[WhatIfRow]:
    by_reason: dict[Reason, Rule] = {rule.reason: rule for rule in RULES}
    for reason in _REASONS:
        rule = by_reason.get(reason)
        bounds_now, bounds_then = (str(s.bounds(rule.name)) if rule else "" for s in (base, changed))
        counts = [counter[reason] for one in (now, then, unknown) for counter in (one.clips, one.tracks)]
        if any(counts) or bounds_now != bounds_then:
            yield WhatIfRow(
                reason=reason,
                bounds_now=bounds_now,
                bounds_then=bounds_then,
                num_clips_now=counts[0],
                num_tracks_now=counts[1],
                num_clips_then=counts[2],
                num_tracks_then=counts[3],
                num_clips_unknown=counts[4],
                num_tracks_unknown=counts[5],
            )


def _lines(result: WhatIf) -> Iterator[str]:
    cells = [("rule", "bounds", "clips dropped", "tracks dropped")]
    for row in result.rows:
        changes = row.bounds_now != row.bounds_then
        bounds = f"{row.bounds_now} -> {row.bounds_then}" if changes else row.bounds_now
        clips = f"{row.num_clips_now} -> {row.num_clips_then}"
        cells.append((row.reason.value, bounds, clips, f"{row.num_tracks_now} -> {row.num_tracks_then}"))
    cells.append(("kept", "", f"{result.num_kept_now} -> {result.num_kept_then}", ""))
    widths = [max(len(line[column]) for line in cells) for column in range(3)]
    for line in cells:
        yield "  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[3]]).rstrip()
    yield "Near-duplicates are not looked for again."
    for row in result.rows:
        if row.num_clips_unknown or row.num_tracks_unknown:
            yield (
                f"Not known: {row.num_clips_unknown} clips and {row.num_tracks_unknown} tracks dropped early as "
                f"{row.reason} were not measured further; a run with filter.early: false would tell."
            )
