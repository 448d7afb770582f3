"""From results and their truth to the score table; each result is measured once and kept in a file of its own.

<results>/scored/<protocol>/<method>/<case>.json   what was measured of one result, with the fingerprint of all it is of
<results>/scores.parquet                           all rows of the clean protocol; `scores-paper.parquet` of the paper's
<results>/features/<network>/<method>.npz          what FVID compares
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np
import pyarrow.parquet as pq

from benchmark.bench import Bench, Case
from benchmark.metrics import clean, paper
from benchmark.metrics.feature_files import TRUTH, output_name, write_features
from benchmark.metrics.networks import Networks, fvid_network
from benchmark.metrics.regions import Frames
from benchmark.metrics.rows import RowMaker
from benchmark.metrics.settings import Protocol, ScoreSettings
from benchmark.metrics.sums import Sums
from benchmark.metrics.table import METRICS, Key, ScoreRow
from benchmark.metrics.truth import Truth
from benchmark.results import BadResult, MethodRecord, Results
from benchmark.running import fingerprint
from vpdata import codec
from vpdata.config import to_plain
from vpdata.errors import ConfigError, RunError, StorageError
from vpdata.storage import Folder

VERSION = 4
"""Goes up when a metric changes, so that everything is measured anew, and older tables are not read."""
_FIRST_FRAME: dict[Protocol, int] = {"clean": 1, "paper": 0}
"""With which frame measuring begins. A method may be given the true first frame, which is then no fill of its own: left
out for all, it makes nobody better, and a score does not depend on whom a method is compared with."""
TABLES: dict[Protocol, str] = {"clean": "scores.parquet", "paper": "scores-paper.parquet"}
STATE = "scored"
"""Key of a table's metadata that holds `state_of` what it is of, as JSON."""
_MEASURES = {"clean": clean.measure, "paper": paper.measure}

_log = logging.getLogger(__name__)

