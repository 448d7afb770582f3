import logging
from collections import Counter
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from tests.runs import make_run
from vpdata.backbones.latent_masks import cells
from vpdata.backbones.loading import load_codec, load_text_encoder
from vpdata.backbones.settings import BackboneSettings
from vpdata.dataset.reader import open_dataset
from vpdata.dataset.training_windows import WindowSettings
from vpdata.errors import ConfigError, RunError
from vpdata.media.mask_mix import KindWeights, MaskMix
from vpdata.train.captions import TextSettings
from vpdata.train.online_batches import OnlineSettings, online_batches
from vpdata.train.planned import LoaderSettings
from vpdata.train.runs import open_runs

# Half the size of the clips of `tests.runs`, whose 24 frames at 12 fps are 16 steps at 8 fps.
HEIGHT, WIDTH = 32, 48
WINDOWS = WindowSettings(height_px=HEIGHT, width_px=WIDTH, num_frames=5, pairs=((5, 5, 5),))
NOTHING = {item.name: 0.0 for item in fields(KindWeights)}
PLAIN = MaskMix(
    weights=KindWeights(**(NOTHING | {"all_tracks": 1.0})), dilate_px=(0, 0), erode_frac=0.0, continued_frac=0.0
)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return str(make_run(tmp_path_factory.mktemp("run"), num_clips=4).folder.uri)


@pytest.fixture(scope="module")
def encoders():
    """Codec and text encoder of a tiny text-to-video and a tiny image-to-video backbone."""
    made = {}
    for name in ("cogvideox", "cogvideox-i2v"):
        settings = BackboneSettings(tiny=name, device="cpu", dtype="float32")
        made[name] = load_codec(settings), load_text_encoder(settings)
    return made


def batches_of(run, encoders, *, masks=PLAIN, windows=WINDOWS, batch_size=2, clips=None, **options):
    codec, text_encoder = encoders
    datasets, all_clips = open_runs([run] if isinstance(run, str) else run)
    return online_batches(
        datasets,
        all_clips if clips is None else clips,
        codec=codec,
        text_encoder=text_encoder,
        settings=OnlineSettings(windows=windows, masks=masks),
        text=options.pop("text", TextSettings(drop_frac=0.0, object_frac=0.0)),
        loader=LoaderSettings(batch_size=batch_size, micro_batch_size=options.pop("micro", batch_size), num_threads=2),
        seed=options.pop("seed", 0),
        **options,
    )


def samples_of(batches, epoch=0):
    return [batch for step in batches.epoch(epoch) for batch in step]


@pytest.fixture(scope="module")
def whole(run, encoders):
    """Both windows of all clips."""
    (batch,) = samples_of(batches_of(run, encoders["cogvideox"], batch_size=8))
    return batch


def halved(frames):
    """Mean over 2 x 2 pixels: what scaling to half the size should be."""
    return frames.reshape(len(frames), HEIGHT, 2, WIDTH, 2, -1).mean(axis=(2, 4))


def test_a_batch_is_what_its_frames_and_masks_encode_to(run, encoders, whole):
    codec, text_encoder = encoders["cogvideox"]
    dataset = open_dataset(run)
    batch = whole
    assert sorted(Counter(batch.clip_ids).values()) == [2, 2, 2, 2]
    starts = []
    for place, clip_id in enumerate(batch.clip_ids):
        sample = dataset.find(clip_id)
        # Steps 0 to 4 or 11 to 15 at 8 fps are the nearest of 12 fps: 1.5 frames a step, half way the later one.
        wanted = {start: [int(1.5 * (start + step) + 0.5) for step in range(5)] for start in (0, 11)}
        distances = {}
        for start, indices in wanted.items():
            video = torch.from_numpy(halved(sample.frames[indices])).float().permute(3, 0, 1, 2)[None] / 127.5 - 1
            masks = np.logical_or.reduce([track.masks[indices] for track in sample.tracks])
            hole = torch.from_numpy(halved(masks[..., None].astype(float))[..., 0] > 0.49)
            encoded = codec.encode(video)[0], codec.encode(video.masked_fill(hole, 0.0))[0]
            distances[start] = [
                float((got - wanted).abs().max())
                for got, wanted in zip((batch.video[place], batch.masked[place]), encoded, strict=True)
            ]
        start = min(distances, key=lambda one: distances[one][0])
        starts.append(start)
        # Pixels are rounded to bytes before they are encoded.
        assert max(distances[start]) < 0.1
    assert Counter(starts) == {0: 4, 11: 4}
    assert set(batch.mask_kinds) == {"all_tracks"}
    texts = text_encoder.encode([dataset.find(clip_id).captions[0].text for clip_id in batch.clip_ids])
    assert torch.allclose(batch.text, torch.stack(texts), atol=1e-5)


