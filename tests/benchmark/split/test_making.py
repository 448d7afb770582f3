"""A whole benchmark from a small run: what is written, what is held out, and what is said of what is missing."""

from __future__ import annotations

import base64
import csv
import shutil
import subprocess
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import yaml

from benchmark.__main__ import main
from benchmark.bench import FolderMedia, Sampling, open_bench
from benchmark.published import open_published
from benchmark.split.kept_config import build_config
from benchmark.split.settings import BenchSettings
from benchmark.split.write_published import write_published
from tests.caption_server import says, serving
from tests.runs import make_footage, make_run, make_source
from vpdata import codec
from vpdata.config import fill, read_yaml
from vpdata.dataset import layout
from vpdata.dataset.check import check
from vpdata.dataset.reader import open_dataset
from vpdata.dataset.run import Run, parquet_bytes, read_table
from vpdata.dataset.split import read_rows_of_split, read_split
from vpdata.records import Embedding, Record
from vpdata.storage import Folder

CONFIGS = Path(__file__).parents[3] / "configs"
SMALL = (
    "num_short=3", "short_s=1", "num_long=0", "num_short_edits=2", "num_long_edits=0", "max_held_out_frac=0.75",
    "look_alike_frac=0",
)  # fmt: skip


def make(run, output, *overrides, input_uri=None):
    """Exit status of the command."""
    sets = [part for one in (*SMALL, *overrides) for part in ("--set", one)]
    source = ["--input", str(input_uri)] if input_uri else []
    return main(["make", "--run", str(run), "--output", str(output), *source, *sets])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "mine", num_clips=4)


@pytest.fixture(scope="module")
def made(run, tmp_path_factory):
    output = tmp_path_factory.mktemp("bench") / "vpbench"
    assert make(run.folder.uri, output) == 0
    return output


def seed_of(case):
    return next(seed for seed in range(4) if make_source(seed).id == case.video_id)


def facts_of(folder):
    return yaml.safe_load((folder / "bench.yaml").read_text())


def contents(folder: Path):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_cases_show_the_true_masks_and_stem_from_as_many_videos(made):
    bench = open_bench(made)
    assert sorted(case.subset for case in bench.cases) == ["S", "S", "S", "edit-S", "edit-S"]
    assert len({case.video_id for case in bench.cases}) == 3
    fills = [case for case in bench.cases if case.subset == "S"]
    assert sorted(case.category for case in fills) == ["landscape", "multi", "object"]
    for case in fills:
        footage = make_footage(seed_of(case))
        shown = [footage.masks[label] for number, label in enumerate(footage.masks, 1) if number in case.tracks]
        truth = np.logical_or.reduce(shown)[: case.num_frames] if shown else None
        masks = bench.masks(case)
        if truth is not None:
            assert np.array_equal(masks, truth)
        else:
            assert not (masks & np.logical_or.reduce(list(footage.masks.values()))[: case.num_frames]).any()
        grey = [one.astype(float).mean(axis=3) for one in (bench.frames(case), footage.frames[: case.num_frames])]
        assert np.abs(grey[0] - grey[1]).mean() < 6


def test_split_holds_out_the_videos_and_check_proves_it(made, run):
    split = read_split(f"{run.folder.uri}/splits/vpbench.parquet")
    bench = open_bench(made)
    clips = [sample.record.clip for sample in open_dataset(run.folder.uri)]
    left = [clip for clip in clips if not split.holds_out(clip.id, video_id=clip.video.id)]
    assert len(left) == 1
    assert not {clip.video.id for clip in left} & {case.video_id for case in bench.cases}
    assert check(run) == []
    read = read_rows_of_split(run.folder.child("splits"), "vpbench.parquet")
    assert read is not None
    hash_of = {clip.video.id: clip.video.content_hash for clip in clips}
    assert {row.content_hash for row in read[1] if row.kind == "video"} == set(hash_of.values()) - {
        hash_of[clip.video.id] for clip in left
    }
    facts = facts_of(made)
    counts = {"num_videos": 3, "num_clips": 3, "num_look_alikes": 0, "num_left": 1}
    assert facts["held_out"] == {**counts, "has_embeddings": False}
    assert facts["run"]["name"] == "mine"


