import json

import numpy as np
import pytest
import torch

pytest.importorskip("diffusers")

from benchmark.footage import scene, write_video
from benchmark.metrics.intervals import bootstrap
from benchmark.studies.clips import CLIP_FRAMES, FILMS, WINDOW_FRAMES, make_clips
from benchmark.studies.fills import fill_by_replacement, fill_with_opencv
from benchmark.studies.fitting import fit
from benchmark.studies.learning import study
from benchmark.studies.linear_codec import fit_codec, load_codec, to_frames, to_video
from benchmark.studies.pretrain import load, new_backbone, save
from benchmark.studies.scores import hole_psnr
from benchmark.studies.settings import SIZES
from benchmark.studies.windows import TrainingWindows, Window, draw_hole, pair_batch, to_batch
from vpdata.backbones.latent_masks import cells

torch.set_num_threads(1)

TINY = SIZES["tiny"]


@pytest.fixture(scope="module")
def clips():
    film = np.random.default_rng(0).integers(0, 256, (60, 64, 80, 3), dtype=np.uint8)
    return list(make_clips([film], split="train", num_clips=6, side_px=TINY.side_px))


@pytest.fixture(scope="module")
def backbone():
    return new_backbone(TINY, seed=0)


@pytest.fixture(scope="module")
def codec(clips, backbone):
    return fit_codec([clip.frames[:WINDOW_FRAMES] for clip in clips], spec=backbone.spec)


def window_of(clip):
    tracks = clip.tracks[:, :WINDOW_FRAMES]
    return Window(frames=clip.frames[:WINDOW_FRAMES], hole=draw_hole(tracks, "passer-by", key=clip.name))


def test_psnr_counts_the_hole_alone():
    truth = np.full((2, 4, 4, 3), 100, dtype=np.uint8)
    hole = np.zeros((2, 4, 4), dtype=bool)
    hole[0, :2] = True
    fill = np.where(hole[..., None], 116, 0).astype(np.uint8)
    # 16 grey levels off everywhere in the hole: 20 * log10(255 / 16).
    assert hole_psnr(fill, truth, hole) == pytest.approx(24.048, abs=0.001)


def test_interval_holds_the_mean_and_shrinks_with_more_clips():
    few, many = (bootstrap(np.random.default_rng(1).normal(20, 2, size=size).tolist()) for size in (20, 2000))
    assert few.low < few.mean < few.high
    assert many.low < 20 < many.high
    # 1.96 standard errors of 2 / sqrt(2000) on either side.
    assert many.high - many.low == pytest.approx(0.175, rel=0.1)


def test_codec_knows_nothing_of_later_frames(clips, codec):
    video = to_video(np.stack([clips[0].frames[:WINDOW_FRAMES]]))
    changed = video.clone()
    changed[:, :, 5:] = 0
    assert torch.equal(codec.encode(video)[:, :, :2], codec.encode(changed)[:, :, :2])
    assert not torch.equal(codec.encode(video)[:, :, 2], codec.encode(changed)[:, :, 2])


def test_codec_decodes_what_it_can_express_exactly(clips, codec, tmp_path):
    video = to_video(np.stack([clips[0].frames[:WINDOW_FRAMES]])) * 0.3
    expressed = codec.decode(codec.encode(video))
    torch.testing.assert_close(codec.decode(codec.encode(expressed)), expressed, atol=1e-4, rtol=0)
    codec.save(tmp_path / "codec.safetensors")
    again = load_codec(tmp_path / "codec.safetensors", spec=codec.spec)
    assert torch.equal(again.encode(video), codec.encode(video))


def test_latents_have_a_variance_of_one_on_average(clips, codec):
    latents = codec.encode(to_video(np.stack([clip.frames[:WINDOW_FRAMES] for clip in clips])))
    assert float(latents[:, :, 1:].square().mean()) == pytest.approx(1, rel=0.05)


def test_clips_are_equal_for_equal_arguments_and_of_every_origin(clips):
    film = np.random.default_rng(0).integers(0, 256, (60, 64, 80, 3), dtype=np.uint8)
    again = list(make_clips([film], split="train", num_clips=6, side_px=TINY.side_px))
    held_out = list(make_clips([film], split="test", num_clips=6, side_px=TINY.side_px))
    assert [clip.origin for clip in clips] == ["drawn", "composited", "real"] * 2
    assert all(len(clip.frames) == CLIP_FRAMES for clip in clips)
    assert all(np.array_equal(one.frames, other.frames) for one, other in zip(clips, again, strict=True))
    assert not any(np.array_equal(one.frames, other.frames) for one, other in zip(clips, held_out, strict=True))


@pytest.mark.parametrize("kind", ["passer-by", "shape"])
def test_hole_depends_on_its_key_alone_and_is_never_empty(clips, kind):
    tracks = clips[0].tracks[:, :WINDOW_FRAMES]
    holes = [draw_hole(tracks, kind, key=str(key)) for key in range(10)]
    assert all(hole.any() for hole in holes)
    assert np.array_equal(draw_hole(tracks, kind, key="3"), holes[3])
    assert not np.array_equal(holes[3], holes[4])