def test_the_hole_is_on_every_cell_that_an_object_touches(run, whole):
    dataset, batch = open_dataset(run), whole
    hole = cells(batch.packed_mask)[:, 0].bool()
    for place, clip_id in enumerate(batch.clip_ids):
        matches = []
        for start in (0, 11):
            indices = [int(1.5 * (start + step) + 0.5) for step in range(5)]
            masks = np.logical_or.reduce([track.masks[indices] for track in dataset.find(clip_id).tracks])
            groups = [masks[:1], masks[1:5]]
            # A latent cell is 8 px of the window, 16 px of the clip.
            touched = [group.any(axis=0).reshape(4, 16, 6, 16).any(axis=(1, 3)) for group in groups]
            matches.append(np.array_equal(hole[place].numpy(), np.stack(touched)))
        assert any(matches)


def test_image_to_video_backbones_get_the_first_frame_outside_the_hole(run, encoders):
    codec, _ = encoders["cogvideox-i2v"]
    for batch in samples_of(batches_of(run, encoders["cogvideox-i2v"])):
        assert not batch.packed_mask[:, :, 0].any()
        assert batch.packed_mask[:, :, 1:].any()
        assert batch.first_frame is not None
        assert batch.first_frame.latents.shape == batch.video.shape
        firsts = {}
        for clip in open_dataset(run):
            for frame in (0, 17):  # step 11 is frame 16.5, and half way is the later one
                pixels = (
                    torch.from_numpy(halved(clip.frames[frame : frame + 1])).float().permute(0, 3, 1, 2) / 127.5 - 1
                )
                firsts[clip.id, frame] = codec.first_frame(pixels, num_frames=5).latents[0]
        for clip_id, latents in zip(batch.clip_ids, batch.first_frame.latents, strict=True):
            assert any(torch.allclose(latents, firsts[clip_id, frame], atol=0.1) for frame in (0, 17))


def test_masks_are_drawn_anew_in_every_epoch_and_the_same_for_every_world(run, encoders):
    mix = MaskMix()

    def drawn(epoch, world_size, seed=0):
        found = []
        for rank in range(world_size):
            batches = batches_of(
                run,
                encoders["cogvideox"],
                masks=mix,
                batch_size=4,
                micro=1,
                rank=rank,
                world_size=world_size,
                seed=seed,
            )
            found += [
                (
                    batch.ordinals,
                    batch.clip_ids,
                    batch.mask_kinds,
                    batch.packed_mask.numpy().tobytes(),
                    batch.masked.numpy().tobytes(),
                    batch.text.numpy().tobytes(),
                )
                for batch in samples_of(batches, epoch)
            ]
        return sorted(found)

    first = drawn(0, 1)
    assert drawn(0, 4) == first
    masks = {one[3] for one in first} | {one[3] for one in drawn(1, 1)}
    assert len(masks) > 12