def test_published_protocol_is_the_default_and_what_is_set_changes_no_more(made, run, tmp_path):
    published = {"fps": "8/1", "height_px": 480, "width_px": 720, "num_frames": 49}
    assert facts_of(made)["sampling"] == published
    assert open_bench(made).sampling == Sampling(fps=Fraction(8), height_px=480, width_px=720, num_frames=49)
    assert make(run.folder.uri, tmp_path / "b", "name=fewer", "sampling.num_frames=13") == 0
    assert facts_of(tmp_path / "b")["sampling"] == {**published, "num_frames": 13}
    assert fill(BenchSettings, read_yaml(CONFIGS / "vpbench.yaml")) == BenchSettings()
    run.folder.child("splits").remove("fewer.parquet")


def test_clips_that_look_like_the_benchmark_are_held_out_too(run, tmp_path):
    assert make(run.folder.uri, tmp_path / "b", "name=alike", "look_alike_frac=0.25") == 0
    held_out = facts_of(tmp_path / "b")["held_out"]
    assert held_out["num_look_alikes"] >= 1, "the runs' squares move over one and the same ramp"
    assert check(run) == []
    run.folder.child("splits").remove("alike.parquet")


def test_a_run_without_embeddings_is_told_that_shifted_copies_are_missed(made, tmp_path, capsys):
    words = "look-alikes were looked for by perceptual hash alone"
    assert any(words in one for one in facts_of(made)["warnings"])
    run = make_run(tmp_path / "mine", num_clips=4)
    folder = run.stage_folder("filter")
    unit = Embedding(model="hand", values=base64.b64encode(np.array([0, 1], dtype="<f2").tobytes()).decode())
    for part in run.parts("filter"):
        records = codec.from_table(read_table(folder, layout.records_file(part)), Record)
        rows = [replace(record, embedding=unit) for record in records]
        folder.write(layout.records_file(part), parquet_bytes(codec.to_table(rows, Record)))
    assert make(run.folder.uri, tmp_path / "b", "num_short=1", "num_short_edits=1") == 0
    assert words not in capsys.readouterr().out
    facts = facts_of(tmp_path / "b")
    assert facts["held_out"]["has_embeddings"]
    assert not any(words in one for one in facts["warnings"])


def test_equal_runs_give_equal_bytes_whatever_their_order_of_work(made, run, tmp_path):
    other = make_run(tmp_path / "mine", num_clips=4, clips_per_part=3)
    assert make(other.folder.uri, tmp_path / "b") == 0
    assert contents(tmp_path / "b") == contents(made)
    split = "splits/vpbench.parquet"
    assert other.folder.read(split) == run.folder.read(split)
    assert make(other.folder.uri, tmp_path / "c", "seed=1") == 0
    # Not of all files: `bench.yaml` holds the seed itself.
    assert (tmp_path / "c/cases.parquet").read_bytes() != (made / "cases.parquet").read_bytes()


def test_small_run_gives_fewer_cases_and_says_so(run, tmp_path, capsys):
    assert make(run.folder.uri, tmp_path / "b", "name=big", "num_short=100", "max_held_out_frac=0.5") == 0
    facts = facts_of(tmp_path / "b")
    assert facts["sizes"]["S"] == 2
    assert any("S has 2 of 100 cases" in one for one in facts["warnings"])
    assert any("no case shows animal" in one for one in facts["warnings"])
    assert "warning: S has 2 of 100 cases" in capsys.readouterr().out
    run.folder.child("splits").remove("big.parquet")


