from fractions import Fraction

import numpy as np
import pytest
import torch

from vpdata.dataset.latent_sets import open_latent_sets
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
from vpdata.errors import ConfigError, StorageError
from vpdata.train import planned
from vpdata.train.captions import TextSettings
from vpdata.train.latent_batches import latent_batches
from vpdata.train.planned import LoaderSettings

HEIGHT, WIDTH, STRIDE = 16, 24, 8
TEXT_DIM, TEXT_LENGTH = 4, 6
EMPTY_TEXT = torch.full((2, TEXT_DIM), -1.0)
WINDOWS = {"first": 9, "last": 9, "target": 9, "source": 5}
FACTS = LatentFacts(
    fingerprint="0123456789abcdef",
    family="cogvideox",
    latent_channels=2,
    stride_t=4,
    stride_px=STRIDE,
    text_dim=TEXT_DIM,
    takes_first_frame=False,
)


def union_of(number, variant, num_frames):
    """One pixel of the frame, another one for every clip, variant and latent frame."""
    union = np.zeros((num_frames, HEIGHT, WIDTH), dtype=bool)
    for frame in range(num_frames):
        union[frame, (number + frame) % HEIGHT, (3 * variant + frame) % WIDTH] = True
    return union


def encoded_clip(number, *, names=tuple(WINDOWS), hole_fracs=(0.1, 0.2), first_frame=None):
    """A clip whose tensors say where they come from: clip, window, variant."""
    clip_id, windows, members = f"clip-{number:03d}", [], {}
    for place, name in enumerate(names):
        num_frames = WINDOWS[name] // 4 + 1
        windows.append(
            EncodedWindow(
                clip_id=clip_id,
                video_id=f"video-{number // 2}",
                name=name,
                start_frame=0,
                fps=Fraction(8),
                num_frames=WINDOWS[name],
                height_px=HEIGHT,
                width_px=WIDTH,
                num_variants=len(hole_fracs),
                hole_fracs=hole_fracs,
                variant_kinds=("track", "box"),
                variant_tracks=((7,), ()),
                pair={"target": "source", "source": "target"}.get(name),
            )
        )
        shape = (2, num_frames, HEIGHT // STRIDE, WIDTH // STRIDE)
        masked = [torch.full(shape, 100.0 + variant) for variant in range(len(hole_fracs))]
        members[name] = window_member(
            video=torch.full(shape, float(number * 4 + place)),
            masked=[] if name == "source" else masked,
            unions=[union_of(number, variant, num_frames) for variant in range(len(hole_fracs))],
            first_frame=first_frame,
        )
    texts = {"clip": torch.full((3, TEXT_DIM), float(number)), "7": torch.full((5, TEXT_DIM), 50.0 + number)}
    return EncodedClip(id=clip_id, windows=tuple(windows)), clip_members(members, texts)


def written(folder, clips, *, clips_per_shard=2):
    write_latents(folder, FACTS, clips, clips_per_shard=clips_per_shard)
    return open_latents(folder)


def batches_of(dataset, *, batch_size=2, drop_frac=0.0, object_frac=0.0, seed=0, **options):
    return latent_batches(
        dataset,
        text=TextSettings(drop_frac=drop_frac, object_frac=object_frac),
        empty_text=EMPTY_TEXT,
        text_length=TEXT_LENGTH,
        loader=LoaderSettings(batch_size=batch_size, micro_batch_size=batch_size, num_threads=2),
        seed=seed,
        **options,
    )


def samples_of(batches, epochs=1):
    return [batch for epoch in range(epochs) for step in batches.epoch(epoch) for batch in step]


def test_a_batch_holds_what_was_encoded(tmp_path):
    dataset = written(tmp_path, [encoded_clip(number) for number in range(4)])
    batches = samples_of(batches_of(dataset))
    assert sorted(clip for batch in batches for clip in batch.clip_ids) == sorted(
        2 * [f"clip-{number:03d}" for number in range(4)]
    )
    assert {kind for batch in batches for kind in batch.mask_kinds} == {"track", "box"}
    for batch in batches:
        assert batch.video.shape == batch.masked.shape == (2, 2, 3, 2, 3)
        assert batch.packed_mask.shape == (2, STRIDE**2, 3, 2, 3)
        assert batch.text.shape == (2, TEXT_LENGTH, TEXT_DIM)
        assert batch.first_frame is None
        assert batch.source is None
        for place, clip_id in enumerate(batch.clip_ids):
            number = int(clip_id[-3:])
            variant = ["track", "box"].index(batch.mask_kinds[place])
            assert float(batch.video[place].unique()) in (number * 4, number * 4 + 1)
            assert float(batch.masked[place].unique()) == 100 + variant
            # Cell (row, column) of frame f, channel 8 * row in the cell + column in the cell.
            wanted = torch.zeros(STRIDE**2, 3, 2, 3)
            for frame in range(3):
                row, column = (number + frame) % HEIGHT, (3 * variant + frame) % WIDTH
                wanted[8 * (row % 8) + column % 8, frame, row // 8, column // 8] = 1
            assert torch.equal(batch.packed_mask[place].float(), wanted)
            assert torch.equal(batch.text[place, :3], torch.full((3, TEXT_DIM), float(number)).bfloat16())
            assert not batch.text[place, 3:].any()


def test_captions_are_the_objects_own_or_the_empty_one(tmp_path):
    dataset = written(tmp_path, [encoded_clip(number) for number in range(4)])
    for batch in samples_of(batches_of(dataset, object_frac=1.0)):
        for place, kind in enumerate(batch.mask_kinds):
            number = int(batch.clip_ids[place][-3:])
            assert batch.text[place, 0, 0] == (50 + number if kind == "track" else number)
    for batch in samples_of(batches_of(dataset, drop_frac=1.0)):
        assert batch.text[:, :2].unique().tolist() == [-1]
        assert not batch.text[:, 2:].any()


@pytest.mark.parametrize("num_folders", [1, 2])
def test_pairs_give_the_target_with_its_source(tmp_path, num_folders):
    clips = [encoded_clip(0), encoded_clip(1, names=("first",)), encoded_clip(2)]
    folders = [tmp_path / str(number) for number in range(num_folders)]
    for number, folder in enumerate(folders):
        write_latents(folder, FACTS, clips[number::num_folders])
    dataset = open_latent_sets([str(folder) for folder in folders])
    batches = samples_of(batches_of(dataset, pairs=True), epochs=3)
    assert {clip for batch in batches for clip in batch.clip_ids} == {"clip-000", "clip-002"}
    for batch in batches:
        assert batch.source is not None
        assert batch.source.video.shape == (2, 2, 2, 2, 3)
        for place, clip_id in enumerate(batch.clip_ids):
            number, variant = int(clip_id[-3:]), ["track", "box"].index(batch.mask_kinds[place])
            assert batch.video[place].unique() == number * 4 + 2
            assert batch.source.video[place].unique() == number * 4 + 3
            packed = torch.from_numpy(union_of(number, variant, 2)).float()
            wanted = torch.nn.functional.pixel_unshuffle(packed.unsqueeze(1), STRIDE).transpose(0, 1)
            assert torch.equal(batch.source.packed_mask[place].float(), wanted)


def test_variants_without_a_hole_are_never_taken(tmp_path):
    dataset = written(tmp_path, [encoded_clip(number, hole_fracs=(0.0, 0.2)) for number in range(4)])
    batches = batches_of(dataset)
    assert {kind for batch in samples_of(batches) for kind in batch.mask_kinds} == {"box"}
    assert not batches.skipped


def test_windows_without_any_hole_are_replaced_and_counted(tmp_path):
    clips = [encoded_clip(number, hole_fracs=(0.0, 0.0) if number == 1 else (0.1, 0.1)) for number in range(4)]
    batches = batches_of(written(tmp_path, clips))
    assert "clip-001" not in {clip for batch in samples_of(batches) for clip in batch.clip_ids}
    assert batches.skipped["empty mask"] >= 2


def test_damaged_members_are_replaced_and_a_shard_cut_short_stops(tmp_path, monkeypatch):
    monkeypatch.setattr(planned, "RETRY_AFTER_S", (0.0, 0.0, 0.0))
    dataset = written(tmp_path, [encoded_clip(number) for number in range(6)])
    window = next(one for one in dataset.windows if one.clip_id == "clip-002" and one.name == "first")
    shard = tmp_path / "shards" / window.shard
    data = bytearray(shard.read_bytes())
    data[window.offset : window.offset + 8] = b"\xff" * 8
    shard.write_bytes(data)
    batches = batches_of(dataset)
    assert len(samples_of(batches)) == 6
    assert batches.skipped["damaged"] >= 1
    shard.write_bytes(data[:100])
    with pytest.raises(StorageError, match=shard.name):
        samples_of(batches)


def test_world_sizes_and_resumes_take_the_same_samples(tmp_path):
    dataset = written(tmp_path, [encoded_clip(number) for number in range(8)])

    def facts(batch):
        return batch.ordinals, batch.clip_ids, batch.mask_kinds, float(batch.video[0, 0, 0, 0, 0]), batch.text.tolist()

    def all_of(world_size, start=0):
        loader = LoaderSettings(batch_size=4, micro_batch_size=1, num_threads=2)
        text = TextSettings(drop_frac=0.3, object_frac=0.5)
        found = []
        for rank in range(world_size):
            batches = latent_batches(
                dataset,
                text=text,
                empty_text=EMPTY_TEXT,
                text_length=TEXT_LENGTH,
                loader=loader,
                seed=5,
                rank=rank,
                world_size=world_size,
            )
            found += [facts(batch) for step in batches.epoch(0, start=start) for batch in step]
        return sorted(found)

    alone = all_of(1)
    assert len(alone) == 16
    assert all_of(2) == all_of(4) == alone
    assert all_of(2, start=2) == alone[8:]


def test_a_given_first_frame_is_handed_on(tmp_path):
    given = GivenFrame(latents=torch.full((6, 3, 2, 3), 9.0), image_tokens=torch.full((5, 4), 8.0))
    dataset = written(tmp_path, [encoded_clip(number, first_frame=given) for number in range(2)])
    for batch in samples_of(batches_of(dataset)):
        assert batch.first_frame is not None
        assert batch.first_frame.latents.shape == (2, 6, 3, 2, 3)
        assert batch.first_frame.image_tokens is not None
        assert batch.first_frame.image_tokens.shape == (2, 5, 4)
        moved = batch.to("cpu", torch.float32)
        assert moved.first_frame is not None
        assert moved.first_frame.latents.dtype == moved.packed_mask.dtype == moved.text.dtype == torch.float32


def test_only_the_windows_asked_for_are_taken(tmp_path):
    dataset = written(tmp_path, [encoded_clip(number) for number in range(4)])
    asked_for = np.array([window.clip_id < "clip-002" for window in dataset.windows])
    batches = samples_of(batches_of(dataset, chosen=asked_for))
    assert {clip for batch in batches for clip in batch.clip_ids} == {"clip-000", "clip-001"}
    with pytest.raises(ConfigError, match="no windows to train on"):
        batches_of(dataset, chosen=np.zeros(len(dataset.windows), dtype=bool))
