import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vpdata.media.crop import crop_around, fit


def masks_with(*boxes, size=(48, 96), num_frames=2):
    """One track per box (x0, y0, x1, y1), on all frames."""
    masks = np.zeros((len(boxes), num_frames, *size), dtype=bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[:, y0:y1, x0:x1] = True
    return masks


def frames_like(masks):
    """Frames that show where the masks are: 255 inside their union."""
    return np.repeat(masks.any(axis=0)[..., None], 3, axis=-1).astype(np.uint8) * 255


@pytest.mark.parametrize(("box", "x0"), [((0, 20, 8, 30), 0), ((88, 20, 96, 30), 48), ((44, 20, 52, 30), 24)])
def test_crop_holds_the_object_where_it_is(box, x0):
    crop = crop_around(masks_with(box), height_px=48, width_px=48)
    assert (crop.x0, crop.y0, crop.x1, crop.y1) == (x0, 0, x0 + 48, 48)


def test_crop_of_nothing_is_the_middle():
    crop = crop_around(np.zeros((1, 2, 48, 96), dtype=bool), height_px=48, width_px=48)
    assert (crop.x0, crop.x1) == (24, 72)
    assert crop_around(np.zeros((0, 2, 48, 96), dtype=bool), height_px=48, width_px=48) == crop


def test_small_objects_count_as_much_as_large_ones():
    large, small, tiny = (0, 0, 30, 48), (80, 10, 84, 14), (90, 30, 92, 32)
    crop = crop_around(masks_with(large, small, tiny), height_px=48, width_px=48)
    assert crop.x0 <= 80
    assert crop.x1 >= 92


def test_crop_follows_a_tall_frame_along_its_height():
    crop = crop_around(masks_with((2, 80, 10, 90), size=(96, 48)), height_px=24, width_px=32)
    assert (crop.x0, crop.x1, crop.y1 - crop.y0) == (0, 48, 36)
    assert crop.y0 <= 80
    assert crop.y1 >= 90


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(16, 60),
    columns=st.integers(16, 60),
    height_px=st.integers(8, 64),
    width_px=st.integers(8, 64),
    place=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_an_object_that_fits_is_kept_whole_and_undistorted(rows, columns, height_px, width_px, place):
    side = 6
    x0, y0 = round(place[0] * (columns - side)), round(place[1] * (rows - side))
    masks = masks_with((x0, y0, x0 + side, y0 + side), size=(rows, columns))
    crop = crop_around(masks, height_px=height_px, width_px=width_px)
    crop_rows, crop_columns = crop.y1 - crop.y0, crop.x1 - crop.x0
    assert crop_rows == rows or crop_columns == columns
    scale = max(height_px / rows, width_px / columns)
    assert abs(crop_rows * scale - height_px) <= 0.5 * scale + 1e-6
    assert abs(crop_columns * scale - width_px) <= 0.5 * scale + 1e-6
    if crop_rows >= side:
        assert crop.y0 <= y0
        assert y0 + side <= crop.y1
    if crop_columns >= side:
        assert crop.x0 <= x0
        assert x0 + side <= crop.x1


@pytest.mark.parametrize("size", [(24, 24), (48, 48), (96, 96), (32, 64)])
def test_frames_and_masks_get_the_same_geometry(size):
    masks = masks_with((60, 16, 80, 36), (66, 4, 74, 10))
    frames, fitted = fit(frames_like(masks), masks, height_px=size[0], width_px=size[1])
    assert frames.shape == (2, *size, 3)
    assert fitted.shape == (2, 2, *size)
    shown = frames[..., 0] > 127
    assert (shown ^ fitted.any(axis=0)).mean() < 0.02
    assert fitted.any(axis=(2, 3)).all()


def test_absent_objects_stay_absent():
    masks = masks_with((60, 16, 80, 36), (0, 0, 4, 4))
    masks[1, 1] = False
    _, fitted = fit(frames_like(masks), masks, height_px=48, width_px=96)
    assert np.array_equal(fitted, masks)


def test_masks_of_another_size_are_refused():
    with pytest.raises(ValueError, match="wanted equal sizes"):
        fit(np.zeros((2, 8, 8, 3), dtype=np.uint8), np.zeros((1, 2, 8, 9), dtype=bool), height_px=4, width_px=4)
