from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest

from tests.report.conftest import make_packed_run
from vpdata.cli import main
from vpdata.dataset.run import Run
from vpdata.errors import ConfigError, RunError
from vpdata.report import ReportSettings, write_report
from vpdata.storage import Folder

SETTINGS = ReportSettings(loop_s=0.25, loop_short_side_px=32)


@pytest.fixture
def small_run(tmp_path: Path) -> Run:
    return make_packed_run(tmp_path / "run", num_clips=3)


def report_files(run: Run) -> dict[str, bytes]:
    root = Path(run.folder.uri)
    paths = [root / "report.html", *(root / "report").rglob("*")]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths if path.is_file()}


def chunk(run: Run, name: str) -> list | dict:
    text = run.folder.child("report/data").read(f"{name}.js").decode("ascii")
    head = f'vpdata.receive("{name}",'
    assert text.startswith(head)
    assert text.endswith(");\n")
    return json.loads(text.removeprefix(head).removesuffix(");\n"))


def test_report_is_equal_for_equal_runs_and_leaves_nothing_old(small_run: Run) -> None:
    write_report(small_run.folder, SETTINGS)
    first = report_files(small_run)
    small_run.folder.write("report/media/old.mp4", b"left by an older report")
    write_report(small_run.folder, SETTINGS)
    assert report_files(small_run) == first


def test_report_has_the_media_and_data_of_its_clips(small_run: Run) -> None:
    assert write_report(small_run.folder, SETTINGS) == "report.html"
    clips = chunk(small_run, "clips")
    files = report_files(small_run)
    assert len(clips) == 3
    assert {f"report/media/{clip['id']}.{suffix}" for clip in clips for suffix in ("jpg", "mp4")} == {
        name for name in files if name.startswith("report/media/")
    }
    assert set(chunk(small_run, "details-0000")) == {clip["id"] for clip in clips}
    assert len(chunk(small_run, "rejects")) == 6
    assert len(files["report.html"]) < 200_000


def test_the_command_prints_where_the_page_is(small_run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", small_run.folder.uri, "--sample", "1"]) == 0
    page = Path(capsys.readouterr().out.strip())
    assert page == Path(small_run.folder.uri) / "report-sample.html"
    assert page.exists()


def test_sample_is_bounded_and_only_so_many_play(small_run: Run) -> None:
    write_report(small_run.folder, ReportSettings(max_clips=2, max_loops=1, max_rejects=4, loop_s=0.25))
    assert [clip["loop"] for clip in chunk(small_run, "clips")] == [True, False]
    assert len(chunk(small_run, "rejects")) == 4
    assert sum(name.endswith(".mp4") for name in report_files(small_run)) == 1


def test_policy_names_the_hash_of_the_script_and_of_the_style(small_run: Run) -> None:
    write_report(small_run.folder, SETTINGS)
    page = small_run.folder.read("report.html").decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    for text in (style, script):
        assert f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" in policy[1]
    assert "unsafe" not in policy[1]
    assert "http" not in policy[1]


def test_run_that_kept_nothing_still_has_a_report(tmp_path: Path) -> None:
    run = make_packed_run(tmp_path / "run", num_clips=1)
    for folder in ("index", "shards"):
        run.folder.child(folder).remove_all()
    write_report(run.folder, SETTINGS)
    assert chunk(run, "clips") == []
    assert len(chunk(run, "rejects")) == 6


def test_unfinished_run_is_named(small_run: Run) -> None:
    small_run.folder.remove("pack-plan.parquet")
    with pytest.raises(RunError, match="is not finished; run the same `vpdata build` or `vpdata import` again"):
        write_report(small_run.folder, SETTINGS)


def test_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a run"):
        write_report(Folder(tmp_path), SETTINGS)


def test_damaged_clip_is_named(small_run: Run) -> None:
    (shard, *_) = sorted(Path(small_run.folder.uri, "shards").iterdir())
    data = bytearray(shard.read_bytes())
    at = data.index(b"mdat") + 40
    data[at : at + 50] = bytes(50)
    shard.write_bytes(bytes(data))
    with pytest.raises(RunError, match=r"[0-9a-f]{16}-0-2000: .*damaged"):
        write_report(small_run.folder, SETTINGS)
    assert not small_run.folder.exists("report.html")


@pytest.mark.parametrize("count", [0, 51])
def test_single_file_holds_one_to_fifty_clips(small_run: Run, count: int) -> None:
    with pytest.raises(ConfigError, match=f"got --sample {count}, wanted 1 to 50"):
        write_report(small_run.folder, SETTINGS, single_file_sample=count)


@pytest.mark.parametrize(
    "wrong", [{"max_clips": -1}, {"loop_s": 0.0}, {"loop_short_side_px": 8}], ids=lambda wrong: next(iter(wrong))
)
def test_settings_out_of_range_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match="got"):
        ReportSettings(**wrong)