Vector = tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What was measured of one result."""

    fingerprint: str
    rows: tuple[ScoreRow, ...] = ()
    features: Mapping[str, Vector] = field(default_factory=dict)
    """Output to what FVID compares."""

    @property
    def has_failed(self) -> bool:
        """Whether the method has no usable frames."""
        return any(row.status == "failed" for row in self.rows)


@dataclass(slots=True, kw_only=True)
class Tally:
    """What a call did."""

    num_scored: int = 0
    num_kept: int = 0
    """Measured by an earlier call."""
    num_failed: int = 0
    """Of all results, those without usable frames; a case that cannot be read has none."""


class Scorer:
    """Measures the results of all methods on all cases of a benchmark."""

    def __init__(self, bench: Bench, results: Results, settings: ScoreSettings, networks: Networks) -> None:
        self._bench, self._results, self._settings, self._networks = bench, results, settings, networks
        self._first = _FIRST_FRAME[settings.protocol]
        self._root = Folder(results.root)
        self._kept = self._root.child("scored").child(settings.protocol)

    def score(self) -> Tally:
        """Measure what is missing or changed, then write the table and the files of features."""
        # Before anything is read: what changes meanwhile makes these scores those of something else.
        state = state_of(self._bench, self._results)
        tally = Tally()
        records = {method: self._record(method) for method in self._results.methods}
        found: dict[str, dict[str, Scored]] = {method: {} for method in (TRUTH, *records)}
        for case in self._bench.cases:
            try:
                truth, fingerprint = self._truth(case)
            except (RunError, StorageError) as error:
                _log.warning("%s cannot be read: %s", case.id, error)
                for method, record in records.items():
                    rows = self._rows(method, record, case).failed(f"the case itself cannot be read: {error}")
                    found[method][case.id] = Scored(fingerprint="", rows=rows)
            else:
                found[TRUTH][case.id] = self._scored_truth(truth, fingerprint)
                for method, record in records.items():
                    found[method][case.id] = self._scored(method, record, truth, fingerprint, tally)
        results = [scored for method in records for scored in found[method].values()]
        tally.num_failed = sum(scored.has_failed for scored in results)
        self._write_table([row for scored in results for row in scored.rows], state)
        for method, cases in found.items():
            self._write_features(method, cases)
        return tally

    def _record(self, method: str) -> MethodRecord | str:
        """What made the results, or why none of them can be used."""
        try:
            return self._results.method(method, bench=fingerprint(self._bench))
        except ConfigError as error:
            return str(error)

    def _truth(self, case: Case) -> tuple[Truth, str]:
        """A case, and a fingerprint of all that decides its scores beside the results."""
        sampled = self._bench.sampled(case)
        settings = to_plain(replace(self._settings, device=None))
        arrays = np.ascontiguousarray(sampled.frames), np.ascontiguousarray(sampled.masks)
        common = [VERSION, settings, dict(self._networks.models), sorted(self._networks.missing)]
        parts = (codec.to_json(common), codec.to_json(case), arrays[0].data, arrays[1].data)
        frames, masks = sampled.frames[self._first :], sampled.masks[self._first :]
        return Truth.of(case, frames, masks, dilate_px=self._settings.dilate_px), _digest(*parts)

    def _scored_truth(self, truth: Truth, fingerprint: str) -> Scored:
        kept = self._read(TRUTH, truth.case.id, fingerprint)
        if kept is None:
            kept = Scored(fingerprint=fingerprint, features=self._features({TRUTH: truth.frames}))
            self._keep(TRUTH, truth.case.id, kept)
        return kept

    def _scored(self, method: str, record: MethodRecord | str, truth: Truth, fingerprint: str, tally: Tally) -> Scored:
        """What was measured, now or by an earlier call."""
        rows = self._rows(method, record, truth.case)
        if isinstance(record, str):
            return Scored(fingerprint="", rows=rows.failed(record))
        case_id, video = truth.case.id, self._results.video(method, truth.case.id)
        outcome = codec.to_json(self._results.outcome(method, case_id))
        content = video.read_bytes() if video.is_file() else b""
        fingerprint = _digest(fingerprint.encode(), codec.to_json(rows.first_frame_given), outcome, content)
        kept = self._read(method, case_id, fingerprint)
        if kept is not None:
            tally.num_kept += 1
            return kept
        measured = self._measured(method, rows, truth, fingerprint)
        self._keep(method, case_id, measured)
        tally.num_scored += 1
        return measured

    def _rows(self, method: str, record: MethodRecord | str, case: Case) -> RowMaker:
        return RowMaker(
            method=method,
            first_frame_given=not isinstance(record, str) and record.gave_first_frame(is_edit=case.is_edit),
            case=case,
            shape=self._bench.shape(case),
            protocol=self._settings.protocol,
            dilate_px=self._settings.dilate_px,
            networks=self._networks,
        )

    def _measured(self, method: str, rows: RowMaker, truth: Truth, fingerprint: str) -> Scored:
        try:
            output = self._results.frames(method, truth.case.id, shape=rows.shape)[self._first :]
        except BadResult as error:
            return Scored(fingerprint=fingerprint, rows=rows.failed(str(error)))
        _log.info("%s on %s", method, truth.case.id)
        sums = _MEASURES[self._settings.protocol](output, truth, self._networks) if len(output) else {}
        videos = {output_name(name, radii[0]): video for name, radii, video in truth.outputs(output)}
        features = self._features(videos)
        counted: dict[Key, Sums] = {
            ("fvid", "frame", name, radius): Sums(0.0, int(output_name(name, radius) in features))
            for name, radii, _ in truth.outputs(output)
            for radius in radii
        }
        return Scored(fingerprint=fingerprint, rows=rows.measured({**sums, **counted}, truth), features=features)

    def _features(self, videos: Mapping[str, Frames]) -> dict[str, Vector]:
        network = self._networks.fvid
        return {name: tuple(network(video).tolist()) for name, video in videos.items() if len(video)} if network else {}

    def _read(self, method: str, case_id: str, fingerprint: str) -> Scored | None:
        """What an earlier call measured of the same; None where it is of something else, or damaged."""
        folder, name = self._kept.child(method), f"{case_id}.json"
        if not folder.exists(name):
            return None
        try:
            kept = codec.from_json(folder.read(name), Scored)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            _log.warning("%s/%s is damaged (%s); it is measured again", folder.uri, name, error)
            return None
        return kept if kept.fingerprint == fingerprint else None

    def _keep(self, method: str, case_id: str, scored: Scored) -> None:
        self._kept.child(method).write(f"{case_id}.json", codec.to_json(scored))

    def _write_table(self, rows: list[ScoreRow], state: Mapping[str, str]) -> None:
        table = codec.to_table(rows, ScoreRow)
        metadata = {f"range of {name}": metric.range for name, metric in METRICS.items()}
        metadata |= {"protocol": self._settings.protocol, STATE: codec.to_json(state).decode()}
        with self._root.writing(TABLES[self._settings.protocol]) as path:
            pq.write_table(table.replace_schema_metadata(metadata), path)

    def _write_features(self, method: str, cases: Mapping[str, Scored]) -> None:
        outputs: dict[str, dict[str, np.ndarray]] = {}
        for case_id, scored in cases.items():
            for name, vector in scored.features.items():
                outputs.setdefault(name, {})[case_id] = np.array(vector, dtype=np.float32)
        if outputs:
            write_features(self._root.child("features").child(fvid_network(self._settings)), method, outputs)


def state_of(bench: Bench, results: Results) -> dict[str, str]:
    """What scores are of, by name: the metrics' version, and fingerprints of benchmark and results."""
    case_ids = [case.id for case in bench.cases]
    of_methods = {f"results of {method}": results.fingerprint(method, case_ids) for method in results.methods}
    return {"version of the metrics": str(VERSION), "benchmark": fingerprint(bench), **of_methods}


def _digest(*parts: bytes | memoryview) -> str:
    """Of all parts in their order, each with its length, so that no two lists of parts are alike."""
    digest = hashlib.sha256()
    for part in map(memoryview, parts):
        digest.update(part.nbytes.to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()
