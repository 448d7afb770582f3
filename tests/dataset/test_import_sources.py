"""`sources.csv`: which video each file of the published layout was cut from, out and in again."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import vpdata
from tests.dataset.published import CAPTION, VIDEO_URI, VIDEOVO, run_samples, write_csv
from vpdata.dataset.check import check
from vpdata.dataset.export import export
from vpdata.dataset.import_videopainter import import_videopainter
from vpdata.dataset.run import read_rows
from vpdata.errors import ConfigError
from vpdata.records import Source, video_id


@pytest.fixture
def exported(published, tmp_path) -> Path:
    """Two clips of one video and one of another, as files of their own."""
    export(import_videopainter(published, tmp_path / "first"), tmp_path / "vp", format="videopainter")
    return tmp_path / "vp"


def sources_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "sources.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_sources(folder: Path, lines: list[dict[str, str]]) -> None:
    with (folder / "sources.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(lines[0]))
        table.writeheader()
        table.writerows(lines)


def test_clips_of_one_source_are_so_after_export_and_import(exported, tmp_path):
    whose = {"licence": "CC-BY-4.0", "attribution": 'Ann, "A" & Bo'}
    lines = [line | whose if line["uri"] == VIDEO_URI else line for line in sources_of(exported)]
    write_sources(exported, lines)
    run = import_videopainter(exported, tmp_path / "run")
    assert check(run) == []
    first = {sample.id: sample.record.clip for sample in vpdata.open_dataset(tmp_path / "first")}
    assert {one.id for one in run_samples(run)} == first.keys() >= {f"{video_id(VIDEO_URI)}-1000-1667"}
    for sample in run_samples(run):
        clip = sample.record.clip
        facts = whose if clip.video.uri == VIDEO_URI else {}
        assert clip.video == replace(first[sample.id].video, **facts)
        assert (clip.start_s, clip.stop_s) == pytest.approx((first[sample.id].start_s, first[sample.id].stop_s))
    sources = {source.uri: (source.licence, source.attribution) for source in run.sources()}
    assert sources == {VIDEO_URI: tuple(whose.values()), f"videovo/raw_video/000005000/{VIDEOVO}": (None, None)}
    assert len(list(run.sources())) == 2


def test_file_that_is_said_to_be_the_clip_of_another_is_a_reject(exported, tmp_path):
    lines = sources_of(exported)
    of_both = [line for line in lines if line["uri"] == VIDEO_URI]
    moved = of_both[0] | {"path": of_both[1]["path"]}
    write_sources(exported, [moved if line is of_both[1] else line for line in lines])
    for folder, end in (("pexels/pexels/raw_video/000000000", ""), ("video_inpainting/pexels", "/all_masks.npz")):
        one, other = (f"{line['path'][:-4] if end else line['path']}{end}" for line in (of_both[0], moved))
        shutil.copy(exported / folder / one, exported / folder / other)
    write_csv(exported, [(line["path"], 0, 12, 12, 300, CAPTION) for line in (of_both[0], moved)])
    run = import_videopainter(exported, tmp_path / "run")
    assert check(run) == []
    assert [one.detail for one in run.rejects("cut")] == [
        f"{moved['path']}: a file before it gave the clip {video_id(VIDEO_URI)}-0-1000"
    ]


def test_file_without_a_line_is_its_own_source(exported, tmp_path):
    lines = sources_of(exported)
    write_sources(exported, lines[1:])
    run = import_videopainter(exported, tmp_path / "run")
    uris = {one.record.clip.video.uri for one in run_samples(run)}
    assert f"pexels/pexels/raw_video/000000000/{lines[0]['path']}" in uris
    assert check(run) == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"id": "../x"}, "wanted an id of lower-case letters"),
        ({"id": "a" * 104}, "at most 103"),
        ({"uri": ""}, "wanted a uri"),
        ({"start_s": "nan"}, "wanted seconds from 0 on"),
        ({"start_s": "-1"}, "wanted seconds from 0 on"),
        ({"start_s": "soon"}, "could not convert string to float: 'soon'"),
        ({"duration_s": "inf"}, "wanted seconds from 0 on"),
        ({"num_frames": "0"}, "wanted counts above 0"),
        ({"size_bytes": "9" * 30}, "wanted counts above 0"),
        ({"fps": "1/0"}, "wanted one with another denominator"),
        ({"fps": "1e999999999"}, "got fps '1e999999999'"),
        ({"content_hash": "0"}, "wanted a content_hash of 64 hex digits"),
        ({"licence": "of mine"}, "is described before as another"),
    ],
)
def test_bad_line_of_sources_is_refused_by_its_number(exported, tmp_path, changed, words):
    lines = sorted(sources_of(exported), key=lambda line: line["uri"])
    write_sources(exported, [lines[0], lines[1] | changed, lines[2]])
    with pytest.raises(ConfigError, match=f"sources.csv:3: .*{words}"):
        import_videopainter(exported, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_sources_without_a_column_are_refused(exported, tmp_path):
    write_sources(exported, [{"path": "a", "id": "b"}])
    with pytest.raises(ConfigError, match=r"got no column attribution, caption.*the file is optional: move it away"):
        import_videopainter(exported, tmp_path / "run")
    (exported / "sources.csv").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"got no readable CSV.*the file is optional: move it away"):
        import_videopainter(exported, tmp_path / "run")


def test_parts_of_few_sources_are_bounded_by_their_files(exported, tmp_path):
    """Three sources of 40 files each, all gone: a part ends behind the source of its 64th file."""
    line, names = sources_of(exported)[0], [f"{number:012d}_1.mp4" for number in range(120)]
    of_three = [line | {"path": name, "id": f"film-{index // 40}"} for index, name in enumerate(names)]
    write_sources(exported, of_three)
    (exported / "pexels_videovo_test_dataset.csv").unlink()
    write_csv(exported, [(name, 0, 12, 12, 300, CAPTION) for name in names])
    run = import_videopainter(exported, tmp_path / "run")
    folder = run.stage_folder("source")
    per_part = [[row.id for row in read_rows(folder, f"{part}.parquet", Source)] for part in run.parts("source")]
    assert per_part == [["film-0", "film-1"], ["film-2"]]
