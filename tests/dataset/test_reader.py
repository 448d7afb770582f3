"""Reading samples back, against the footage they were made of."""

from __future__ import annotations

import json
import pickle
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

import vpdata
from tests.runs import HEIGHT_PX, NUM_FRAMES, WIDTH_PX, make_footage, make_run, make_source
from vpdata.cli import main
from vpdata.dataset import annotations, layout
from vpdata.dataset.index import read_index
from vpdata.dataset.reader import INDEX_COLUMNS, Dataset
from vpdata.dataset.window import decode_window
from vpdata.errors import RunError, StorageError
from vpdata.storage import Folder

SEEDS = {make_source(seed).id + "-0-2000": seed for seed in range(5)}


class CountingFolder(Folder):
    """A folder that tells how often it was read."""

    num_reads = 0

    def read_range(self, name: str, offset: int, num_bytes: int) -> bytes:
        self.num_reads += 1
        return super().read_range(name, offset, num_bytes)


@pytest.fixture(scope="module")
def dataset(finished_run) -> Dataset:
    return vpdata.open_dataset(finished_run.folder.uri)


def first_shard(run) -> Path:
    return run.folder.child(layout.SHARDS).path(layout.shard_file(0))


def test_iteration_gives_every_clip_once_in_id_order(dataset):
    assert [sample.id for sample in dataset] == dataset.ids == sorted(SEEDS)
    assert len(dataset) == 5


def test_frames_are_those_that_were_encoded(dataset):
    for sample in dataset:
        assert sample.frames.shape == (NUM_FRAMES, HEIGHT_PX, WIDTH_PX, 3)
        assert sample.frames.dtype == np.uint8
        # Chroma is stored at half size, so colours differ at the squares' edges.
        error = np.abs(sample.frames.astype(int) - make_footage(SEEDS[sample.id]).frames)
        assert np.median(error) <= 3
        assert error.mean() < 6


def test_masks_labels_and_captions_are_the_true_ones(dataset):
    for sample in dataset:
        truth = make_footage(SEEDS[sample.id]).masks
        assert [track.label for track in sample.tracks] == list(truth)
        assert [track.caption for track in sample.tracks] == [f"a {label}" for label in truth]
        for track in sample.tracks:
            assert np.array_equal(track.masks, truth[track.label])
            assert np.array_equal(track.mask(7), truth[track.label][7])
            assert track.mask(-1).sum() == truth[track.label][-1].sum()
        assert sample.captions[0].text == f"Clip {SEEDS[sample.id]}: a red square crosses a blue one."


def test_frame_where_the_object_is_absent_has_no_run_lengths(dataset):
    blue = dataset[0].record.tracks[0]
    assert [counts is None for counts in blue.masks] == [False] * (NUM_FRAMES - 6) + [True] * 6


def test_window_holds_the_same_pixels_as_the_whole(dataset):
    for start, stop in ((0, 1), (5, 9), (NUM_FRAMES - 1, NUM_FRAMES), (0, NUM_FRAMES)):
        assert np.array_equal(dataset[2].read_frames(start, stop), dataset[2].frames[start:stop])


@pytest.mark.parametrize("span", [(-1, 3), (3, 3), (5, 4), (0, NUM_FRAMES + 1)])
def test_window_outside_the_clip_is_refused(dataset, span):
    with pytest.raises(IndexError, match="0:24"):
        dataset[0].read_frames(*span)


def test_window_costs_one_ranged_read_and_annotations_one_more(finished_run):
    index_folder = finished_run.folder.child(layout.INDEX)
    folder = CountingFolder(f"{finished_run.folder.uri}/{layout.SHARDS}")
    dataset = Dataset(folder, read_index(index_folder, index_folder.names(), INDEX_COLUMNS))
    dataset[3].read_frames(4, 8)
    assert folder.num_reads == 1
    sample = dataset[3]
    assert sample.tracks[0].masks.any()
    assert sample.captions
    assert folder.num_reads == 2


@pytest.mark.parametrize("inside", ["", "/", "/shards", "/index/"])
def test_run_folder_and_the_folders_in_it_open_alike(finished_run, inside):
    assert len(vpdata.open_dataset(finished_run.folder.uri + inside)) == 5


def test_one_shard_opens_alone(finished_run):
    assert vpdata.open_dataset(f"{finished_run.folder.uri}/shards/vpdata-000002.tar").ids == sorted(SEEDS)[4:]


def test_relative_paths_open(finished_run, monkeypatch):
    monkeypatch.chdir(finished_run.folder.uri)
    assert len(vpdata.open_dataset(".")) == len(vpdata.open_dataset("shards")) == 5
    assert len(vpdata.open_dataset("shards/vpdata-000000.tar")) == 2
    monkeypatch.chdir(f"{finished_run.folder.uri}/shards")
    assert len(vpdata.open_dataset("vpdata-000000.tar")) == 2


def test_run_that_still_lacks_a_shard_is_refused_but_its_shards_open(run):
    run.folder.remove("index/vpdata-000001.parquet")
    with pytest.raises(RunError, match=r"2 of the 3 shards.*`vpdata build` or `vpdata import` again"):
        vpdata.open_dataset(run.folder.uri)
    assert len(vpdata.open_dataset(f"{run.folder.uri}/shards")) == 3


def test_finished_run_that_kept_nothing_is_an_empty_data_set(tmp_path):
    dataset = vpdata.open_dataset(make_run(tmp_path / "run", num_clips=0).folder.uri)
    assert len(dataset) == 0
    assert list(dataset) == []