def test_masked_latents_differ_from_the_clips_own_in_the_hole_alone(clips, codec):
    batch = to_batch([window_of(clip) for clip in clips], codec, ordinals=range(len(clips)))
    known = (cells(batch.packed_mask) == 0).expand_as(batch.video)
    torch.testing.assert_close(batch.masked[known], batch.video[known])
    assert not torch.allclose(batch.masked[~known], batch.video[~known], atol=0.1)


def test_training_windows_depend_on_seed_and_step_alone(clips, codec):
    one, same, other = (TrainingWindows(clips, codec, batch_size=4, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.batch(5).masked, same.batch(5).masked)
    assert torch.equal(one.latents(5), one.batch(5).video)
    assert not torch.equal(one.latents(5), other.latents(5))


def test_pair_hides_the_object_in_its_second_window_and_knows_it_from_the_first(codec):
    footage = scene("plain", seed=1, num_frames=CLIP_FRAMES, height_px=32, width_px=32, size_frac=0.4)
    batch = pair_batch([(footage.frames, footage.masks)], codec, ordinals=[7])
    assert batch.source is not None
    first, second = footage.frames[:WINDOW_FRAMES], footage.frames[WINDOW_FRAMES:]
    assert torch.equal(batch.source.video, codec.encode(to_video(first[None])))
    assert torch.equal(batch.video, codec.encode(to_video(second[None])))
    # Both masks hold pixels of the object; the hole has a rim or none.
    object_cells = footage.masks[0, WINDOW_FRAMES].reshape(8, 4, 8, 4).any(axis=(1, 3))
    assert cells(batch.packed_mask)[0, 0, 0].bool().numpy()[object_cells].all()
    first_object = footage.masks[0, 0].reshape(8, 4, 8, 4).any(axis=(1, 3))
    assert np.array_equal(cells(batch.source.packed_mask)[0, 0, 0].bool().numpy(), first_object)


def test_replacement_returns_the_known_cells_as_the_codec_has_them(clips, codec, backbone):
    batch = to_batch([window_of(clips[0])], codec, ordinals=[0])
    fill = fill_by_replacement(backbone, codec, batch, seed=0, steps=2)
    known = (cells(batch.packed_mask)[0, 0] == 0).repeat_interleave(4, 1).repeat_interleave(4, 2).numpy()
    of_codec = to_frames(codec.decode(batch.video))[0]
    assert np.array_equal(fill[0, 0][known[0]], of_codec[0][known[0]])
    assert not np.array_equal(fill[0, 0][~known[0]], of_codec[0][~known[0]])


@pytest.mark.parametrize("method", ["telea", "navier-stokes"])
def test_opencv_continues_a_plain_surround_and_sees_nothing_of_the_hole(method):
    truth = np.full((3, 16, 16, 3), (10, 120, 200), dtype=np.uint8)
    hole = np.zeros((3, 16, 16), dtype=bool)
    hole[:, 5:9, 6:12] = True
    black = np.where(hole[..., None], 0, truth).astype(np.uint8)
    fill = fill_with_opencv(Window(frames=black, hole=hole), method=method)
    # OpenCV's Telea rounds up to 2 levels off even here.
    np.testing.assert_allclose(fill.astype(int), truth.astype(int), atol=2)
    assert np.array_equal(fill[~hole], truth[~hole])
    assert np.array_equal(fill, fill_with_opencv(Window(frames=truth, hole=hole), method=method))


def test_fit_finds_the_mean_of_what_it_is_given():
    parameter = torch.nn.Parameter(torch.zeros(3))
    goal = torch.tensor([0.1, -0.2, 0.3])
    losses = fit([parameter], lambda step: (parameter - goal).square().sum(), num_steps=300, rate=0.02, what="mean")
    torch.testing.assert_close(parameter.detach(), goal, atol=0.01, rtol=0)
    assert losses[-1] < 1e-3 < losses[0]


def test_saved_backbone_opens_as_published_ones_do(backbone, codec, tmp_path):
    save(tmp_path, backbone, codec)
    again, same_codec = load(tmp_path, device="cpu")
    assert again.spec == backbone.spec == same_codec.spec
    assert all(
        torch.equal(one, other)
        for one, other in zip(
            again.transformer.state_dict().values(), backbone.transformer.state_dict().values(), strict=True
        )
    )


@pytest.mark.slow
def test_whole_study_runs_and_does_not_train_twice(tmp_path):
    for index, name in enumerate(FILMS["train"] + FILMS["test"]):
        footage = scene("plain", seed=index, num_frames=60, height_px=72, width_px=96, is_panning=True)
        write_video(tmp_path / name, footage.frames)
    first = study(tmp_path / "out", tmp_path, size="tiny", num_workers=1)
    weights = tmp_path / "out" / "context_encoder" / "model.safetensors"
    written = weights.stat().st_mtime_ns
    assert study(tmp_path / "out", tmp_path, size="tiny", num_workers=1) == first
    assert weights.stat().st_mtime_ns == written
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {len(row["psnrs"]["shape"]) for row in results["holes"]} == {TINY.num_test_clips}
    assert all(np.isfinite(score["psnr"]["mean"]) for score in results["borders"])
