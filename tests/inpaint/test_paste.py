import numpy as np

from vpdata.inpaint.paste import paste


def parts():
    random = np.random.default_rng(0)
    video = random.integers(0, 256, (2, 20, 30, 3), dtype=np.uint8)
    made = random.integers(0, 256, (2, 20, 30, 3), dtype=np.uint8)
    mask = np.zeros((2, 20, 30), bool)
    mask[0, 8:12, 10:15] = True
    return video, made, mask


def test_hole_is_what_was_made_and_the_rest_keeps_every_bit():
    video, made, mask = parts()
    out = paste(video, made, mask, feather_px=3)
    assert np.array_equal(out[mask], made[mask])
    far = np.ones_like(mask)
    far[0, 5:15, 7:18] = False
    assert np.array_equal(out[far], video[far])


def test_edge_falls_evenly_from_one_to_the_other():
    video, made, mask = (
        np.zeros((1, 9, 20, 3), np.uint8),
        np.full((1, 9, 20, 3), 200, np.uint8),
        np.zeros((1, 9, 20), bool),
    )
    mask[0, :, :5] = True
    out = paste(video, made, mask, feather_px=3)
    assert out[0, 4, :10, 0].tolist() == [200] * 5 + [150, 100, 50, 0, 0]


def test_pixels_change_up_to_the_distance_that_is_promised():
    video, made = np.zeros((1, 21, 21, 3), np.uint8), np.full((1, 21, 21, 3), 200, np.uint8)
    mask = np.zeros((1, 21, 21), bool)
    mask[0, 10, 10] = True
    rows, columns = np.mgrid[:21, :21] - 10
    changed = paste(video, made, mask, feather_px=4)[0, ..., 0] > 0
    # One on the diagonal is further than 4 pixels away.
    assert changed[13, 13]
    assert np.array_equal(changed, np.hypot(rows, columns) < 5)


def test_no_feather_pastes_hard():
    video, made, mask = parts()
    out = paste(video, made, mask, feather_px=0)
    assert np.array_equal(out, np.where(mask[..., None], made, video))
