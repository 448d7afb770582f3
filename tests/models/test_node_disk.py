"""Weights in a bucket are copied once per node, to a folder that is the user's alone."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from pathlib import Path

import pytest

from tests.models.local_hub import LocalHub
from tests.models.test_weights import FILES, PIPELINE, REPO, safetensors
from vpdata.errors import BackendError, StorageError
from vpdata.models.fetch import fetch
from vpdata.models.node_disk import node_folder
from vpdata.models.weights import local_weights
from vpdata.storage import Folder

pytest_plugins = ["tests.s3_server"]


@pytest.fixture
def hub(tmp_path) -> LocalHub:
    hub = LocalHub(tmp_path / "hub")
    hub.publish(REPO, FILES)
    return hub


@pytest.fixture
def node_disk(tmp_path, monkeypatch) -> Path:
    """The node's own disk: where temporary files go."""
    disk = tmp_path / "node"
    disk.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(disk))
    return disk


def test_a_folder_on_the_node_that_others_own_or_may_write_to_is_refused(node_disk):
    folder = node_folder()
    assert folder.is_relative_to(node_disk)
    assert node_folder() == folder
    for mode in (0o777, 0o770, 0o702):
        folder.chmod(mode)
        with pytest.raises(BackendError, match=rf"{folder}: got .*; remove it, or set TMPDIR to"):
            node_folder()
    folder.chmod(0o755)
    assert node_folder() == folder
    folder.rmdir()
    folder.write_bytes(b"")
    with pytest.raises(StorageError, match="set TMPDIR to"):
        node_folder()


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives folders away")
@pytest.mark.parametrize("is_link", [False, True])
def test_a_folder_on_the_node_of_another_user_is_refused(node_disk, tmp_path, is_link):
    folder = node_folder()
    if is_link:
        folder.rename(tmp_path / "elsewhere")
        folder.symlink_to(tmp_path / "elsewhere")
        assert node_folder() == folder
    os.chown(folder, 1234, 1234, follow_symlinks=False)
    with pytest.raises(BackendError, match=r"users \[.*1234\]"):
        node_folder()


def test_a_bucket_is_filled_and_copied_to_the_node_once(hub, bucket, node_disk, monkeypatch):
    monkeypatch.setenv("VPDATA_WEIGHTS", f"{bucket}/weights")
    fetch(REPO, to=Folder(f"{bucket}/weights"), hub=hub)
    folder = local_weights(REPO)
    assert folder.is_relative_to(node_disk)
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    copied_at = (folder / "model.safetensors").stat().st_mtime_ns
    assert local_weights(REPO) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == copied_at


def test_from_a_bucket_only_the_parts_that_are_opened_are_copied(hub, bucket, node_disk, monkeypatch):
    monkeypatch.setenv("VPDATA_WEIGHTS", f"{bucket}/weights")
    hub.publish("lab/pipeline", PIPELINE)
    fetch("lab/pipeline", to=Folder(f"{bucket}/weights"), hub=hub)
    folder = local_weights("lab/pipeline", only=("transformer/", "scheduler/"))
    assert folder.is_relative_to(node_disk)
    assert sorted(path.name for path in folder.iterdir()) == ["scheduler", "transformer"]
    assert (local_weights("lab/pipeline") / "vae").is_dir()


@pytest.mark.parametrize("content", [b"short", safetensors([1.5, -2.5])], ids=["cut short", "changed"])
def test_a_damaged_bucket_is_named_and_leaves_nothing_on_the_node(hub, bucket, node_disk, monkeypatch, content):
    monkeypatch.setenv("VPDATA_WEIGHTS", f"{bucket}/weights")
    shared = Folder(f"{bucket}/weights")
    fetch(REPO, to=shared, hub=hub)
    shared.write(f"{REPO}/model.safetensors", content)
    with pytest.raises(BackendError, match=rf"{bucket}/weights/{REPO}/model\.safetensors: got"):
        local_weights(REPO)
    fetch(REPO, to=shared, hub=hub)
    assert (local_weights(REPO) / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_a_damaged_copy_on_the_node_says_what_to_remove(hub, bucket, node_disk, monkeypatch):
    monkeypatch.setenv("VPDATA_WEIGHTS", f"{bucket}/weights")
    fetch(REPO, to=Folder(f"{bucket}/weights"), hub=hub)
    folder = local_weights(REPO)
    (folder / "config.json").write_bytes(b"")
    with pytest.raises(BackendError, match=f"remove {folder}"):
        local_weights(REPO)


def test_what_a_killed_copier_left_is_not_used(hub, bucket, node_disk, monkeypatch):
    monkeypatch.setenv("VPDATA_WEIGHTS", f"{bucket}/weights")
    fetch(REPO, to=Folder(f"{bucket}/weights"), hub=hub)
    folder = local_weights(REPO)
    folder.rename(folder.with_suffix(".aside"))
    (folder.with_suffix(".aside") / "config.json").write_bytes(b"half")
    assert (local_weights(REPO) / "config.json").read_bytes() == FILES["config.json"]


def test_a_store_that_is_down_is_nobodys_fault(bucket_of_a_dead_store, monkeypatch):
    monkeypatch.setenv("VPDATA_WEIGHTS", f"{bucket_of_a_dead_store}/weights")
    with pytest.raises(StorageError):
        local_weights(REPO)


def test_processes_of_a_node_share_one_copy(hub, bucket, node_disk, monkeypatch):
    monkeypatch.setenv("VPDATA_WEIGHTS", f"{bucket}/weights")
    monkeypatch.setenv("TMPDIR", str(node_disk))
    fetch(REPO, to=Folder(f"{bucket}/weights"), hub=hub)
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        found = pool.map(_opened, [REPO] * 3)
    assert len({path for path, _ in found}) == 1
    assert len({inode for _, inode in found}) == 1
    assert found[0][0].startswith(str(node_disk))


def _opened(repo: str) -> tuple[str, int]:
    folder = local_weights(repo)
    return str(folder), (folder / "model.safetensors").stat().st_ino