def test_pairs_show_one_object_in_both_windows(run, encoders):
    (batch,) = samples_of(batches_of(run, encoders["cogvideox"], pairs=True, batch_size=4, masks=MaskMix()))
    assert batch.source is not None
    assert batch.video.shape[2] == batch.source.video.shape[2] == 2
    assert set(batch.mask_kinds) <= {"track", "box", "ellipse", "brush"}
    assert batch.packed_mask.any(dim=1).flatten(1).any(dim=1).all()
    assert batch.source.packed_mask.any(dim=1).flatten(1).any(dim=1).all()


def test_captions_of_the_object_in_the_hole_are_encoded(run, encoders):
    _, text_encoder = encoders["cogvideox"]
    mix = MaskMix(weights=KindWeights(**(NOTHING | {"track": 1.0})))
    text = TextSettings(drop_frac=0.0, object_frac=1.0)
    known = text_encoder.encode(["a red square", "a blue square"])
    for batch in samples_of(batches_of(run, encoders["cogvideox"], masks=mix, text=text)):
        for one in batch.text:
            assert any(torch.allclose(one, wanted, atol=1e-5) for wanted in known)
    (empty,) = text_encoder.encode([""])
    for batch in samples_of(batches_of(run, encoders["cogvideox"], text=TextSettings(drop_frac=1.0))):
        assert all(torch.allclose(one, empty, atol=1e-5) for one in batch.text)


def test_several_runs_give_the_batches_of_one_that_holds_all_their_clips(run, encoders):
    halves = [f"{run}/shards/vpdata-00000{number}.tar" for number in (1, 0)]
    one, several = (samples_of(batches_of(each, encoders["cogvideox"])) for each in (run, halves))
    assert [batch.clip_ids for batch in several] == [batch.clip_ids for batch in one]
    assert len({clip for batch in several for clip in batch.clip_ids}) == 4
    assert all(torch.equal(batch.video, same.video) for batch, same in zip(one, several, strict=True))
    with pytest.raises(RunError, match=r"both hold the clip \S+, one of 2 that lie in several folders"):
        open_runs([run, halves[0]])


def test_clips_that_are_too_short_are_counted_or_refused(run, encoders, caplog):
    long = WindowSettings(height_px=HEIGHT, width_px=WIDTH, num_frames=17, pairs=((5, 5, 5),))
    with pytest.raises(ConfigError, match="none of the 4 clips is long enough"):
        batches_of(run, encoders["cogvideox"], windows=long)
    _, clips = open_runs([run])
    short = [
        *clips[:3],
        replace(clips[3], num_frames=4),
    ]
    with caplog.at_level(logging.WARNING):
        batches = batches_of(run, encoders["cogvideox"], clips=short)
    assert "1 of 4 clips are too short" in caplog.text
    assert clips[3].id not in {clip for batch in samples_of(batches) for clip in batch.clip_ids}


def test_a_size_that_the_backbone_does_not_take_is_refused_before_anything_is_read(run, encoders):
    odd = WindowSettings(height_px=HEIGHT + 4, width_px=WIDTH, num_frames=9, pairs=())
    with pytest.raises(ConfigError, match="height of 36 px"):
        batches_of(run, encoders["cogvideox"], windows=odd)
    odd = WindowSettings(height_px=HEIGHT, width_px=WIDTH, num_frames=10, pairs=())
    with pytest.raises(ConfigError, match="window of 10 frames"):
        batches_of(run, encoders["cogvideox"], windows=odd)


def test_damaged_clips_and_empty_masks_are_replaced_and_counted(tmp_path, encoders):
    run = make_run(tmp_path, num_clips=4)
    sample = open_dataset(tmp_path)[1]
    offset, num_bytes = sample._span("mp4")
    shard = tmp_path / "shards" / str(sample._entry["shard"])
    data = bytearray(shard.read_bytes())
    data[offset + num_bytes // 2] ^= 0xFF
    shard.write_bytes(data)
    batches = batches_of(str(run.folder.uri), encoders["cogvideox"])
    taken = samples_of(batches)
    assert len(taken) == 4
    assert sample.id not in {clip for batch in taken for clip in batch.clip_ids}
    assert batches.skipped["damaged"] >= 2
