from __future__ import annotations

import json

import pytest

from vpdata.dataset.measures import EDGES, Histogram
from vpdata.dataset.stats import FunnelRow, Stats
from vpdata.errors import ConfigError, Reason
from vpdata.report.overview import overview, rule_bounds
from vpdata.stages.rules import RULES, Bounds

MILLION = 1_000_000


def large_stats() -> Stats:
    """Of a run of a million clips with an open vocabulary and every reason."""
    histograms = tuple(
        Histogram(
            name=name, edges=edges, measured=(MILLION,) * (len(edges) - 1), kept=(MILLION // 3,) * (len(edges) - 1),
            num_missing=17,
        )
        for name, edges in EDGES.items()
    )  # fmt: skip
    reasons = {str(reason): MILLION for reason in Reason}
    rows = tuple(
        FunnelRow(stage=stage, num_in=9 * MILLION, num_out=MILLION, dropped=reasons, dropped_tracks=reasons)
        for stage in ("cut", "detect", "track", "caption", "filter", "pack")
    )
    return Stats(
        schema_version=1, funnel=rows, num_sources=MILLION, num_videos=MILLION, num_clips=MILLION,
        num_tracks=3 * MILLION, num_shards=9000, num_bytes=5 * 10**12, hours=2500.0,
        labels={f"a label {number}": 10**6 - number for number in range(200_000)},
        licences={f"licence {number}" * 100: 5 for number in range(5000)}, histograms=histograms,
    )  # fmt: skip


def test_overview_of_a_million_clips_is_small() -> None:
    data = overview(large_stats(), rule_bounds({"config": {}}))
    assert len(json.dumps(data)) < 300_000
    assert data["num_labels"] == 200_000
    assert data["labels"][0] == ("a label 0", 1_000_000)
    assert max(len(name) for name, _ in data["licences"]) <= 80


def test_every_rule_reads_a_measure_that_has_a_histogram() -> None:
    assert set(rule_bounds({"config": {}})) <= set(EDGES)
    assert len(rule_bounds({"config": {}})) == len(RULES)


def test_bounds_are_those_the_run_was_filtered_with() -> None:
    config = {"config": {"filter": {"rules": {"motion": {"min": 0.25}, "track_area": {"max": 0.5}, "static": None}}}}
    bounds = rule_bounds(config)
    assert bounds["motion"] == Bounds(min=0.25)
    assert bounds["track.mean_area_frac"] == Bounds(min=0.01, max=0.5)
    assert bounds["static_frac"] == Bounds()


def test_config_of_another_version_is_refused() -> None:
    with pytest.raises(ConfigError, match="nonsense"):
        rule_bounds({"config": {"filter": {"nonsense": 1}}})


def score_of(data: dict, name: str) -> dict:
    return next(score for score in data["scores"] if score["name"] == name)


def test_histogram_loses_its_empty_ends_but_not_its_bounds() -> None:
    edges = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    histogram = Histogram(
        name="motion", edges=edges, measured=(0, 0, 5, 4, 0, 0), kept=(0, 0, 2, 4, 0, 0), num_missing=1
    )
    stats = Stats(
        schema_version=1, funnel=(), num_sources=0, num_videos=0, num_clips=0, num_tracks=0, num_shards=0, num_bytes=0,
        hours=0.0, labels={}, licences={}, histograms=(histogram,),
    )  # fmt: skip
    trimmed = score_of(overview(stats, {}), "motion")
    assert (trimmed["edges"], trimmed["kept"], trimmed["dropped"]) == ([2.0, 3.0, 4.0], [2, 4], [3, 0])
    bounded = score_of(overview(stats, {"motion": Bounds(min=0.5)}), "motion")
    assert (bounded["edges"][0], bounded["min"], bounded["max"], bounded["missing"]) == (0.0, 0.5, None, 1)
