"""Masks of an imported video follow its clip to another size, and may be counted in stored or in shown pixels."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from benchmark.footage import write_video
from tests.dataset.published import CAPTION, PEXELS, VIDEO_URI, labels_of, run_samples, write_csv
from tests.media.footage import write_video as write_timed
from tests.runs import make_footage
from vpdata.dataset.check import check
from vpdata.dataset.import_videopainter import import_videopainter

MASKS = "video_inpainting/pexels/000000001523_856207/all_masks.npz"


@pytest.mark.parametrize(
    ("scale", "codec", "size"), [(12, "libx264", (1080, 720)), (1, "mpeg4", (94, 62))], ids=["scaled down", "odd"]
)
def test_masks_follow_a_clip_of_another_size(published, tmp_path, scale, codec, size):
    height, width = (64 * scale) & ~1, (96 * scale) & ~1
    if codec == "mpeg4":
        height, width = 63, 95
    frames, labels = (
        array.repeat(scale, axis=1).repeat(scale, axis=2)[:4, :height, :width]
        for array in (make_footage(0).frames, labels_of(0))
    )
    write_video(published / VIDEO_URI, frames, fps=12, codec=codec)
    np.savez_compressed(published / MASKS, labels)
    write_csv(published, [(PEXELS, 0, 4, 12.0, 300, CAPTION)])
    run = import_videopainter(published, tmp_path / "run")
    assert check(run) == []
    sample = next(one for one in run_samples(run) if one.record.clip.video.uri == VIDEO_URI)
    assert (sample.record.clip.width_px, sample.record.clip.height_px) == size
    # The red square is the only red thing: its mask must lie on it, blurred edges aside.
    red = (sample.frames[..., 0] > 130) & (sample.frames[..., 1] < 110)
    masks = sample.tracks[0].masks
    assert (red & masks).sum() / (red | masks).sum() > (0.97 if scale > 1 else 0.85)


@pytest.mark.parametrize("rotation", [0, 90])
@pytest.mark.parametrize("is_shown", [False, True], ids=["stored pixels", "shown pixels"])
def test_masks_of_anamorphic_video_may_have_the_stored_or_the_shown_size(published, tmp_path, rotation, is_shown):
    red = np.zeros((24, 80, 144), np.bool_)
    for k in range(24):
        red[k, 20:50, 10 + 2 * k : 50 + 2 * k] = True
    frames = np.where(red[..., None], np.array((220, 30, 30)), 40).astype(np.uint8)
    path = published / VIDEO_URI
    write_timed(path, frames, options={"crf": "8"}, aspect=Fraction(4, 3), rotation=rotation)
    upright = np.rot90(red, rotation // 90, axes=(1, 2))
    if is_shown:
        # 144 columns of 4:3 are 192 square pixels wide.
        upright = upright[:, :, np.arange(192) * 3 // 4] if not rotation else upright[:, np.arange(192) * 3 // 4]
    np.savez_compressed(published / MASKS, upright.astype(np.uint8) * 9)
    write_csv(published, [(PEXELS, 0, 24, 25, 9, CAPTION)])
    run = import_videopainter(published, tmp_path / "run")
    assert check(run) == []
    sample = next(one for one in run_samples(run) if one.record.clip.video.uri == VIDEO_URI)
    assert sample.frames.shape[1:3] == ((192, 80) if rotation else (80, 192))
    seen, mask = sample.frames[..., 0] > sample.frames[..., 1] + 90.0, sample.tracks[0].masks
    assert ((seen & mask).sum(axis=(1, 2)) / (seen | mask).sum(axis=(1, 2))).min() > 0.9
