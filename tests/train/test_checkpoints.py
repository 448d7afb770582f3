"""Checkpoints that count only when they are whole."""

import binascii
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch.distributed.checkpoint import FileSystemReader

from tests.train.fixtures import RandomBatches, backbone, settings_for
from tests.train.processes import FINGERPRINT, train_here, train_in_processes
from vpdata.errors import ConfigError, RunError, StorageError
from vpdata.train.batch import Batch
from vpdata.train.checkpoint_files import check_sums, read_facts
from vpdata.train.checkpoints import CheckpointSettings
from vpdata.train.output import held_output
from vpdata.train.train import fit
from vpdata.train.world import joined_world


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def output(tmp_path) -> Path:
    """A training that stopped at step 9, with checkpoints at 8 and 9."""
    train_here(settings_for(tmp_path, stop_at_step=9))
    return tmp_path


def names(output: Path) -> list[str]:
    return sorted(path.name for path in (output / "checkpoints").iterdir())


def test_the_last_ones_are_kept(output):
    assert names(output) == ["step-00000008", "step-00000009"]


def test_those_at_chosen_steps_are_kept_too(tmp_path):
    checkpoints = CheckpointSettings(every_steps=2, keep_last=2, keep_every_steps=4)
    train_here(settings_for(tmp_path, checkpoints=checkpoints))
    assert names(tmp_path) == ["step-00000004", "step-00000008", "step-00000010", "step-00000012"]


def test_chosen_steps_at_which_no_checkpoint_is_written_are_refused():
    with pytest.raises(ValueError, match="keep_every_steps 6, wanted a multiple of every_steps 4"):
        CheckpointSettings(every_steps=4, keep_every_steps=6)


def test_checkpoint_holds_what_is_trained_and_nothing_of_the_backbone(output):
    entries = FileSystemReader(output / "checkpoints" / "step-00000009").read_metadata().state_dict_metadata
    roots = {key.removeprefix("model.").split(".")[0] for key in entries if key.startswith("model.")}
    assert roots == {"patch_embedding", "blocks", "outputs"}
    assert {key.split(".")[0] for key in entries} == {"model", "optimizer"}


def test_half_written_checkpoint_does_not_count(output):
    aside = output / "checkpoints" / ".aside-step-00000010"
    aside.mkdir()
    (aside / "__0_0.distcp").write_bytes(b"half")
    train_here(settings_for(output, stop_at_step=11))
    assert names(output) == ["step-00000009", "step-00000011"]


