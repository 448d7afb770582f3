"""One training on several folders of latents."""

from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tests.train.encoded import BACKBONE, NUM_CLIPS, write_config, write_random_latents
from vpdata.config import fill, read_yaml, with_overrides
from vpdata.errors import ConfigError, RunError
from vpdata.media.clips import ClipReader
from vpdata.train.batch import Batch
from vpdata.train.data import Data, DataSettings, open_data
from vpdata.train.planned import LoaderSettings
from vpdata.train.samples import SampleSettings, write_samples
from vpdata.train.settings import TrainSettings
from vpdata.train.train import train
from vpdata.train.world import joined_world

FIRST, SECOND = ({f"clip-{number}" for number in range(start, start + NUM_CLIPS)} for start in (0, NUM_CLIPS))
WIDTHS_PX = {"first": 48, "second": 64}


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """Two sets of other clips and another width, whose shards have the same name."""
    root = tmp_path_factory.mktemp("sets")
    write_random_latents(root / "first", width_px=WIDTHS_PX["first"])
    write_random_latents(root / "second", first_clip=NUM_CLIPS, width_px=WIDTHS_PX["second"])
    return {name: root / name for name in WIDTHS_PX}


def settings_in(folder: Path, *latents: Path, **changes: object) -> TrainSettings:
    """As from a config and a command line."""
    config = read_yaml(write_config(folder / "train.yaml", latents=Path(), output=folder / "out", **changes))
    listed = ", ".join(map(str, latents))
    return fill(TrainSettings, with_overrides(config, [f"data.latents=[{listed}]", "data.validation_frac=0.5"]))


def opened(settings: DataSettings, *, output: Path) -> Data:
    with joined_world("cpu") as world:
        return open_data(settings, backbone=BACKBONE, output=output, pairs=False, seed=1, world=world)


def data_of(*latents: Path, split: str | tuple[str, ...] = "none") -> DataSettings:
    loader = LoaderSettings(batch_size=2, micro_batch_size=2, num_threads=1)
    paths = tuple(map(str, latents))
    return DataSettings(latents=paths, split=split, validation_frac=0.3, loader=loader)


def batches_of(data: Data) -> list[Batch]:
    return [batch for step in data.train.epoch(0) for batch in step]


def test_training_on_two_folders_of_two_sizes_sees_clips_of_both(folders, tmp_path):
    settings = settings_in(tmp_path, *folders.values())
    assert train(settings) == "finished"
    data = opened(settings.data, output=tmp_path / "out")
    widths = {clip: batch.video.shape[-1] * 8 for batch in batches_of(data) for clip in batch.clip_ids}
    assert {width for clip, width in widths.items() if clip in FIRST} == {WIDTHS_PX["first"]}
    assert {width for clip, width in widths.items() if clip in SECOND} == {WIDTHS_PX["second"]}
    (samples,) = write_samples(settings, SampleSettings(num_clips=8, num_steps=1, guidance=1.0))
    shown = {path.stem: ClipReader(path.read_bytes()).read().shape[2] / 3 for path in samples.iterdir()}
    assert {width for clip, width in shown.items() if clip in FIRST} == {WIDTHS_PX["first"]}
    assert {width for clip, width in shown.items() if clip in SECOND} == {WIDTHS_PX["second"]}
    assert not shown.keys() & widths.keys()
    assert shown.keys() | widths.keys() == FIRST | SECOND


def test_clips_of_several_folders_are_what_each_folder_holds(folders, tmp_path):
    apart = [batches_of(opened(data_of(folder), output=tmp_path)) for folder in folders.values()]
    values = {clip: value for batches in apart for clip, value in values_of(batches).items()}
    together = batches_of(opened(data_of(*folders.values()), output=tmp_path))
    both = values_of(together)
    assert both.keys() & FIRST
    assert both.keys() & SECOND
    assert all(torch.equal(both[clip], values[clip]) for clip in both.keys() & values.keys())
    assert set(Counter(clip for batch in together for clip in batch.clip_ids).values()) == {1}


def values_of(batches: list[Batch]) -> dict[str, torch.Tensor]:
    """Of each clip its latents, which tell it from the others."""
    return {clip: video for batch in batches for clip, video in zip(batch.clip_ids, batch.video, strict=True)}


