"""A training is warned of data that none of its splits knows."""

from __future__ import annotations

import logging
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tests.runs import make_run, make_source
from tests.train.encoded import write_random_latents
from vpdata.dataset.unsplit import warn_of_unsplit


@pytest.fixture
def named(caplog):
    """Names of the folders that are warned of, given folders and splits."""

    def named(folders: list[Path], *splits: Path | str) -> list[str]:
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            warn_of_unsplit([str(one) for one in folders], [str(one) for one in splits])
        lines = [record.getMessage() for record in caplog.records if "hold-out" in record.getMessage()]
        return [Path(line.partition(":")[0]).name for line in lines]

    return named


def split(path: Path, video: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table({"kind": ["video"], "id": [video]}), path)
    return path


def test_run_is_named_unless_a_split_lies_in_it_or_holds_out_some_of_it(tmp_path, named):
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    for folder in (mine, theirs):
        make_run(folder, num_clips=1)
    elsewhere = split(tmp_path / "list.parquet", "other")
    assert named([mine, theirs], elsewhere) == ["mine", "theirs"]
    assert named([mine, theirs], elsewhere, split(mine / "splits/a.parquet", "other")) == ["theirs"]
    assert named([mine, theirs], split(tmp_path / "list.parquet", make_source(0).id)) == []
    assert named([mine, theirs], "none") == []


def test_run_and_its_split_may_be_written_in_two_ways(tmp_path, named, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "mine", num_clips=1)
    relative = split(tmp_path / "mine/splits/a.parquet", "other").relative_to(tmp_path)
    (tmp_path / "link").symlink_to("mine")
    for folder in ("./mine", "mine/", "link", tmp_path / "mine"):
        for one in (relative, f"./{relative}", f"mine/../{relative}", tmp_path / relative):
            assert named([folder], one) == []
    assert named(["./mine"], split(tmp_path / "list.parquet", "other").name) == ["mine"]


def test_latents_are_named_unless_a_split_holds_out_some_of_them_or_did_when_they_were_encoded(tmp_path, named):
    first, second = tmp_path / "first", tmp_path / "second"
    write_random_latents(first)
    write_random_latents(second, first_clip=6)
    known = split(tmp_path / "list.parquet", "video-0")
    assert named([first, second], known) == ["second"]
    for encoded_under, expected in (("none", ["second"]), ("vpbench.parquet", [])):
        config = yaml.safe_load((second / "latents.yaml").read_text())
        config["config"] = {"data": {"split": encoded_under}}
        (second / "latents.yaml").write_text(yaml.safe_dump(config))
        assert named([first, second], known) == expected
