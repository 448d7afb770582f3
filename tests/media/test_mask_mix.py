from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vpdata.config import fill
from vpdata.errors import ConfigError
from vpdata.media.mask_mix import KindWeights, MaskMix, around_an_object, dilate, draw_mask, erode

KINDS = [item.name for item in fields(KindWeights)]
NUM_FRAMES, HEIGHT, WIDTH = 13, 48, 64


def only(kind, **settings):
    weights = KindWeights(**(dict.fromkeys(KINDS, 0.0) | {kind: 1.0}))
    return MaskMix(weights=weights, **({"continued_frac": 0.0} | settings))


def square_moving_right(*, row=10, side=10, frames=range(NUM_FRAMES)):
    """A square that is 2 px farther right on every frame."""
    track = np.zeros((NUM_FRAMES, HEIGHT, WIDTH), dtype=bool)
    for frame in frames:
        track[frame, row : row + side, 2 + 2 * frame : 2 + 2 * frame + side] = True
    return track


TRACKS = [square_moving_right(), square_moving_right(row=30, side=8), square_moving_right(row=22, side=6)]

GOLDEN = [
    ("box", (0,), 1300),
    ("brush", (2,), 390),
    ("track", (2,), 832),
    ("track", (0,), 944),
    ("all_tracks", (0, 1, 2), 2600),
    ("track", (0,), 1200),
]


@pytest.mark.parametrize("kind", KINDS)
def test_same_key_gives_the_same_mask_and_another_key_or_seed_another(kind):
    mix = only(kind)
    first = draw_mask(TRACKS, mix, stride_t=4, seed=3, key="a.first.0")
    again = draw_mask([track.copy() for track in TRACKS], mix, stride_t=4, seed=3, key="a.first.0")
    assert np.array_equal(first.mask, again.mask)
    assert (first.kind, first.tracks) == (again.kind, again.tracks) == (kind, first.tracks)
    if kind != "full_frame":
        keys = [
            draw_mask(TRACKS, mix, stride_t=4, seed=3, key=f"a.first.{number}").mask.tobytes() for number in range(12)
        ]
        seeds = [draw_mask(TRACKS, mix, stride_t=4, seed=seed, key="a.first.0").mask.tobytes() for seed in range(12)]
        assert len(set(keys)) > 6 or kind == "all_tracks"
        assert len(set(keys)) > 2
        assert len(set(seeds)) > 2


def test_a_seed_goes_on_meaning_the_same_masks():
    """As first drawn: whoever changes them changes the masks that a seed stands for."""
    drawn = [draw_mask(TRACKS, MaskMix(), stride_t=4, seed=0, key=str(number)) for number in range(6)]
    assert [(one.kind, one.tracks, int(one.mask.sum())) for one in drawn] == GOLDEN


def test_the_object_itself_is_what_is_drawn_where_nothing_is_dilated():
    plain = {"dilate_px": (0, 0), "erode_frac": 0.0}
    drawn = draw_mask(TRACKS, only("track", **plain), stride_t=4, seed=0, key="a")
    assert np.array_equal(drawn.mask, TRACKS[drawn.tracks[0]])
    inverted = draw_mask(TRACKS, only("inverted", **plain), stride_t=4, seed=0, key="a")
    assert np.array_equal(inverted.mask, ~TRACKS[inverted.tracks[0]])
    everything = draw_mask(TRACKS, only("all_tracks", **plain), stride_t=4, seed=0, key="a")
    assert everything.tracks == (0, 1, 2)
    assert np.array_equal(everything.mask, TRACKS[0] | TRACKS[1] | TRACKS[2])
    several = [draw_mask(TRACKS, only("tracks", **plain), stride_t=4, seed=0, key=str(number)) for number in range(20)]
    assert {len(one.tracks) for one in several} == {2, 3}
    for one in several:
        assert np.array_equal(one.mask, np.logical_or.reduce([TRACKS[index] for index in one.tracks]))