def test_order_of_the_list_changes_nothing(folders, tmp_path):
    one, other = (opened(data_of(*order), output=tmp_path) for order in (folders.values(), reversed(folders.values())))
    assert one.digest == other.digest
    for batch, same in zip(batches_of(one), batches_of(other), strict=True):
        assert (batch.clip_ids, batch.ordinals) == (same.clip_ids, same.ordinals)
        assert torch.equal(batch.video, same.video)


def test_training_goes_on_with_the_same_folders_and_no_others(folders, tmp_path):
    first, second = folders.values()
    assert train(settings_in(tmp_path, first, second, stop_at_step=3)) == "stopped"
    with pytest.raises(RunError, match="windows got"):
        train(settings_in(tmp_path, first, stop_at_step=4))
    write_random_latents(tmp_path / "third", first_clip=2 * NUM_CLIPS)
    with pytest.raises(RunError, match="windows got"):
        train(settings_in(tmp_path, first, second, tmp_path / "third", stop_at_step=4))
    assert train(settings_in(tmp_path, second, first, stop_at_step=4)) == "stopped"


def test_training_on_one_folder_goes_on_with_a_list_of_it(folders, tmp_path):
    one = str(folders["first"])
    listed = settings_in(tmp_path, folders["first"], stop_at_step=3)
    plain = replace(listed, stop_at_step=2, data=replace(listed.data, latents=one))
    assert train(plain) == "stopped"
    recorded = read_yaml(tmp_path / "out" / "run.yaml")
    assert (recorded["settings"]["data"]["latents"], recorded["windows"]) == ("first", "2cc665b97d9f003c")
    assert train(listed) == "stopped"


def test_clip_in_two_folders_is_refused_by_its_id(folders, tmp_path):
    write_random_latents(tmp_path / "third", first_clip=NUM_CLIPS - 1)
    with pytest.raises(RunError, match=r"sets\d+/first and .*/third both hold the clip clip-5, one of 6 .*leave one"):
        opened(data_of(folders["first"], folders["second"], tmp_path / "third"), output=tmp_path)
    with pytest.raises(RunError, match=r"/first and .*/first both hold the clip clip-0, one of 6"):
        opened(data_of(folders["first"], folders["first"]), output=tmp_path)


@pytest.mark.parametrize("is_reversed", [False, True])
def test_folders_of_different_backbones_are_refused_by_name(folders, tmp_path, is_reversed):
    write_random_latents(tmp_path / "other", first_clip=NUM_CLIPS, changed_fingerprint="0" * 16)
    order = [folders["first"], tmp_path / "other"]
    with pytest.raises(RunError, match=r"made with different backbones: got fingerprint .*0{16}") as caught:
        opened(data_of(*(order[::-1] if is_reversed else order)), output=tmp_path)
    assert all(str(folder) in str(caught.value) for folder in order)


def test_folders_of_different_frame_rates_are_refused(folders, tmp_path):
    write_random_latents(tmp_path / "faster", first_clip=NUM_CLIPS, fps=Fraction(16))
    with pytest.raises(ConfigError, match=r"faster: got windows of 16/1 and 8/1 frames a second, wanted one rate"):
        opened(data_of(folders["first"], tmp_path / "faster"), output=tmp_path)


def test_what_any_of_several_splits_holds_out_is_not_trained_on_and_folders_without_any_are_named(
    folders, tmp_path, caplog
):
    for name, kind, held_out in (("a", "video", "video-0"), ("b", "clip", "clip-11")):
        pq.write_table(pa.table({"kind": [kind], "id": [held_out]}), tmp_path / f"{name}.parquet")
    splits = tuple(str(tmp_path / f"{name}.parquet") for name in "ab")
    data = opened(data_of(*folders.values(), split=splits), output=tmp_path)
    seen = {
        clip
        for batches in (data.train, data.held_out())
        for step in batches.epoch(0)
        for batch in step
        for clip in batch.clip_ids
    }
    assert (FIRST | SECOND) - seen == {"clip-0", "clip-1", "clip-11"}
    assert "holds out nothing" not in caplog.text
    opened(data_of(*folders.values(), split=splits[0]), output=tmp_path)
    assert f"{folders['second']}: data.split holds out nothing of it" in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"latents": ()}, "got the folders .* wanted one or more of each"),
        ({"split": ()}, "wanted one or more of each"),
        ({"split": ("a.parquet", "none")}, "wanted files, or none alone"),
    ],
)
def test_lists_that_name_nothing_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        DataSettings(**{"latents": ("a",), "split": "none", **changes})
