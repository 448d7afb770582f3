"""An import that was stopped goes on, and no other into its folder."""

from __future__ import annotations

import pytest

from tests.dataset.published import CAPTION, PEXELS, VIDEO_URI, VIDEOVO, files_of, write_csv
from vpdata.dataset import lease
from vpdata.dataset.import_videopainter import import_videopainter
from vpdata.errors import RunError

PACKED = ("pack-plan.parquet", "index/vpdata-000000.parquet", "shards/vpdata-000000.tar", "stats.json", "README.md")


@pytest.mark.parametrize(
    ("undone", "half_written", "used_up"),
    [
        (("5-filter/part-00001.parquet", *PACKED), "1-cut/part-00001.tar", [VIDEO_URI]),
        (PACKED[1:2], PACKED[2], [VIDEO_URI, f"videovo/raw_video/000005000/{VIDEOVO}"]),
    ],
    ids=["in a part", "in a shard"],
)
def test_stopped_import_goes_on_with_what_is_whole(in_two_parts, tmp_path, caplog, undone, half_written, used_up):
    import_videopainter(in_two_parts, tmp_path / "run")
    whole = files_of(tmp_path / "run")
    assert {"5-filter/part-00000.parquet", "5-filter/part-00001.parquet", *PACKED} < whole.keys()
    for name in undone:
        (tmp_path / "run" / name).unlink()
    (tmp_path / "run" / half_written).with_name(".aside-0").write_bytes(b"half")
    for name in used_up:
        # What is done cannot have been made again.
        (in_two_parts / name).unlink()
    assert "were done before" not in caplog.text
    import_videopainter(in_two_parts, tmp_path / "run")
    num_done = 1 if "5-filter/part-00001.parquet" in undone else 2
    assert f"{num_done} of 2 parts were done before and are left as they are; remove the folder" in caplog.text
    assert files_of(tmp_path / "run") == whole


def test_import_of_other_rows_does_not_go_on(published, tmp_path):
    run = import_videopainter(published, tmp_path / "run")
    before = files_of(tmp_path / "run")
    write_csv(published, [(PEXELS, 0, 12, 12.0, 7, CAPTION)])
    with pytest.raises(RunError, match="holds no import of the same CSVs"):
        import_videopainter(published, run.folder.uri)
    assert files_of(tmp_path / "run") == before


def test_two_imports_do_not_write_to_one_folder(published, tmp_path):
    run = import_videopainter(published, tmp_path / "run")
    with lease.hold(run.folder), pytest.raises(RunError, match="is in use by pid"):
        import_videopainter(published, run.folder.uri)
