from __future__ import annotations

import re
import subprocess

import imageio_ffmpeg
import numpy as np
import pytest
from skimage.metrics import structural_similarity

from benchmark.metrics.pixels import MAX_PSNR_DB, SSIM_BORDER_PX, clip_errors, frame_errors, psnr_of, ssim_map
from benchmark.metrics.regions import composited, grown
from benchmark.metrics.sums import Sums
from tests.benchmark.metrics.real_clip import real_clip

CLIPS = ("world.mp4", "a.mp4", "b.mp4")


def ffmpegs_errors(output, truth, tmp_path):
    """Per frame the mean squared error, of values in 0 to 255, and the PSNR in dB, both over R, G and B."""
    size = f"{truth.shape[2]}x{truth.shape[1]}"
    inputs = []
    for name, frames in (("output", output), ("truth", truth)):
        (tmp_path / name).write_bytes(frames.tobytes())
        inputs += ["-f", "rawvideo", "-pixel_format", "rgb24", "-video_size", size, "-i", str(tmp_path / name)]
    graph = "[0]format=gbrp[a];[1]format=gbrp[b];[a][b]psnr,metadata=print:file=-"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *inputs, "-lavfi", graph, "-f", "null", "-"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [
        [float(value) for value in re.findall(rf"lavfi\.psnr\.{name}=(\S+)", printed)]
        for name in ("mse_avg", "psnr_avg")
    ]


@pytest.mark.parametrize("name", CLIPS)
def test_mse_and_psnr_are_those_of_ffmpeg(name, tmp_path):
    output, truth, holes = real_clip(name)
    mses, psnrs = ffmpegs_errors(output, truth, tmp_path)
    assert len(mses) == len(truth)
    for pair, hole, mse, psnr in zip(zip(output, truth, strict=True), holes, mses, psnrs, strict=True):
        frame = frame_errors(*pair, hole)["frame"]
        assert frame.squared.mean == pytest.approx(mse / 255**2, abs=1e-7)
        assert frame.psnr.mean == pytest.approx(psnr, abs=1e-4)


def test_errors_of_a_region_are_those_of_its_pixels_alone(tmp_path):
    """ffmpeg knows no regions: a frame that equals the truth elsewhere has the region's whole error."""
    output, truth, holes = real_clip()
    for region, inside in (("hole", holes), ("known", ~holes)):
        alone = np.where(inside[..., None], output, truth)
        mses, _ = ffmpegs_errors(alone, truth, tmp_path)
        found = clip_errors(output, truth, holes)[region]
        assert found.squared.mean == pytest.approx(np.mean(mses) / 255**2 * inside.size / inside.sum(), abs=1e-7)


@pytest.mark.parametrize("name", CLIPS)
def test_ssim_is_that_of_scikit_image_in_every_region(name):
    output, truth, holes = real_clip(name)
    border = SSIM_BORDER_PX
    for ours, theirs, hole in zip(output, truth, holes, strict=True):
        mean, full = structural_similarity(
            ours / 255,
            theirs / 255,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1,
            channel_axis=2,
            full=True,
        )
        found = frame_errors(ours, theirs, hole)
        wanted, inside = full[border:-border, border:-border].mean(axis=2), hole[border:-border, border:-border]
        assert found["frame"].ssim.mean == pytest.approx(mean, abs=1e-5)
        assert found["hole"].ssim.mean == pytest.approx(wanted[inside].mean(), abs=1e-5)
        assert found["known"].ssim.mean == pytest.approx(wanted[~inside].mean(), abs=1e-5)
        assert np.abs(ssim_map(ours, theirs).mean(axis=2) - wanted).max() < 1e-4


def test_ssim_keeps_its_digits_where_the_picture_is_bright_and_flat():
    rng = np.random.default_rng(0)
    bright = rng.integers(250, 256, (64, 64, 3), dtype=np.uint8)
    other = rng.integers(250, 256, (64, 64, 3), dtype=np.uint8)
    wanted = structural_similarity(
        bright / 255,
        other / 255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1,
        channel_axis=2,
    )
    assert frame_errors(bright, other, np.zeros((64, 64), bool))["frame"].ssim.mean == pytest.approx(wanted, abs=1e-6)


