from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest

from tests.runs import make_footage, make_run, make_track
from vpdata.dataset.reader import open_dataset
from vpdata.errors import ConfigError
from vpdata.report.sheet import contact_sheet, encode_image, spread_frames, write_sheet


def test_frames_are_spread_from_first_to_last() -> None:
    assert spread_frames(10, count=4) == [0, 3, 6, 9]
    assert spread_frames(3, count=12) == [0, 1, 2]
    assert spread_frames(1, count=12) == [0]


def test_sheet_shows_every_frame_asked_for_with_its_masks() -> None:
    footage = make_footage(0)
    tracks = [make_track(number, name, masks) for number, (name, masks) in enumerate(footage.masks.items(), 1)]
    indices = [0, 20]
    plain = contact_sheet(footage.frames[indices], [], indices=indices, columns=2, cell_px=64)
    sheet = contact_sheet(footage.frames[indices], tracks, indices=indices, columns=2, cell_px=64)
    # Two cells of 96 x 64 with gaps of 6 around, and one line of legend per track.
    assert plain.shape == (64 + 3 * 6, 2 * 96 + 3 * 6, 3)
    assert sheet.shape == (plain.shape[0] + 2 * 26, plain.shape[1], 3)
    changed = np.abs(sheet[: 64 + 6].astype(int) - plain[: 64 + 6]).max(axis=-1) > 30
    first, second = changed[6:70, 6:102], changed[6:70, 108:204]
    assert first[footage.masks["blue square"][0]].mean() > 0.8
    assert second[footage.masks["red square"][20]].mean() > 0.8
    # The blue square has left by frame 20.
    assert not footage.masks["blue square"][20].any()
    assert second.mean() < 0.2


def test_drawing_leaves_the_frames_as_they_were() -> None:
    footage = make_footage(0)
    before = footage.frames[:1].copy()
    contact_sheet(footage.frames[:1], [make_track(1, "a", footage.masks["red square"])], indices=[0], cell_px=64)
    assert (footage.frames[:1] == before).all()


def test_every_frame_needs_its_index() -> None:
    with pytest.raises(ValueError, match="got 2 frames for 1 indices"):
        contact_sheet(np.zeros((2, 8, 8, 3), np.uint8), [], indices=[0])


@pytest.mark.parametrize("name", ["sheet.png", "sheet.jpg"])
def test_sheet_of_a_sample_is_written_as_a_picture(tmp_path: Path, name: str) -> None:
    make_run(tmp_path / "run", num_clips=1)
    (sample,) = open_dataset(str(tmp_path / "run"))
    write_sheet(sample, tmp_path / "out" / name)
    with av.open(str(tmp_path / "out" / name)) as picture:
        frame = next(picture.decode(video=0))
    # Twelve cells of 360 x 240, four in a row.
    assert frame.width == 4 * 360 + 5 * 6
    assert frame.height > 3 * 240


def test_sheet_of_another_format_is_refused(tmp_path: Path) -> None:
    make_run(tmp_path / "run", num_clips=1)
    (sample,) = open_dataset(str(tmp_path / "run"))
    with pytest.raises(ConfigError, match=r"got the suffix '\.gif', wanted \.png or \.jpg"):
        write_sheet(sample, tmp_path / "sheet.gif")


def test_png_keeps_every_pixel() -> None:
    image = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    with av.open(io.BytesIO(encode_image(image, suffix=".png"))) as picture:
        assert (next(picture.decode(video=0)).to_ndarray(format="rgb24") == image).all()
