"""Applies the rules to a record, as early as the settings say."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from vpdata.config import nearest
from vpdata.errors import Reason, RejectItem
from vpdata.records import Record, Reject, Track
from vpdata.stages.base import Resources, rejected
from vpdata.stages.rule_table import RULES, Bounds, Rule

_BY_NAME = {rule.name: rule for rule in RULES}
_STAGES = tuple(dict.fromkeys(rule.after for rule in RULES))


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterSettings:
    """Which rules apply, and when."""

    early: bool = True
    """Apply a rule as soon as its measure is known; False: all at the end, for tuning on a sample."""
    rules: Mapping[str, Mapping[str, float | None] | None] = field(default_factory=dict)
    """Rule to its `min` and `max`, both included. An end that is not given has its default, null opens it; null for a
    whole rule switches it off. Once constructed, this holds every rule with both ends."""
    resources: Resources = field(default_factory=lambda: Resources(memory_gb=4.0))
    """Room for a part of 256 clips with 8 objects each: 2.4 GB."""

    def __post_init__(self) -> None:
        for name in self.rules:
            if name not in _BY_NAME:
                raise ValueError(f"unknown rule {name!r}{nearest(name, _BY_NAME) or '; known: ' + ', '.join(_BY_NAME)}")
        complete = {rule.name: _complete(rule, self.rules.get(rule.name, {})) for rule in RULES}
        object.__setattr__(self, "rules", complete)

    def bounds(self, rule: str) -> Bounds:
        """What a rule lets through."""
        return Bounds(**(self.rules[rule] or {}))


def only(rules: Mapping[str, Mapping[str, float | None] | None]) -> FilterSettings:
    """These rules and no other, as a stage keeps those that it has dropped clips by."""
    return FilterSettings(rules={rule.name: None for rule in RULES} | dict(rules))


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What the rules left of a record."""

    record: Record | None
    """Without the dropped tracks and their captions; None where the clip was dropped."""
    rejects: tuple[Reject, ...]
    """One per dropped track, then one for the clip if it was dropped."""


def judge(record: Record, settings: FilterSettings, *, after: str | None) -> Judged:
    """Apply the rules whose measures are new after the stage `after`; None applies all, in the same order.

    A clip left without tracks is dropped as `no_tracks`, one with a measure that could not be computed, and has bounds,
    as `score_failed`. ConfigError where a rule needs a score that no stage measures.
    """
    rejects: list[Reject] = []
    stage = after or "filter"
    try:
        for known_after in _STAGES if after is None else (after,):
            rules = [rule for rule in RULES if rule.after == known_after]
            if known_after == "track":
                record, dropped = _without_bad_tracks(record, rules, settings, stage=stage)
                rejects += dropped
                if not record.tracks:
                    got = f"0 of {len(dropped)} tracks passed"
                    raise RejectItem(Reason.NO_TRACKS, "no track passed the rules", got=got, wanted="at least 1")
            for rule in rules:
                if rule.scope == "clip":
                    _check(rule, record, settings)
    except RejectItem as why:
        return Judged(record=None, rejects=(*rejects, rejected(record, why, stage=stage).reject))
    return Judged(record=record, rejects=tuple(rejects))


def loosened(old: FilterSettings, new: FilterSettings, *, after: str) -> list[str]:
    """The rules that run after the stage `after` and let more through under `new`, each with both bounds.

    Where they ran early, what they dropped was never seen by the stages behind: only a redo of `after` brings it back.
    """
    return [
        f"{rule.name}: {old.bounds(rule.name)} became {new.bounds(rule.name)}"
        for rule in RULES
        if rule.after == after and new.bounds(rule.name).are_looser_than(old.bounds(rule.name))
    ]


def nothing_measured(rule: Rule) -> str:
    """What a `score_failed` reject of this rule says it got."""
    return f"no {rule.name}"


def _without_bad_tracks(
    record: Record, rules: list[Rule], settings: FilterSettings, *, stage: str
) -> tuple[Record, list[Reject]]:
    """The record with the tracks that pass and their captions, and a reject for each other track."""
    assert record.tracks is not None, f"{record.id}: the rules on tracks need the stage `track` to have run"
    kept: list[Track] = []
    rejects: list[Reject] = []
    for track in record.tracks:
        try:
            for rule in rules:
                if rule.scope == "track":
                    _check(rule, track, settings)
            kept.append(track)
        except RejectItem as why:
            rejects.append(dataclasses.replace(rejected(record, why, stage=stage).reject, track=track.id))
    if rejects:
        scopes = {None, *(track.id for track in kept)}
        captions = record.captions and tuple(one for one in record.captions if one.scope in scopes)
        record = dataclasses.replace(record, tracks=tuple(kept), captions=captions)
    return record, rejects


def _check(rule: Rule, subject: Record | Track, settings: FilterSettings) -> None:
    bounds = settings.bounds(rule.name)
    if bounds.are_open:
        return
    value = rule.value(subject)
    of_track = f" of track {subject.id} ({subject.label})" if isinstance(subject, Track) else ""
    if value is None or math.isnan(value):
        detail = f"{rule.name}{of_track} could not be computed; filter.rules.{rule.name}: null keeps such clips"
        raise RejectItem(Reason.SCORE_FAILED, detail, got=nothing_measured(rule), wanted=str(bounds))
    if not bounds.hold(value):
        detail = f"{rule.name}{of_track} is outside the bounds of filter.rules.{rule.name}"
        raise RejectItem(rule.reason, detail, got=f"{rule.name} {_shown(value, bounds)}", wanted=str(bounds))


def _shown(value: float, bounds: Bounds) -> str:
    """Four digits, or all of them where four would look as if the value had passed."""
    text = f"{value:.4g}"
    return repr(value) if bounds.hold(float(text)) else text


def _complete(rule: Rule, given: Mapping[str, float | None] | None) -> dict[str, float | None]:
    """Both ends of a rule's bounds."""
    if given is None:
        return {"min": None, "max": None}
    for end in given:
        if end not in ("min", "max"):
            raise ValueError(f"unknown setting rules.{rule.name}.{end}, wanted min or max")
    ends = {"min": rule.default.min, "max": rule.default.max} | dict(given)
    for end, value in ends.items():
        if value is not None and not math.isfinite(value):
            raise ValueError(f"rules.{rule.name}.{end}: got {value}, wanted a number, or null for no bound")
    low, high = ends["min"], ends["max"]
    if low is not None and high is not None and low > high:
        raise ValueError(f"rules.{rule.name}: got min {low:g} above max {high:g}, so that nothing would pass")
    # A config's `8` and `8.0` are one setting, and must give one fingerprint.
    return {end: None if value is None else float(value) for end, value in ends.items()}