def test_sources_that_are_gone_or_changed_are_listed_and_the_rest_is_made(run, tmp_path, capsys):
    folder = tmp_path / "sources"
    (folder / "footage").mkdir(parents=True)
    (folder / make_source(2).uri).write_bytes(b"another film")
    options = ("name=long", "num_long=1", "long_min_s=2", "long_max_s=2", "num_short_edits=0")
    assert make(run.folder.uri, tmp_path / "b", *options, input_uri=folder) == 0
    facts = facts_of(tmp_path / "b")
    assert {one["why"] for one in facts["unusable"]} == {"source_gone", "source_changed"}
    assert [one["id"].split("-")[0] for one in facts["unusable"] if one["why"] == "source_changed"] == [
        make_source(2).id
    ]
    assert len(facts["unusable"]) == 4
    assert facts["sizes"] == {"S": 3}
    assert any("L has 0 of 1 cases" in one for one in facts["warnings"])
    assert "source_gone" in capsys.readouterr().out
    run.folder.child("splits").remove("long.parquet")


def test_text_with_a_carriage_return_stays_one_row_of_the_published_layout(made, tmp_path):
    text = "A red square.\rIt goes left."  # nothing else in it asks for quotation marks
    case = replace(open_bench(made).cases[0], caption=text)
    write_published([case], FolderMedia(Folder(made)), Folder(tmp_path / "export"))
    (read,) = open_published(tmp_path / "export").cases
    assert read.caption == text


@pytest.mark.parametrize(("words", "told"), [("a red square", "a red square"), ("", "A red square goes left.")])
def test_every_region_has_words_in_the_published_layout(made, tmp_path, words, told):
    filling = next(case for case in open_bench(made).cases if not case.is_edit)
    case = replace(filling, caption="A red square goes left.", object_caption=words)
    write_published([case], FolderMedia(Folder(made)), Folder(tmp_path / "export"))
    with (tmp_path / "export/our_video_inpaint.csv").open(newline="") as file:
        assert [row["image_inpainting_prompt"] for row in csv.DictReader(file)] == [told]


def test_published_layout_beside_it_holds_the_same(made):
    ours, theirs = open_bench(made), open_published(made / "export")
    by_clip = {(case.subset, case.video_id.split("-", 1)[1]): case for case in theirs.cases}
    assert len(by_clip) == len(ours.cases)
    for case in ours.cases:
        other = by_clip[case.subset, case.id]
        for name in ("num_frames", "fps", "caption", "category", "operation", "instruction", "target_caption"):
            assert getattr(other, name) == getattr(case, name)
        assert np.array_equal(theirs.masks(other), ours.masks(case))
        assert np.abs(theirs.frames(other).astype(int) - ours.frames(case)).mean() < 2


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("num_long=1",), "give what the run was built from as --input"),
        (("short_s=60",), "none of its 4 clips can be a case"),
        (("num_shorts=1",), "unknown setting num_shorts, did you mean 'num_short'?"),
        (("num_short_edits=9",), "at most one edit of each"),
        (("name=../x",), "lower-case letters"),
    ],
)
def test_settings_that_cannot_be_met_are_refused(run, tmp_path, capsys, overrides, words):
    assert make(run.folder.uri, tmp_path / "b", *overrides) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "b" / "bench.yaml").exists()


@pytest.fixture
def foreign(run, tmp_path):
    """A copy of the run by somebody else, whose `run.yaml` names other models."""

    def named(**config):
        shutil.copytree(run.folder.uri, tmp_path / "foreign")
        kept = tmp_path / "foreign" / layout.RUN_CONFIG
        kept.write_text(yaml.safe_dump(yaml.safe_load(kept.read_text()) | {"config": config}))
        return tmp_path / "foreign"

    return named


