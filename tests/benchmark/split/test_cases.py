"""A case has the frames, the mask and the words of its clip."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmark.split.cases import Material, make_case
from benchmark.split.categories import Offer
from benchmark.split.regions import background_region, moving_region
from benchmark.split.unusable import UnusableError
from tests.benchmark.split.materials import make_material
from tests.runs import HEIGHT_PX, NUM_FRAMES, WIDTH_PX
from vpdata.errors import RunError
from vpdata.media.clips import ClipReader
from vpdata.media.masks import decode_masks, encode_mask

SIZE = {"height_px": HEIGHT_PX, "width_px": WIDTH_PX}
BLUE, BOTH = Offer(category="object", tracks=(1,)), Offer(category="multi", tracks=(1, 2))
DRAWN = Offer(category="landscape", tracks=())
SHORT = {"subset": "S", "max_s": 1.0, "seed": 0}


def masks_of(made):
    return decode_masks(made.counts, **SIZE)


def test_mask_is_the_union_of_the_tracks_and_the_words_are_theirs():
    material, truth = make_material(3)
    made = make_case(material, BOTH, subset="S", max_s=60, seed=0)
    assert np.array_equal(masks_of(made), truth["blue square"] | truth["red square"])
    case = made.case
    assert (case.id, case.num_frames, case.tracks) == (f"s-{material.record.id}", NUM_FRAMES, (1, 2))
    assert case.caption == "Clip 3: a red square crosses a blue one."
    assert case.object_caption == "a blue square a red square"
    assert made.mp4 == material.mp4, "a whole clip keeps its bytes"


def test_case_begins_where_its_mask_is_first_seen():
    material, truth = make_material()
    late = truth["red square"].copy()
    late[:7] = False
    track = replace(material.record.tracks[1], masks=tuple(map(encode_mask, late)))
    material = replace(material, record=replace(material.record, tracks=(material.record.tracks[0], track)))
    made = make_case(material, Offer(category="object", tracks=(2,)), **SHORT)
    assert (made.case.start_frame, made.case.num_frames) == (7, 12)
    assert np.array_equal(masks_of(made), late[7:19])
    whole = ClipReader(material.mp4).read().astype(int)
    errors = [np.abs(ClipReader(made.mp4).read() - whole[start : start + 12]).mean() for start in (6, 7, 8)]
    assert errors[1] < 1.5 < 2 * errors[1] < min(errors[0], errors[2]), "the same frames, with little loss"


def test_late_mask_moves_the_start_no_further_than_the_length_allows():
    material, _ = make_material()
    hidden = (None,) * 14 + material.record.tracks[1].masks[14:]
    track = replace(material.record.tracks[1], masks=hidden)
    material = replace(material, record=replace(material.record, tracks=(track,)))
    assert make_case(material, Offer(category="object", tracks=(2,)), **SHORT).case.start_frame == 12


def test_drawn_region_is_clear_of_all_objects_and_follows_from_seed_and_clip():
    material, truth = make_material()
    made = make_case(material, DRAWN, subset="L", max_s=60, seed=4)
    masks = masks_of(made)
    assert not (masks & (truth["blue square"] | truth["red square"])).any()
    assert masks.any(axis=(1, 2)).mean() > 0.5
    assert (made.case.object_caption, made.case.region_prompt) == ("", made.case.caption), "nobody says what is there"
    assert made == make_case(material, DRAWN, subset="L", max_s=60, seed=4)
    assert made.counts != make_case(material, DRAWN, subset="L", max_s=60, seed=5).counts


def test_moving_region_moves_and_stays_one_piece_in_the_frame():
    masks = np.stack(list(moving_region("a key", num_frames=30, height_px=90, width_px=160)))
    assert masks.shape == (30, 90, 160)
    assert 0.01 < masks.mean() < 0.4
    assert (masks[0] != masks[-1]).any()
    # From frame to frame it moves by a few pixels: neighbours overlap.
    overlap = (masks[1:] & masks[:-1]).sum(axis=(1, 2)) / (masks[1:] | masks[:-1]).sum(axis=(1, 2))
    assert overlap.min() > 0.7
    whole = np.stack(list(background_region("a key", (), num_frames=30, height_px=90, width_px=160)))
    assert np.array_equal(whole, masks)


def test_mask_that_is_hardly_seen_or_nearly_everything_is_no_case():
    material, _ = make_material()
    seldom = replace(material.record.tracks[0], masks=(material.record.tracks[0].masks[0], *(None,) * 23))
    full = replace(material.record.tracks[0], masks=(encode_mask(np.ones((HEIGHT_PX, WIDTH_PX), bool)),) * 24)
    for track, words in ((seldom, "seen on 8% of the frames"), (full, "covers 100.0% of the frame")):
        poor = replace(material, record=replace(material.record, tracks=(track,)))
        with pytest.raises(UnusableError, match=words) as caught:
            make_case(poor, BLUE, **SHORT)
        assert caught.value.why == "mask"


def test_damaged_run_lengths_and_missing_captions_are_named_with_the_clip():
    material, _ = make_material()
    record = material.record
    damaged = replace(record.tracks[0], masks=("0Z", *record.tracks[0].masks[1:]))
    with pytest.raises(RunError, match=rf"{record.id}: a track's mask is damaged.*vpdata check"):
        make_case(Material(record=replace(record, tracks=(damaged,)), mp4=material.mp4), BLUE, **SHORT)
    with pytest.raises(RunError, match="got no caption of the clip; wanted a run that the stage `caption`"):
        make_case(Material(record=replace(record, captions=()), mp4=material.mp4), BLUE, **SHORT)
