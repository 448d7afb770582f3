"""Windows with masks, against footage whose masks are known by construction."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
import pytest

from tests.runs import FPS, make_footage, make_record, make_track
from tests.runs import encode_clip as encode_mp4
from vpdata.backbones.spec import BackboneSpec
from vpdata.dataset.training_windows import WindowSettings
from vpdata.errors import Reason
from vpdata.media.mask_mix import KindWeights, MaskMix
from vpdata.stages.masked_windows import masked_windows

SPEC = BackboneSpec(
    family="wan", num_blocks=4, dim=64, num_heads=2, patch=(1, 2, 2), latent_channels=16, stride_t=4, stride_px=8,
    text_length=16, text_dim=32, takes_first_frame=False, joins_text=False,
)  # fmt: skip
KINDS = ("track", "tracks", "all_tracks", "box", "ellipse", "brush", "davis", "inverted", "full_frame")
WINDOWS = WindowSettings(height_px=64, width_px=96, fps=FPS, num_frames=9, pairs=((9, 5, 13),))
"""Footage has 24 frames: first 0-9, last and target 15-24, source 2-15."""


def mix(**weights: float) -> MaskMix:
    """Of these kinds, with objects as they are."""
    return MaskMix(
        weights=KindWeights(**(dict.fromkeys(KINDS, 0.0) | weights)),
        own_path_frac=0,
        dilate_px=(0, 0),
        erode_frac=0,
        continued_frac=0,
    )


@pytest.fixture(scope="module")
def clip():
    """Record, mp4 and footage; track 1 is the blue square, gone for the last 6 frames, track 2 the red one."""
    footage = make_footage(1)
    mp4 = encode_mp4(footage.frames)
    return make_record(1, mp4=mp4, footage=footage), mp4, footage


def windows_of(clip, *, record=None, settings=WINDOWS, spec=SPEC, seed=0, num_variants=2, masks=None, pair_masks=None):
    windows, dropped = masked_windows(
        record or clip[0], clip[1], settings=settings, num_variants=num_variants, masks=masks or mix(track=1),
        pair_masks=pair_masks or mix(track=1), seed=seed, spec=spec,
    )  # fmt: skip
    return {window.name: window for window in windows}, dropped


def truth(footage, track: int, start: int, stop: int) -> np.ndarray:
    return footage.masks[("blue square", "red square")[track - 1]][start:stop]


def test_windows_show_their_span_of_the_clip(clip) -> None:
    windows, dropped = windows_of(clip)
    assert dropped == ()
    assert {name: (one.start_frame, len(one.frames)) for name, one in windows.items()} == {
        "first": (0, 9), "last": (15, 9), "target": (15, 9), "source": (2, 13),
    }  # fmt: skip
    for window in windows.values():
        true = clip[2].frames[window.start_frame : window.start_frame + len(window.frames)]
        assert np.median(np.abs(window.frames.astype(int) - true)) <= 3


def test_masks_are_those_of_the_named_tracks(clip) -> None:
    windows, _ = windows_of(clip, num_variants=4)
    for name in ("first", "last"):
        window = windows[name]
        for variant in window.variants:
            (track,) = variant.tracks
            assert np.array_equal(variant.mask, truth(clip[2], track, window.start_frame, window.start_frame + 9))
    assert {one.tracks for one in windows["first"].variants} == {(1,), (2,)}


def test_pair_is_disjoint_and_shows_the_same_object_in_each_variant(clip) -> None:
    windows, _ = windows_of(clip, num_variants=3)
    target, source = windows["target"], windows["source"]
    assert source.start_frame + len(source.frames) == target.start_frame
    assert (target.pair, source.pair) == ("source", "target")
    assert [one.tracks for one in target.variants] == [one.tracks for one in source.variants]
    assert {one.tracks for one in target.variants} == {(1,), (2,)}
    for hole, shown in zip(target.variants, source.variants, strict=True):
        (track,) = shown.tracks
        assert np.array_equal(shown.mask, truth(clip[2], track, 2, 15))
        assert np.array_equal(hole.mask, truth(clip[2], track, 15, 24))


def test_object_that_the_source_does_not_show_is_no_pair(clip) -> None:
    record, _, footage = clip
    masks = footage.masks["red square"].copy()
    masks[:15] = False
    late = dataclasses.replace(record, tracks=(make_track(7, "red square", masks),))
    windows, dropped = windows_of(clip, record=late)
    assert set(windows) == {"last"}
    assert [(one.reason, one.detail) for one in dropped] == [
        (Reason.EMPTY_MASK, "no object is seen in the window 'first'"),
        (Reason.EMPTY_MASK, "no object is seen in both windows of the ID pair"),
    ]


def test_given_first_frame_is_in_no_hole_but_in_the_source(clip) -> None:
    spec = dataclasses.replace(SPEC, takes_first_frame=True)
    windows, _ = windows_of(clip, spec=spec, masks=mix(full_frame=1))
    for name in ("first", "last", "target"):
        for variant in windows[name].variants:
            assert not variant.mask[0].any()
            assert variant.mask[1:].any()
    assert windows["first"].variants[0].mask[1:].all()
    assert all(one.mask[0].any() for one in windows["source"].variants)


def test_masks_depend_on_seed_window_and_number_and_on_nothing_else(clip) -> None:
    shapes = mix(davis=1)
    first, again, other = (windows_of(clip, masks=shapes, seed=seed)[0] for seed in (3, 3, 4))
    for name, window in first.items():
        for one, same in zip(window.variants, again[name].variants, strict=True):
            assert np.array_equal(one.mask, same.mask)
    drawn = [one.mask.tobytes() for run in (first, other) for name in ("first", "last") for one in run[name].variants]
    assert len(set(drawn)) == 8
    more, _ = windows_of(clip, masks=shapes, seed=3, num_variants=3)
    assert np.array_equal(more["last"].variants[1].mask, first["last"].variants[1].mask)


def test_clip_without_room_for_a_pair_gives_the_rest_and_says_so(clip) -> None:
    settings = dataclasses.replace(WINDOWS, pairs=((17, 9, 9),))
    windows, dropped = windows_of(clip, settings=settings)
    assert set(windows) == {"first", "last"}
    assert [(one.reason, one.detail) for one in dropped] == [
        (Reason.NO_WINDOW, "24 steps at 12 fps hold no ID pair of 17 + 9")
    ]


def test_slower_window_takes_every_second_frame_and_its_masks(clip) -> None:
    settings = WindowSettings(height_px=64, width_px=96, fps=Fraction(6), num_frames=9, pairs=())
    windows, _ = windows_of(clip, settings=settings, masks=mix(all_tracks=1), num_variants=1)
    masks = clip[2].masks
    both = masks["blue square"] | masks["red square"]
    assert np.array_equal(windows["last"].variants[0].mask, both[6:23:2])