def test_dilation_takes_every_pixel_within_the_radius():
    mask = np.zeros((2, 21, 21), dtype=bool)
    mask[0, 10, 10] = True
    rows, columns = np.mgrid[:21, :21]
    disc = (rows - 10) ** 2 + (columns - 10) ** 2 <= 5**2
    grown = dilate(mask, 5)
    assert np.array_equal(grown[0], disc)
    assert not grown[1].any()
    # The pixels of the disc whose nearest outside pixel is more than 3 px away.
    outside = np.argwhere(~disc)
    far = np.array([[np.hypot(*(outside - [row, column]).T).min() > 3 for column in range(21)] for row in range(21)])
    assert np.array_equal(erode(grown, 3)[0], disc & far)


def test_erosion_never_loses_a_small_object():
    mask = square_moving_right(side=3)
    assert np.array_equal(erode(mask, 6), mask)


def test_dilation_is_in_pixels_of_a_frame_of_480():
    mix = only("track", dilate_px=(20, 20), erode_frac=0.0)
    drawn = draw_mask([square_moving_right()], mix, stride_t=4, seed=0, key="a")
    # 20 px at a height of 480 are 2 px at 48.
    assert drawn.mask[0].any(axis=1).sum() == 10 + 2 * 2


@pytest.mark.parametrize("kind", ["box", "ellipse"])
def test_shapes_with_an_object_cover_it_on_every_frame(kind):
    for number in range(10):
        drawn = draw_mask(TRACKS, only(kind, own_path_frac=0.0), stride_t=4, seed=0, key=str(number))
        (track,) = drawn.tracks
        assert (drawn.mask >= TRACKS[track]).all()
        assert drawn.mask.mean() < 0.4


def test_brush_strokes_move_with_their_object():
    drawn = draw_mask(TRACKS[:1], only("brush", own_path_frac=0.0), stride_t=4, seed=1, key="a")
    assert drawn.tracks == (0,)
    for frame in range(1, NUM_FRAMES):
        assert np.array_equal(drawn.mask[frame, :, 2:], drawn.mask[frame - 1, :, :-2])


@pytest.mark.parametrize("kind", ["box", "ellipse", "brush", "davis"])
def test_shapes_on_their_own_path_are_on_every_frame_and_move(kind):
    areas, num_moving = [], 0
    for number in range(20):
        drawn = draw_mask(TRACKS, only(kind, own_path_frac=1.0), stride_t=4, seed=0, key=str(number))
        assert drawn.tracks == ()
        assert drawn.mask.any(axis=(1, 2)).all()
        areas.append(drawn.mask.mean())
        num_moving += not np.array_equal(drawn.mask[0], drawn.mask[-1])
    assert 0.02 < np.median(areas) < 0.4
    assert max(areas) < 0.6
    assert num_moving >= 18


@settings(max_examples=60, deadline=None)
@given(
    seen=st.lists(st.sets(st.integers(0, NUM_FRAMES - 1)), min_size=1, max_size=3),
    seed=st.integers(0, 10**6),
    key=st.text(max_size=8),
)
def test_a_frame_is_empty_only_where_its_object_is_absent(seen, seed, key):
    tracks = [square_moving_right(row=4 + 14 * index, frames=frames) for index, frames in enumerate(seen)]
    drawn = draw_mask(tracks, MaskMix(continued_frac=0), stride_t=4, seed=seed, key=key)
    assert drawn.mask.any()
    assert drawn.mask.dtype == bool
    assert drawn.mask.shape == tracks[0].shape
    shown = np.logical_or.reduce([tracks[index].any(axis=(1, 2)) for index in drawn.tracks] or [np.True_])
    assert (drawn.mask.any(axis=(1, 2)) | ~shown).all()
    assert all(tracks[index].any() for index in drawn.tracks)


