"""The list of what is held out of training."""

from __future__ import annotations

import logging
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vpdata.dataset.split import read_split
from vpdata.errors import ConfigError


def write_split(path: Path, *rows: tuple[str, str]) -> str:
    pq.write_table(pa.table({"kind": [kind for kind, _ in rows], "id": [one for _, one in rows]}), path)
    return str(path)


def test_clips_look_alikes_and_all_clips_of_a_video_are_held_out(tmp_path: Path) -> None:
    split = read_split(
        write_split(tmp_path / "a.parquet", ("video", "v1"), ("clip", "v2-0-5"), ("look_alike", "v3-1-6"))
    )
    held = [
        split.holds_out(f"{video}-{span}", video_id=video) for video in ("v1", "v2", "v3") for span in ("0-5", "1-6")
    ]
    assert held == [True, True, True, False, False, True]


def test_none_holds_out_nothing_and_says_so_loudly(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert not read_split("none").holds_out("v-0-5", video_id="v")
    assert "NO CLIP IS HELD OUT" in caplog.text


def test_missing_file_other_columns_and_other_kinds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no .*b\.parquet"):
        read_split(str(tmp_path / "b.parquet"))
    with pytest.raises(ConfigError, match="'kind': 'shot'"):
        read_split(write_split(tmp_path / "c.parquet", ("shot", "v1")))
    pq.write_table(pa.table({"name": ["v1"]}), tmp_path / "d.parquet")
    with pytest.raises(ConfigError, match="the columns kind and id"):
        read_split(str(tmp_path / "d.parquet"))
    (tmp_path / "e.parquet").write_text("kind,id")
    with pytest.raises(ConfigError, match="no Parquet file"):
        read_split(str(tmp_path / "e.parquet"))
