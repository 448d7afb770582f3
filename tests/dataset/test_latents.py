"""Latents written and read back, against the tensors that went in."""

from __future__ import annotations

import dataclasses
import pickle
import tarfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from vpdata.dataset.latents import (
    EncodedClip,
    EncodedWindow,
    GivenFrame,
    LatentFacts,
    clip_members,
    open_latents,
    window_member,
    write_latents,
)
from vpdata.errors import RunError, StorageError
from vpdata.storage import filesystem

FACTS = LatentFacts(
    fingerprint="0123456789abcdef", family="cogvideox", latent_channels=4, stride_t=4, stride_px=8, text_dim=6,
    takes_first_frame=True,
)  # fmt: skip
SIZE = (3, 16, 24)
"""Latent frames of a window of 9 frames, height and width in pixels."""


def tensors_of(seed: int) -> dict:
    """Random content of one window with two variants."""
    generator = torch.Generator().manual_seed(seed)
    latents = lambda: torch.randn(4, 3, 2, 3, generator=generator).to(torch.bfloat16)  # noqa: E731
    rng = np.random.default_rng(seed)
    return {
        "video": latents(),
        "masked": [latents(), latents()],
        "unions": [rng.random(SIZE) < 0.3, rng.random(SIZE) < 0.7],
        "first_frame": GivenFrame(latents=latents(), image_tokens=torch.ones(5, 7, dtype=torch.bfloat16)),
    }


def make_window(clip: str, name) -> EncodedWindow:
    return EncodedWindow(
        clip_id=clip, video_id="v", name=name, start_frame=3, fps=Fraction(8), num_frames=9, height_px=16, width_px=24,
        num_variants=2, hole_fracs=(0.3, 0.7), variant_kinds=("track", "brush"), variant_tracks=((2,), ()),
    )  # fmt: skip


@pytest.fixture
def written(tmp_path: Path) -> dict:
    """Three clips of two windows each, two clips a shard; (clip, window) to its tensors, and clip to its texts."""
    truth, clips = {}, []
    for number in range(3):
        clip = f"clip-{number}"
        truth[clip] = {"clip": torch.full((2 + number, 6), 1.5), "1": torch.full((4, 6), -2.0)}
        members = {}
        for name in ("first", "last"):
            truth[clip, name] = tensors_of(len(truth))
            members[name] = window_member(**truth[clip, name])
        row = EncodedClip(id=clip, windows=tuple(make_window(clip, name) for name in ("first", "last")))
        clips.append((row, clip_members(members, truth[clip])))
    write_latents(tmp_path, FACTS, clips, clips_per_shard=2)
    return truth


def test_every_window_reads_back_as_it_was_written(written: dict, tmp_path: Path) -> None:
    latents = pickle.loads(pickle.dumps(open_latents(tmp_path)))
    assert latents.facts == FACTS
    assert [(one.clip_id, one.name) for one in latents.windows] == [key for key in written if isinstance(key, tuple)]
    for window in latents.windows:
        sample, truth = latents.read(window), written[window.clip_id, window.name]
        assert torch.equal(sample.video, truth["video"])
        assert all(torch.equal(one, other) for one, other in zip(sample.masked, truth["masked"], strict=True))
        assert all(np.array_equal(one, other) for one, other in zip(sample.unions, truth["unions"], strict=True))
        assert torch.equal(sample.first_frame.latents, truth["first_frame"].latents)
        assert torch.equal(sample.first_frame.image_tokens, truth["first_frame"].image_tokens)
        assert sample.texts.keys() == written[window.clip_id].keys()
        for name, text in sample.texts.items():
            assert torch.equal(text.float(), written[window.clip_id][name])


def test_index_points_at_the_bytes_that_tarfile_and_safetensors_read(written: dict, tmp_path: Path) -> None:
    latents = open_latents(tmp_path)
    assert {one.shard for one in latents.windows} == {"latents-000000.tar", "latents-000001.tar"}
    for window in latents.windows:
        with tarfile.open(tmp_path / "shards" / window.shard) as tar:
            member = tar.getmember(f"{window.clip_id}.{window.name}.safetensors")
            text = tar.getmember(f"{window.clip_id}.text.safetensors")
            content = tar.extractfile(member).read()
        assert (window.offset, window.num_bytes) == (member.offset_data, member.size)
        assert (window.text_offset, window.text_num_bytes) == (text.offset_data, text.size)
        truth = written[window.clip_id, window.name]
        assert torch.equal(safetensors.torch.load(content)["masked.1"], truth["masked"][1])


def test_latents_in_a_bucket_read_the_same(written: dict, tmp_path: Path) -> None:
    store = filesystem("memory")
    store.put(str(tmp_path), "/latents", recursive=True)
    local, remote = open_latents(tmp_path), open_latents("memory://latents")
    for window, other in zip(local.windows, remote.windows, strict=True):
        assert window == other
        assert torch.equal(local.read(window).masked[1], remote.read(other).masked[1])
    store.rm("/latents", recursive=True)


def test_windows_are_a_sequence(written: dict, tmp_path: Path) -> None:
    windows = open_latents(tmp_path).windows
    assert (len(windows), windows[-1].clip_id, windows[1].name) == (6, "clip-2", "last")
    assert [one.clip_id for one in windows[4:]] == ["clip-2", "clip-2"]
    assert (len(windows[6:]), list(windows[6:])) == (0, [])
    assert windows[0].variant_tracks == ((2,), ())
    with pytest.raises(IndexError):
        windows[6]


def test_latents_of_another_backbone_are_refused_by_name(written: dict, tmp_path: Path) -> None:
    open_latents(tmp_path, fingerprint=FACTS.fingerprint)
    with pytest.raises(RunError, match="got latents of the fingerprint 0123456789abcdef, wanted fedcba9876543210"):
        open_latents(tmp_path, fingerprint="fedcba9876543210")


def test_missing_and_damaged_index_are_refused(written: dict, tmp_path: Path) -> None:
    index = tmp_path / "index" / "latents-000001.parquet"
    content = index.read_bytes()
    index.write_bytes(content[: len(content) // 2])
    with pytest.raises(RunError, match=r"latents-000001.parquet is damaged"):
        open_latents(tmp_path)
    index.unlink()
    with pytest.raises(RunError, match="got the index of 1 shards, wanted 2"):
        open_latents(tmp_path)
    with pytest.raises(RunError, match=r"holds no latents\.yaml"):
        open_latents(tmp_path / "index")


def test_shard_cut_short_or_moved_bytes_are_errors_that_name_the_clip(written: dict, tmp_path: Path) -> None:
    latents = open_latents(tmp_path)
    shard = tmp_path / "shards" / "latents-000000.tar"
    with pytest.raises(RunError, match=r"latents-000000.tar: clip-0 first: got .* no safetensors file"):
        latents.read(dataclasses.replace(latents.windows[0], offset=0))
    shard.write_bytes(shard.read_bytes()[:2000])
    with pytest.raises(StorageError, match=r"latents-000000.tar.*cut short"):
        latents.read(latents.windows[1])