def test_without_an_object_only_kinds_that_need_none_are_drawn():
    absent = [np.zeros((NUM_FRAMES, HEIGHT, WIDTH), dtype=bool)]
    kinds = {draw_mask(absent, MaskMix(), stride_t=4, seed=0, key=str(number)).kind for number in range(60)}
    assert kinds == {"box", "ellipse", "brush", "davis", "full_frame"}
    assert not draw_mask(absent, only("track"), stride_t=4, seed=0, key="a").mask.any()


@pytest.mark.parametrize(("stride_t", "known"), [(4, {1, 5, 9}), (8, {1, 9})])
def test_a_continued_mask_leaves_whole_latent_frames_known_and_the_rest_as_it_is(stride_t, known):
    starts = set()
    for number in range(40):
        whole = draw_mask(TRACKS, only("track"), stride_t=stride_t, seed=0, key=str(number))
        drawn = draw_mask(TRACKS, only("track", continued_frac=1.0), stride_t=stride_t, seed=0, key=str(number))
        assert (drawn.kind, drawn.tracks) == (whole.kind, whole.tracks)
        start = int(np.argmax(drawn.mask.any(axis=(1, 2))))
        assert not drawn.mask[:start].any()
        assert np.array_equal(drawn.mask[start:], whole.mask[start:])
        starts.add(start)
    assert starts == known


def test_a_mask_is_never_continued_into_an_empty_one():
    mix = only("track", continued_frac=1.0)
    gone = [square_moving_right(frames=range(3))]  # seen no more in the frames that follow 5 or 9 known ones
    masks = [draw_mask(gone, mix, stride_t=4, seed=0, key=str(number)).mask for number in range(20)]
    assert {mask.any(axis=(1, 2)).argmax() for mask in masks} == {0, 1}
    single = [track[:1] for track in TRACKS]
    assert draw_mask(single, mix, stride_t=4, seed=0, key="a").mask.any()


def test_continued_masks_are_drawn_as_often_as_asked_for():
    mix = only("track", continued_frac=0.3)
    masks = [draw_mask(TRACKS, mix, stride_t=4, seed=0, key=str(number)).mask for number in range(400)]
    assert sum(not mask[0].any() for mask in masks) == pytest.approx(120, abs=30)


def test_kinds_are_drawn_as_often_as_their_weights_say():
    mix = MaskMix(weights=KindWeights(**(dict.fromkeys(KINDS, 0.0) | {"track": 3.0, "full_frame": 1.0})))
    kinds = [draw_mask(TRACKS, mix, stride_t=4, seed=0, key=str(number)).kind for number in range(400)]
    assert kinds.count("full_frame") == pytest.approx(100, abs=30)
    assert kinds.count("track") == 400 - kinds.count("full_frame")


@pytest.mark.parametrize("mix", [MaskMix(), only("davis"), only("box", own_path_frac=1.0)])
def test_masks_around_an_object_are_all_made_of_it(mix):
    for number in range(30):
        drawn = draw_mask(TRACKS[:1], around_an_object(mix), stride_t=4, seed=0, key=str(number))
        assert drawn.tracks == (0,)
        assert (drawn.mask & TRACKS[0]).any()
        assert drawn.kind in ("track", "box", "ellipse", "brush")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"weights": {"track": -1}}, "none below 0"),
        ({"weights": dict.fromkeys(KINDS, 0)}, "one above"),
        ({"own_path_frac": 1.5}, "own_path_frac 1.5"),
        ({"continued_frac": -0.1}, "continued_frac -0.1"),
        ({"dilate_px": [8, 4]}, "two rising numbers"),
        ({"shape_scale": [0.5, 1.0]}, "from 1.0 on"),
        ({"weights": {"boxes": 1}}, "box"),
    ],
)
def test_settings_that_make_no_mix_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        fill(MaskMix, settings)


def test_no_tracks_is_an_error_that_names_the_key():
    with pytest.raises(ValueError, match=r"a\.first\.0: got no tracks"):
        draw_mask([], MaskMix(), stride_t=4, seed=0, key="a.first.0")