def test_checkpoint_cut_in_half_is_named_with_the_way_out(output):
    damaged = output / "checkpoints" / "step-00000009" / "__0_0.distcp"
    size = damaged.stat().st_size
    damaged.write_bytes(damaged.read_bytes()[: size // 2])
    with pytest.raises(RunError, match=rf"__0_0.distcp is cut short: got {size // 2} bytes, wanted {size}; remove"):
        train_here(settings_for(output))


def damage(file: Path) -> None:
    """Turn one bit in its middle."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("name", ["__0_0.distcp", ".metadata"])
def test_checkpoint_with_a_bit_turned_is_named_with_the_way_out(output, name):
    newest = output / "checkpoints" / "step-00000009"
    damage(newest / name)
    with pytest.raises(
        RunError, match=rf"{name} is damaged: got the CRC-32 \w{{8}}, wanted \w{{8}}; remove this folder"
    ):
        train_here(settings_for(output))
    shutil.rmtree(newest)
    train_here(settings_for(output, stop_at_step=10))
    assert names(output) == ["step-00000008", "step-00000010"]


def test_checksums_are_those_of_another_tool(output):
    newest = output / "checkpoints" / "step-00000009"
    facts = json.loads((newest / "checkpoint.json").read_text())
    assert {name: f"{binascii.crc32((newest / name).read_bytes()):08x}" for name in facts["files"]} == facts["crc32"]


def test_checkpoint_without_checksums_is_refused(output):
    path = output / "checkpoints" / "step-00000009" / "checkpoint.json"
    facts = json.loads(path.read_text())
    del facts["crc32"]
    path.write_text(json.dumps(facts))
    with pytest.raises(RunError, match="has no crc32, so its files cannot be checked; remove this folder"):
        train_here(settings_for(output))


def test_every_file_is_checked_by_one_of_many_processes(output):
    newest = output / "checkpoints" / "step-00000009"
    facts = read_facts(newest)
    for name in facts["files"]:
        damage(newest / name)
    checked = [told_by(check_sums, newest, facts, rank=rank, world_size=3) for rank in range(3)]
    assert sorted(name for told in checked for name in facts["files"] if name in told) == sorted(facts["files"])
    assert checked.count("") == 3 - len(facts["files"])


def told_by(task: Callable[..., None], *arguments: object, **options: object) -> str:
    try:
        task(*arguments, **options)
    except RunError as error:
        return str(error)
    return ""


def test_step_that_was_saved_is_not_saved_again(tmp_path):
    # Step 4 is saved because it is due, and the training stops behind it.
    train_here(settings_for(tmp_path, stop_at_step=4))
    first = (tmp_path / "checkpoints" / "step-00000004" / "checkpoint.json").stat()
    train_here(settings_for(tmp_path, stop_at_step=4))
    again = (tmp_path / "checkpoints" / "step-00000004" / "checkpoint.json").stat()
    assert (again.st_ino, again.st_mtime_ns) == (first.st_ino, first.st_mtime_ns)


def test_what_a_kill_leaves_of_a_removed_checkpoint_is_removed_later(output, monkeypatch):
    def killed(path: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            train_here(settings_for(output))
    assert names(output) == [".aside-removed-step-00000008", "step-00000009", "step-00000012"]
    train_here(settings_for(output))
    assert names(output) == ["step-00000009", "step-00000012"]


class SeesItsLeaseTaken(RandomBatches):
    """After five steps another training holds the output."""

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[list[Batch]]:
        for step, batches in enumerate(super().epoch(epoch, start=start)):
            if epoch * 5 + start + step == 5:
                content = json.loads((self.folder / "lease.json").read_text()) | {"id": "other", "host": "elsewhere"}
                (self.folder / "lease.json").write_text(json.dumps(content))
            yield batches


def test_training_that_has_lost_its_output_writes_no_more_checkpoints(tmp_path):
    SeesItsLeaseTaken.folder = tmp_path
    net = backbone()
    with (
        joined_world("cpu") as world,
        held_output(tmp_path, world=world) as lease,
        pytest.raises(RunError, match=r"has lost its lease \(held by elsewhere"),
    ):
        fit(
            settings_for(tmp_path),
            backbone=net,
            fingerprint=FINGERPRINT,
            batches=SeesItsLeaseTaken(net),
            validation=None,
            world=world,
            stop=threading.Event(),
            lease=lease,
        )
    assert "step-00000008" not in names(tmp_path)


@pytest.mark.slow
def test_damaged_checkpoint_stops_all_processes(output):
    (output / "checkpoints" / "step-00000009" / "checkpoint.json").write_text("{")
    assert train_in_processes(settings_for(output), num_processes=2, micro=1) == [1, 1]


def test_position_is_that_of_the_data(output):
    facts = json.loads((output / "checkpoints" / "step-00000009" / "checkpoint.json").read_text())
    # Epochs have five steps.
    assert (facts["position"]["epoch"], facts["position"]["epoch_step"]) == (1, 4)


@pytest.mark.slow
def test_output_that_cannot_be_written_to_is_refused_by_all_processes(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(ConfigError, match="taken"):
        train_here(settings_for(tmp_path / "taken" / "output"))
    (tmp_path / "checkpoints").write_text("a file")
    with pytest.raises(ConfigError, match="cannot write checkpoints"):
        train_here(settings_for(tmp_path))
    assert train_in_processes(settings_for(tmp_path), num_processes=2, micro=1) == [1, 1]


class LosesItsDisk(RandomBatches):
    """After three steps the folder of checkpoints is gone, and cannot be made again."""

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[list[Batch]]:
        for step, batches in enumerate(super().epoch(epoch, start=start)):
            if step == 3:
                shutil.rmtree(self.folder)
                self.folder.write_text("a file")
            yield batches


def test_checkpoint_that_cannot_be_written_stops_the_training(tmp_path):
    LosesItsDisk.folder = tmp_path / "checkpoints"
    with pytest.raises(StorageError, match="checkpoint step-00000004 could not be written"):
        train_here(settings_for(tmp_path), kind=LosesItsDisk)