def test_errors_by_hand():
    truth = np.zeros((1, 16, 16, 3), np.uint8)
    output, holes = truth.copy(), np.zeros((1, 16, 16), bool)
    holes[0, :4, :4] = True
    output[0, 0, 0] = (255, 0, 51)
    found = clip_errors(output, truth, holes)
    assert found["hole"].squared.mean == pytest.approx((1 + 0.2**2) / 48)
    assert found["hole"].absolute.mean == pytest.approx(1.2 / 48)
    assert found["frame"].absolute.mean == pytest.approx(1.2 / 768)
    assert found["frame"].psnr.mean == pytest.approx(10 * np.log10(768 / 1.04))
    assert found["known"].squared.mean == found["known"].absolute.mean == 0
    assert 0.9999 < found["known"].ssim.mean < 1  # the windows of known pixels nearby see that pixel


def test_the_sums_of_hole_and_known_pixels_are_those_of_the_frame_and_clips_are_pooled():
    output, truth, holes = real_clip()
    whole = clip_errors(output, truth, holes)
    parts = [clip_errors(output[part], truth[part], holes[part]) for part in (slice(2), slice(2, None))]
    for name in ("squared", "absolute", "ssim"):
        sums = {region: getattr(whole[region], name) for region in whole}
        assert sums["hole"].count == pytest.approx(holes.sum() * (1 if name == "ssim" else 3))
        assert (sums["hole"] + sums["known"]).count == sums["frame"].count
        assert (sums["hole"] + sums["known"]).sum == pytest.approx(sums["frame"].sum)
        assert (getattr(parts[0]["hole"], name) + getattr(parts[1]["hole"], name)).sum == pytest.approx(
            sums["hole"].sum
        )


def test_a_composited_output_has_exact_known_pixels():
    output, truth, holes = real_clip()
    found = clip_errors(composited(output, truth, holes), truth, holes)
    assert found["known"].squared.sum == found["known"].absolute.sum == 0
    assert found["known"].psnr.mean == MAX_PSNR_DB
    raw = clip_errors(output, truth, holes)
    assert found["hole"].squared == raw["hole"].squared
    assert found["frame"].squared.sum == pytest.approx(raw["hole"].squared.sum)


@pytest.mark.parametrize(("is_full", "empty"), [(False, "hole"), (True, "known")])
def test_a_region_without_pixels_has_no_mean(is_full, empty):
    output, truth, holes = real_clip()
    found = clip_errors(output, truth, np.full_like(holes, is_full))
    for sums in (found[empty].squared, found[empty].absolute, found[empty].ssim, found[empty].psnr):
        assert sums.count == 0
        assert sums.mean is None
    other = "hole" if is_full else "known"
    assert found[other].squared == found["frame"].squared


def test_psnr_is_bounded_and_never_infinite():
    assert psnr_of(0.01) == Sums(pytest.approx(20), 1)
    assert psnr_of(0.0) == psnr_of(1e-12) == Sums(MAX_PSNR_DB, 1, 1)
    assert psnr_of(0.01) + psnr_of(0.0) + psnr_of(0.0) == Sums(pytest.approx(220), 3, 2)


def test_extreme_colours_do_not_overflow():
    black, white = np.zeros((1, 720, 1280, 3), np.uint8), np.full((1, 720, 1280, 3), 255, np.uint8)
    found = clip_errors(black, white, np.ones((1, 720, 1280), bool))
    assert found["frame"].squared.mean == found["hole"].absolute.mean == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda o, t, h: (o[:-1], t, h), "got 5 frames of 256x144 px, wanted 6 frames of 256x144 px"),
        (lambda o, t, h: (o[:, :-2], t, h), "got 6 frames of 256x142 px, wanted 6 frames of 256x144 px"),
        (lambda o, t, h: (o.astype(np.float32) * np.nan, t, h), "got float32 .* wanted uint8"),
        (lambda o, t, h: (o[..., :1], t, h), "wanted uint8"),
        (lambda o, t, h: (o, t, h[1:]), r"the holes: got bool \[5, 144, 256\]"),
        (lambda o, t, h: (o, t, h.astype(np.uint8)), "the holes: got uint8"),
        (lambda o, t, h: (o[:, :8], t[:, :8], h[:, :8]), "got a frame of 256x8 px, wanted 11 px or more"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        clip_errors(*change(*real_clip()))


def test_holes_grow_by_a_radius():
    holes = np.zeros((1, 11, 11), bool)
    holes[0, 5, 5] = True
    assert grown(holes, 0).sum() == 1
    assert grown(holes, 2).sum() == 13
    assert not grown(np.zeros_like(holes), 3).any()