def test_find_select_and_slice_give_the_named_clips(dataset):
    ids = dataset.ids
    assert dataset.find(ids[3]).id == ids[3]
    assert dataset.select({ids[4], ids[1]}).ids == [ids[1], ids[4]]
    assert dataset[1:4].ids == ids[1:4]
    assert repr(dataset[1:4]).startswith("Dataset('/")
    assert repr(dataset[1:4]).endswith("/run/shards', num_samples=3)")
    assert dataset[-1].id == ids[-1]
    with pytest.raises(KeyError, match="no-such-clip"):
        dataset.find("no-such-clip")
    with pytest.raises(KeyError, match="no-such-clip"):
        dataset.select({ids[0], "no-such-clip"})
    with pytest.raises(IndexError):
        dataset[5]
    with pytest.raises(TypeError, match=rf"got the sample '{ids[3]}', wanted a position; dataset.find\(id\) looks one"):
        dataset[ids[3]]


def test_nothing_chosen_is_an_empty_data_set(dataset):
    for nothing in (dataset[0:0], dataset[5:], dataset.select([]), dataset[0:0][:].select(())):
        assert (len(nothing), nothing.ids, list(nothing)) == (0, [], [])


def test_clips_are_listed_from_the_index_alone(run, capsys):
    for shard in run.folder.child(layout.SHARDS).path("").iterdir():
        shard.unlink()
    assert main(["inspect", run.folder.uri]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert listed == [f"{clip}  2.00 s  blue square  red square" for clip in sorted(SEEDS)]
    assert main(["inspect", f"{run.folder.uri}/shards/vpdata-000002.tar"]) == 0
    assert capsys.readouterr().out.splitlines() == listed[4:]


def test_dataset_travels_to_a_worker(dataset):
    assert pickle.loads(pickle.dumps(dataset))[1].record == dataset[1].record


def test_folder_without_an_index_says_what_was_wanted(tmp_path):
    with pytest.raises(RunError, match="wanted a run folder"):
        vpdata.open_dataset(tmp_path)


def test_index_of_another_schema_version_is_refused(run):
    path = run.folder.child(layout.INDEX).path(layout.index_file(0))
    # The key and its value stand in the Parquet footer as text of fixed length.
    path.write_bytes(path.read_bytes().replace(b"vpdata.schema_version\x18\x011", b"vpdata.schema_version\x18\x019"))
    with pytest.raises(RunError, match="schema version 9"):
        vpdata.open_dataset(run.folder.uri)


def test_what_a_later_release_adds_to_a_record_is_passed_over(dataset):
    record = dataset[0].record
    members = annotations.encode(record)
    plain = json.loads(members["json"])
    plain["scores"].append({"name": "depth", "value": 0.5, "model": "later 1"})
    plain["clip"]["later"] = plain["later"] = 1
    assert annotations.decode(json.dumps(plain).encode(), members["masks.json"], where="here") == record


def test_shard_cut_short_is_a_clear_error(run):
    shard = first_shard(run)
    shard.write_bytes(shard.read_bytes()[:9000])
    with pytest.raises(StorageError, match=r"vpdata-000000.tar.*cut short"):
        vpdata.open_dataset(run.folder.uri)[1].read_frames(0, 4)


def test_damaged_mp4_is_a_clear_error(run):
    dataset = vpdata.open_dataset(run.folder.uri)
    start = first_shard(run).read_bytes().index(dataset[0].mp4)
    with first_shard(run).open("r+b") as file:
        file.seek(start)
        file.write(bytes(200))
    with pytest.raises(RunError, match=r"vpdata-000000.tar: .*damaged"):
        vpdata.open_dataset(run.folder.uri)[0].read_frames(0, 4)


def test_damage_inside_the_pictures_is_a_clear_error(run):
    """A decoder conceals it: every frame comes, and some are smeared."""
    sample = vpdata.open_dataset(run.folder.uri)[0]
    start = first_shard(run).read_bytes().index(sample.mp4)
    damaged = bytearray(sample.mp4)
    damaged[len(damaged) * 3 // 4] ^= 0xFF
    with first_shard(run).open("r+b") as file:
        file.seek(start)
        file.write(damaged)
    assert decode_window(bytes(damaged), 0, NUM_FRAMES).frames.shape == sample.frames.shape
    dataset = vpdata.open_dataset(run.folder.uri)
    with pytest.raises(RunError, match=rf"vpdata-000000\.tar: {sample.id}: the mp4 is damaged.*vpdata check"):
        _ = dataset[0].frames
    with pytest.raises(RunError, match=r"the mp4 is damaged"):
        dataset[0].read_frames(0, 1)
    with pytest.raises(RunError, match=r"the mp4 is damaged"):
        _ = dataset[0].checked_mp4
    assert dataset[0].mp4 == damaged
    assert dataset[1].frames.shape == sample.frames.shape


def test_shard_that_does_not_belong_to_its_index_is_a_clear_error(run):
    shutil.copy(run.folder.child(layout.SHARDS).path(layout.shard_file(1)), first_shard(run))
    with pytest.raises(RunError, match="vpdata check"):
        _ = vpdata.open_dataset(run.folder.uri)[0].record


def test_run_lengths_that_would_overrun_the_frame_are_refused(run):
    dataset = vpdata.open_dataset(run.folder.uri)
    with tarfile.open(first_shard(run)) as tar:
        info = tar.getmembers()[1]
    data = bytearray(first_shard(run).read_bytes())
    counts = data.index(b'"counts":"', info.offset_data) + len('"counts":"')
    data[counts : counts + 2] = b"oo"
    first_shard(run).write_bytes(data)
    with pytest.raises(RunError, match=f"{dataset[0].id}: track 1"):
        _ = vpdata.open_dataset(run.folder.uri)[0].tracks[0].masks