@pytest.mark.parametrize("stage", ["caption", "detect"])
def test_a_run_does_not_choose_what_code_is_imported(foreign, tmp_path, monkeypatch, capsys, stage):
    (tmp_path / "planted.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    own = {"name": "planted:Settings"}
    run = foreign(**{stage: {"captioner": own} if stage == "caption" else {"scorers": [own]}})
    assert make(run, tmp_path / "output") == 1
    assert "run.yaml names planted:Settings, code that is not vpdata's" in capsys.readouterr().err
    assert not (tmp_path / "imported").exists()


SERVER = {"name": "openai", "options": {"base_url": "http://127.0.0.1:9/v1", "model": "a-vlm", "api_key_env": "A_KEY"}}


@pytest.mark.parametrize(
    ("config", "overrides", "named"),
    [
        ({"caption": {"captioner": SERVER}}, (), "the server http://127.0.0.1:9/v1"),
        ({"caption": {"captioner": SERVER}}, ("captioner={name: embedded}", "num_long=1"), "the server http://127.0"),
        ({"caption": {"rewriter": SERVER}}, ("num_long=1",), "the server http://127.0.0.1:9/v1"),
        ({"source": {"allow_private_hosts": True}}, ("num_long=1",), "source.allow_private_hosts"),
        (
            {"source": {"credentials": [{"host": "evil.example", "env": "A_KEY"}]}},
            ("num_long=1",),
            "source.credentials",
        ),
    ],
)
def test_a_run_does_not_choose_servers_and_keys(foreign, tmp_path, monkeypatch, capsys, config, overrides, named):
    monkeypatch.setenv("A_KEY", "sk-planted-0123456789")
    assert make(foreign(**config), tmp_path / "output", *overrides, input_uri=tmp_path) == 1
    told = capsys.readouterr().err
    assert "run.yaml " in told
    assert named in told
    assert "--build-config" in told


@pytest.mark.parametrize("override", ["captioner={name: embedded}", "num_short_edits=0"])
def test_what_a_run_names_and_nothing_asks_for_is_no_matter(foreign, tmp_path, override):
    run = foreign(caption={"captioner": SERVER}, source={"allow_private_hosts": True})
    assert make(run, tmp_path / "output", override) == 0


def test_the_run_yaml_of_an_import_names_no_models_when_it_is_given_either(foreign):
    folder = foreign(**{"import": {"format": "videopainter"}})
    assert build_config(Run(Folder(folder)), str(folder / layout.RUN_CONFIG)) is None


def test_a_server_is_asked_where_the_run_is_trusted(foreign, tmp_path, monkeypatch):
    monkeypatch.setenv("A_KEY", "sk-planted-0123456789")
    with serving() as server:
        server.choose = lambda prompt, number: says("no words")
        options = SERVER["options"] | {"base_url": server.base_url}
        run = foreign(caption={"captioner": SERVER | {"options": options}})
        sets = [part for one in SMALL for part in ("--set", one)]
        trusted = ["--build-config", str(run / layout.RUN_CONFIG)]
        main(["make", "--run", str(run), "--output", str(tmp_path / "output"), *sets, *trusted])
        assert server.asked


def test_make_asks_for_no_report_and_removes_no_benchmark(tmp_path):
    if shutil.which("make") is None:
        pytest.skip("needs make")
    # A dry run: it prints what it would do.
    command = ["make", "--dry-run", "vpbench", f"RUN={tmp_path}"]
    done = subprocess.run(command, cwd=CONFIGS.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"python -m benchmark make --run {tmp_path}" in done.stdout
    assert "rm " not in done.stdout


def test_unfinished_runs_and_other_folders_are_refused(made, run, tmp_path, capsys):
    unfinished = make_run(tmp_path / "unfinished", packed=False)
    assert make(unfinished.folder.uri, tmp_path / "b") == 1
    assert "shards that are planned" in capsys.readouterr().err
    assert make(tmp_path, tmp_path / "b") == 1
    assert "is not a run" in capsys.readouterr().err
    assert make(run.folder.uri, made) == 1
    assert "holds a benchmark already; to make it anew remove that folder first" in capsys.readouterr().err
    imported = make_run(tmp_path / "imported", num_clips=1)
    config = {"vpdata_version": "0.1.0", "config": {"import": {"format": "videopainter"}}, "models": []}
    imported.folder.write("run.yaml", yaml.safe_dump(config).encode())
    assert make(imported.folder.uri, tmp_path / "b", "num_long=1", input_uri=tmp_path) == 1
    assert "was imported: it has no detector or tracker" in capsys.readouterr().err
    assert make(imported.folder.uri, tmp_path / "imported/vpbench") == 0
    bare = make_run(tmp_path / "bare", num_clips=4)
    shutil.rmtree(tmp_path / "bare" / "1-cut")
    assert make(bare.folder.uri, tmp_path / "b") == 1
    assert "got no clips in 1-cut" in capsys.readouterr().err
