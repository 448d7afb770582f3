"""The numbers of a run as the plain data of the report's first page."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

from vpdata.config import fill
from vpdata.dataset.measures import Histogram
from vpdata.dataset.stats import FunnelRow, Stats
from vpdata.report.view import MAX_LABEL_CHARS, short_text
from vpdata.stages.rules import RULES, Bounds, FilterSettings

_MAX_ROWS = 1000


def rule_bounds(run_config: Mapping[str, Any]) -> dict[str, Bounds]:
    """The bounds that a run was filtered with, by the name of the measure that the rule reads."""
    settings = fill(FilterSettings, run_config["config"].get("filter", {}), where="config.filter")
    return {rule.measure: settings.bounds(rule.name) for rule in RULES}


def overview(stats: Stats, bounds: Mapping[str, Bounds]) -> dict[str, Any]:
    """Headline, funnel, histograms and counts; `bounds` gives the rules by the name of the measure they read."""
    return {
        "totals": {
            "sources": stats.num_sources,
            "clips": stats.num_clips,
            "tracks": stats.num_tracks,
            "duration_s": stats.hours * 3600,
            "shards": stats.num_shards,
            "bytes": stats.num_bytes,
            "videos": stats.num_videos,
        },
        "funnel": [_step(row) for row in stats.funnel],
        "scores": [_score(one, bounds.get(one.name, Bounds())) for one in stats.histograms],
        "labels": _most_frequent(stats.labels),
        "num_labels": len(stats.labels),
        "licences": _most_frequent(stats.licences),
    }


def _most_frequent(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """The first of counts in falling order: an open vocabulary must not make the page large."""
    return [(short_text(name, max_chars=MAX_LABEL_CHARS), number) for name, number in islice(counts.items(), _MAX_ROWS)]


def _step(row: FunnelRow) -> dict[str, Any]:
    return {
        "name": row.stage,
        "num_out": row.num_out,
        "drops": list(row.dropped.items()),
        "track_drops": list(row.dropped_tracks.items()),
    }


def _score(histogram: Histogram, bounds: Bounds) -> dict[str, Any]:
    """A histogram without its empty ends, as far as the bounds allow."""
    low, high = bounds.min, bounds.max
    edges, bins = histogram.edges, range(len(histogram.measured))
    used = [at for at in bins if histogram.measured[at] or histogram.kept[at]] or list(bins)
    used += [at for at in bins for value in (low, high) if value is not None and edges[at] <= value <= edges[at + 1]]
    first, last = min(used), max(used)
    measured, kept = histogram.measured[first : last + 1], histogram.kept[first : last + 1]
    return {
        "name": histogram.name,
        "edges": list(edges[first : last + 2]),
        "kept": list(kept),
        "dropped": [max(all_of - one, 0) for all_of, one in zip(measured, kept, strict=True)],
        "missing": histogram.num_missing,
        "min": low,
        "max": high,
    }
