from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vpdata.report.sampling import sample_clips, stratified
from vpdata.storage import Folder


def items(counts: dict[str, int]) -> list[tuple[str, str, str]]:
    return [(f"{label}-{number}", label, f"{label}-{number}") for label in counts for number in range(counts[label])]


def test_rare_strata_are_drawn_whole_and_common_ones_share_the_rest() -> None:
    drawn = stratified(items({"person": 1000, "dog": 100, "unicorn": 2}), count=20, seed=0)
    assert Counter(one.split("-")[0] for one in drawn) == {"person": 9, "dog": 9, "unicorn": 2}


def test_sample_does_not_depend_on_the_order_of_the_items() -> None:
    given = items({"person": 300, "dog": 30})
    shuffled = random.Random(1).sample(given, len(given))
    assert stratified(given, count=40, seed=3) == stratified(shuffled, count=40, seed=3)


def test_longer_sample_begins_with_the_shorter_one() -> None:
    given = items({"person": 300, "dog": 30, "cat": 3})
    assert stratified(given, count=50, seed=3)[:10] == stratified(given, count=10, seed=3)


def test_another_seed_draws_others() -> None:
    given = items({"person": 300})
    assert set(stratified(given, count=10, seed=0)) != set(stratified(given, count=10, seed=1))


def test_sample_of_all_or_none() -> None:
    given = items({"person": 3, "dog": 2})
    assert sorted(stratified(given, count=99, seed=0)) == sorted(one for one, _, _ in given)
    assert stratified(given, count=0, seed=0) == []
    assert stratified([], count=5, seed=0) == []


def write_index(folder: Path, name: str, rows: list[dict]) -> None:
    track = pa.struct([("label", pa.string())])
    schema = pa.schema([("id", pa.string()), ("motion", pa.float64()), ("tracks", pa.list_(track))])
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / name)


def test_clips_of_a_large_index_are_spread_over_labels_and_motion(tmp_path: Path) -> None:
    rows = [
        {
            "id": f"clip-{number:06d}",
            "motion": None if number % 1000 == 7 else number / 50_000,
            "tracks": [] if number % 1000 == 9 else [{"label": "person" if number % 100 else "horse"}],
        }
        for number in range(50_000)
    ]
    write_index(tmp_path / "index", "vpdata-000000.parquet", rows[:30_000])
    write_index(tmp_path / "index", "vpdata-000001.parquet", rows[30_000:])
    drawn = sample_clips(Folder(tmp_path), count=5000, seed=0)
    assert len(set(drawn)) == 5000
    numbers = [int(one.removeprefix("clip-")) for one in drawn]
    assert sum(number % 100 == 0 for number in numbers) == 500
    assert sum(number % 1000 == 7 for number in numbers) == 50
    assert sum(number % 1000 == 9 for number in numbers) == 50
    in_quarters = Counter(number // 12_500 for number in numbers)
    assert max(in_quarters.values()) - min(in_quarters.values()) < 60


def test_run_without_clips_has_an_empty_sample(tmp_path: Path) -> None:
    assert sample_clips(Folder(tmp_path), count=5, seed=0) == []
