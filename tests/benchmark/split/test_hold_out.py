"""A benchmark that was not made of a run is held out of it: by its files' bytes, by how it looks, by what it means."""

from __future__ import annotations

import csv
import io
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from benchmark.__main__ import main
from benchmark.footage import write_video
from tests.benchmark.benches import make_bench
from tests.dataset.published import write_csv
from tests.runs import RUN_CONFIG, make_footage, make_record, make_run, make_track
from vpdata import codec
from vpdata.config import ModelChoice
from vpdata.dataset import layout
from vpdata.dataset.check import check
from vpdata.dataset.import_videopainter import import_videopainter
from vpdata.dataset.reader import open_dataset
from vpdata.dataset.run import Run, parquet_bytes
from vpdata.dataset.shards import Member, PackEntry, TarWriter, write_shard
from vpdata.dataset.split import SplitFacts, read_rows_of_split, read_split, split_bytes
from vpdata.media.clips import ClipReader
from vpdata.media.phash import distance_frac
from vpdata.records import Record, Source
from vpdata.stages.cut import Cut, CutSettings
from vpdata.stages.scoring import Scoring
from vpdata.storage import Folder

NUM_FRAMES = 60
SAME, SCALED = "000000000001_1.mp4", "000000000002_2.mp4"
"""Videos of the published benchmark: one is in the run as it is, one in another encoding and size."""
RAW = "pexels/pexels/raw_video/000000000"


def film(seed):
    """The camera goes along a wide picture of smooth blots: uint8 [T, H, W, 3] RGB."""
    blots = np.random.default_rng(seed).integers(0, 255, (12, 60, 3)).astype(np.uint8)
    picture = cv2.resize(blots, (800, 96), interpolation=cv2.INTER_CUBIC)
    return np.stack([picture[:, 8 * frame : 8 * frame + 160] for frame in range(NUM_FRAMES)])


def scaled(frames):
    return np.stack([cv2.resize(frame, (120, 72), interpolation=cv2.INTER_AREA) for frame in frames])


def run_of(folder: Path, sources: dict[str, Path], *, embedder: ModelChoice | None = None) -> Run:
    """A run of videos, cut as a build cuts them; every clip has the tracks and captions of the drawn one."""
    run, stage = Run(Folder(folder)), Cut(CutSettings(min_s=2, scorer=None))
    stage.setup()
    drawn = make_record(0, mp4=b"", footage=make_footage(0))
    tar, members, records = io.BytesIO(), [], []
    writer = TarWriter(tar)
    for name, path in sources.items():
        for result in stage.process_many(iter([stage.prepare(Source(id=name, uri=f"{name}.mp4"), path)])):
            clip = result.record.clip
            track = make_track(1, "blot", np.ones((clip.num_frames, clip.height_px, clip.width_px), dtype=np.bool_))
            record = replace(drawn, id=clip.id, clip=clip, tracks=(track,), captions=(drawn.captions or ())[:1])
            records.append(embedded(record, result.members["mp4"], embedder) if embedder else record)
            members.append(writer.add(record.id, "mp4", result.members["mp4"]))
    writer.finish()
    detect = {"embedder": {"name": embedder.name, "options": embedder.options}} if embedder else {}
    config = {**RUN_CONFIG, "config": {"cut": {"min_s": 2.0}, "detect": detect}}
    run.folder.write(layout.RUN_CONFIG, yaml.safe_dump(config).encode())
    records.sort(key=lambda record: record.id)
    run.stage_folder("cut").write("part-00000.tar", tar.getvalue())
    run.stage_folder("cut").write("part-00000.members.parquet", parquet_bytes(codec.to_table(members, Member)))
    run.stage_folder("filter").write("part-00000.parquet", parquet_bytes(codec.to_table(records, Record)))
    plan = [PackEntry(clip_id=record.id, part="part-00000", shard=0) for record in records]
    run.folder.write(layout.PACK_PLAN, parquet_bytes(codec.to_table(plan, PackEntry)))
    write_shard(run, plan, shard=0)
    return run


