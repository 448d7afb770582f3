"""Several folders of latents opened as one."""

import pickle
from pathlib import Path

import pytest
import torch

from tests.train.encoded import write_random_latents
from vpdata.dataset.latent_sets import open_latent_sets
from vpdata.dataset.latents import open_latents
from vpdata.errors import StorageError


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    """Six clips each, the higher ids in the first folder, and a folder of none."""
    write_random_latents(tmp_path / "one", first_clip=100)
    write_random_latents(tmp_path / "two", first_clip=200)
    write_random_latents(tmp_path / "none", num_clips=0)
    return [str(tmp_path / name) for name in ("two", "none", "one")]


def test_windows_read_as_from_their_own_folder(folders: list[str]) -> None:
    joined = pickle.loads(pickle.dumps(open_latent_sets(folders)))
    apart = [(one, window) for one in map(open_latents, sorted(folders)) for window in one.windows]
    assert [one.clip_id for one in joined.windows] == [f"clip-{base + k}" for base in (100, 200) for k in range(6)]
    assert len({window.shard for window in joined.windows}) == 2
    for window, (own, its) in zip(joined.windows, apart, strict=True):
        assert window.clip_id == its.clip_id
        got, wanted = joined.read(window), own.read(its)
        assert torch.equal(got.video, wanted.video)
        assert torch.equal(got.texts["clip"], wanted.texts["clip"])


def test_damage_is_named_with_its_folder(folders: list[str]) -> None:
    shard = Path(folders[0], "shards", "latents-000000.tar")
    shard.write_bytes(shard.read_bytes()[:1000])
    joined = open_latent_sets(folders)
    with pytest.raises(StorageError, match=r"two/shards/latents-000000\.tar.*cut short"):
        joined.read(joined.windows[-1])