def embedded(record: Record, mp4: bytes, embedder: ModelChoice) -> Record:
    scoring, reader = Scoring((), embedder), ClipReader(mp4)
    scoring.setup()
    frames = scoring.frames(reader.num_frames, fps=float(reader.fps))
    return scoring.measured(record, scoring.samples(dict(enumerate(reader.read())), frames))


def split_of(run):
    """Of the one file in `splits/`: its rows, and the ids of the videos of which a clip is left to train on."""
    (name,) = run.folder.child(layout.SPLITS).names()
    read = read_rows_of_split(run.folder.child(layout.SPLITS), name)
    assert read is not None
    split = read_split(f"{run.folder.uri}/splits/{name}")
    clips = [sample.record.clip for sample in open_dataset(run.folder.uri)]
    return read[1], {clip.video.id for clip in clips if not split.holds_out(clip.id, video_id=clip.video.id)}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Two videos, of each of which a case shows two seconds in the middle."""
    root = tmp_path_factory.mktemp("data")
    (root / RAW).mkdir(parents=True)
    rows = [
        ("path", "mask_id", "start_frame", "end_frame", "fps", "video_inpainting_prompt", "image_inpainting_prompt")
    ]
    for seed, name in enumerate((SAME, SCALED)):
        write_video(root / RAW / name, film(seed), fps=12)
        masks = root / "video_inpainting/pexels" / name.removesuffix(".mp4")
        masks.mkdir(parents=True)
        np.savez_compressed(masks / "all_masks.npz", np.ones((NUM_FRAMES, 96, 160), dtype=np.int32))
        rows.append((name, 1, 20, 44, 12, "Blots.", "a blot"))
    with (root / "our_video_inpaint.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return root


@pytest.fixture
def sources(published, tmp_path):
    write_video(tmp_path / "scaled.mp4", scaled(film(1)), fps=12)
    write_video(tmp_path / "other.mp4", film(2), fps=12)
    return {"mine-1": published / RAW / SAME, "mine-2": tmp_path / "scaled.mp4", "mine-3": tmp_path / "other.mp4"}


def test_videos_of_the_published_benchmark_are_found_by_their_bytes_and_by_the_clips_that_they_give(
    published, sources, tmp_path, capsys
):
    run = run_of(tmp_path / "run", sources)
    assert main(["hold-out", "--run", run.folder.uri, "--published", str(published)]) == 0
    said = capsys.readouterr().out
    assert "1 videos with 1 clips and 1 look-alikes are held out; 1 clips are left to train on" in said
    assert "warning: look-alikes were looked for by perceptual hash alone" in said
    rows, left = split_of(run)
    assert left == {"mine-3"}
    (alike,) = [row for row in rows if row.kind == "look_alike"]
    assert (alike.id, alike.like) == ("mine-2-0-5000", "published-000000000002-2-0-5000")
    phash_of = {row.id: row.phash for row in rows}
    (clip,) = [sample.record.clip for sample in open_dataset(run.folder.uri) if sample.record.id == alike.id]
    assert distance_frac(clip.phash, phash_of["published-000000000002-2-case-1"]) > 0.3, "the case alone is unlike it"
    assert check(run) == []
    # Without the rows that were found, `check` finds them.
    splits = run.folder.child(layout.SPLITS)
    (name,) = splits.names()
    facts, _ = read_rows_of_split(splits, name) or pytest.fail("it is a list of one's own")
    splits.write(name, split_bytes(facts, [row for row in rows if not row.id.startswith("mine")]))
    found = "\n".join(map(str, check(run)))
    assert "mine-1-0-5000 is of a video with the same bytes as the held-out video published-000000000001-1" in found
    assert "mine-2-0-5000 looks like published-000000000002-2-0-5000, which is held out" in found
    assert "mine-3" not in found


def test_sequences_of_davis_are_found(sources, tmp_path, capsys):
    sequence = tmp_path / "davis/JPEGImages/480p/dogs-jump"
    sequence.mkdir(parents=True)
    for index, frame in enumerate(film(2)):
        cv2.imwrite(str(sequence / f"{index:05d}.jpg"), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    write_video(tmp_path / "davis.mp4", scaled(film(2)), fps=24)
    run = run_of(tmp_path / "run", {**sources, "mine-3": tmp_path / "davis.mp4"})
    assert main(["hold-out", "--run", run.folder.uri, "--davis", str(tmp_path / "davis")]) == 0
    assert split_of(run)[1] == {"mine-1", "mine-2"}
    assert check(run) == []


def test_video_that_cannot_be_read_to_its_end_is_named_and_costs_no_other(published, tmp_path, caplog):
    shutil.copytree(published, tmp_path / "data")
    write_video(tmp_path / "data" / RAW / SCALED, film(1)[:30], fps=12)  # its case ends at frame 44
    run = run_of(tmp_path / "run", {"mine-1": published / RAW / SAME, "mine-2": tmp_path / "data" / RAW / SCALED})
    assert main(["hold-out", "--run", run.folder.uri, "--published", str(tmp_path / "data")]) == 0
    (warned,) = [line for line in caplog.messages if "cannot be read" in line]
    assert warned.startswith("s-000000000002-2-20-1 cannot be read, so that nothing is compared with it: ")
    assert split_of(run)[1] == set()


def test_case_whose_file_is_gone_is_named_and_costs_no_other(sources, tmp_path, caplog):
    theirs = make_bench(tmp_path / "bench", num_short=2, num_long=0, num_edits=0, num_frames=24).folder
    facts = SplitFacts(name="drawn", seed=0, look_alike_frac=0.2, look_alike_cosine=0.9)
    (theirs / "split.parquet").write_bytes(split_bytes(facts, []))
    (theirs / "videos/s-0.mp4").unlink()
    run = run_of(tmp_path / "run", {**sources, "mine-3": theirs / "videos/s-1.mp4"})
    assert main(["hold-out", "--run", run.folder.uri, "--bench", str(theirs)]) == 0
    (warned,) = [line for line in caplog.messages if "cannot be read" in line]
    assert warned.startswith("s-0 cannot be read, so that nothing is compared with it: ")
    assert split_of(run)[1] == {"mine-1", "mine-2"}


def test_a_benchmark_without_its_videos_is_held_out_of_nothing(sources, tmp_path, capsys):
    theirs = make_bench(tmp_path / "bench", num_short=2, num_long=0, num_edits=0, num_frames=24).folder
    facts = SplitFacts(name="drawn", seed=0, look_alike_frac=0.2, look_alike_cosine=0.9)
    (theirs / "split.parquet").write_bytes(split_bytes(facts, []))
    run = run_of(tmp_path / "run", {**sources, "mine-3": theirs / "videos/s-1.mp4"})
    (theirs / "videos").rename(tmp_path / "elsewhere")
    assert main(["hold-out", "--run", run.folder.uri, "--bench", str(theirs)]) == 1
    assert "none of its 2 cases can be read, so that nothing would be held out" in capsys.readouterr().err
    assert not run.folder.child(layout.SPLITS).names()


def test_spans_of_the_published_benchmark_are_found_in_an_import(published, tmp_path):
    shutil.copytree(published, tmp_path / "data", ignore=shutil.ignore_patterns("our_*.csv"))
    write_video(tmp_path / "data" / RAW / SCALED, film(1) // 2, fps=12)  # of other bytes, and darker
    rows = [(name, first, first + 24, 12, 1, "Blots.") for name, first in ((SAME, 0), (SCALED, 20), (SCALED, 0))]
    write_csv(tmp_path / "data", rows)
    run = import_videopainter(tmp_path / "data", tmp_path / "run")
    assert main(["hold-out", "--run", run.folder.uri, "--published", str(published)]) == 0
    split = read_split(f"{run.folder.uri}/splits/{run.folder.child(layout.SPLITS).names()[0]}")
    clips = [sample.record.clip for sample in open_dataset(run.folder.uri)]
    held = [clip for clip in clips if split.holds_out(clip.id, video_id=clip.video.id)]
    spans = sorted((clip.video.uri, round(clip.start_s * 12)) for clip in held)
    assert spans == [(f"{RAW}/{SAME}", 0), (f"{RAW}/{SCALED}", 20)]
    assert check(run) == []


@pytest.mark.slow  # it imports open_clip
def test_film_that_was_cut_at_other_times_is_found_by_its_embedding(published, sources, tmp_path, capsys):
    from tests.models.tiny_clip import save_tiny_clip

    (tmp_path / "clip").mkdir()
    options = {"weights": str(save_tiny_clip(tmp_path / "clip")), "device": "cpu", "dtype": "float32"}
    write_video(tmp_path / "late.mp4", film(1)[25:], fps=12)
    # A CLIP of random weights tells light from dark, if not much else.
    write_video(tmp_path / "dark.mp4", film(2) // 8, fps=12)
    late = {**sources, "mine-2": tmp_path / "late.mp4", "mine-3": tmp_path / "dark.mp4"}
    run = run_of(tmp_path / "run", late, embedder=ModelChoice(name="openclip", options=options))
    assert main(["hold-out", "--run", run.folder.uri, "--published", str(published)]) == 0
    assert "perceptual hash alone" not in capsys.readouterr().out
    rows, left = split_of(run)
    assert left == {"mine-3"}
    (alike,) = [row for row in rows if row.kind == "look_alike"]
    assert alike.distance_frac > 0.3
    assert alike.cosine > 0.9
    assert check(run) == []
    other = {
        **RUN_CONFIG,
        "config": {"detect": {"embedder": {"name": "openclip", "options": {**options, "revision": "2"}}}},
    }
    run.folder.write(layout.RUN_CONFIG, yaml.safe_dump(other).encode())
    assert main(["hold-out", "--run", run.folder.uri, "--published", str(published)]) == 1
    assert "only embeddings of one model compare" in capsys.readouterr().err


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """Of three of the four videos of a run, and then moved away from it."""
    root = tmp_path_factory.mktemp("theirs")
    run = make_run(root / "theirs", num_clips=4)
    small = ("num_short=3", "short_s=1", "num_long=0", "num_short_edits=0", "num_long_edits=0")
    sets = [part for one in (*small, "max_held_out_frac=0.75", "look_alike_frac=0") for part in ("--set", one)]
    assert main(["make", "--run", run.folder.uri, *sets]) == 0
    return shutil.move(root / "theirs/vpbench", root / "vpbench")


def test_benchmark_of_another_run_is_held_out_by_the_split_that_was_written_with_it(bench, tmp_path, capsys):
    # The same four videos, and four of other bytes that look like them.
    run = make_run(tmp_path / "mine", num_clips=8)
    assert main(["hold-out", "--run", run.folder.uri, "--bench", str(bench)]) == 0
    assert "3 videos with 3 clips and 3 look-alikes are held out; 2 clips are left" in capsys.readouterr().out
    (name,) = run.folder.child(layout.SPLITS).names()
    assert name.startswith("vpbench-")
    assert check(run) == []
    assert main(["hold-out", "--run", run.folder.uri, "--bench", str(bench)]) == 0
    assert run.folder.child(layout.SPLITS).names() == [name], "its name is the benchmark's and of its content"


def test_benchmark_without_its_split_is_refused(bench, tmp_path, capsys):
    shutil.copytree(bench, tmp_path / "vpbench")
    (tmp_path / "vpbench/split.parquet").unlink()
    run = make_run(tmp_path / "mine", num_clips=1)
    assert main(["hold-out", "--run", run.folder.uri, "--bench", str(tmp_path / "vpbench")]) == 1
    assert "has no split.parquet, which says what its videos look like: make it again" in capsys.readouterr().err
