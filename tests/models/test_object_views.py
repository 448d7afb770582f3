"""The pictures of an object."""

from __future__ import annotations

import dataclasses

import numpy as np

from tests.fakes import make_clip, squares_film
from vpdata.models.object_views import shown_images
from vpdata.models.ports import CaptionRequest

FRAMES = squares_film({"red square": [(4 * frame, 8, 4 * frame + 24, 40) for frame in range(8)]})


def request(*rows, has_mask):
    images = FRAMES[list(rows)]
    record, _ = make_clip(FRAMES)
    return CaptionRequest(
        record=record,
        track=1 if has_mask else None,
        frames=rows,
        images=images,
        masks=(images == (220, 30, 30)).all(axis=-1) if has_mask else None,
        prompt_name="masked_object",
        prompt="Describe it.",
    )


def test_whole_clip_is_shown_as_it_is():
    shown = shown_images(request(2, 5, has_mask=False))
    assert np.array_equal(shown, FRAMES[[2, 5]])


def test_shown_object_is_outlined_then_alone():
    one = request(2, 5, has_mask=True)
    outlined, _, alone, _ = shown_images(one)
    mask = one.masks[0]
    assert (outlined[mask] == one.images[0][mask]).all()
    changed = (outlined != one.images[0]).any(axis=-1)
    assert (outlined[changed] == (255, 0, 0)).all()
    # Two pixels around 24 x 32, cut by no edge of the picture.
    assert changed.sum() == 28 * 36 - 24 * 32
    assert (alone == (220, 30, 30)).all(axis=-1).sum() == mask.sum()
    assert (alone[(alone != (220, 30, 30)).any(axis=-1)] == 0).all()
    assert alone.shape == (64, 64, 3)


def test_small_object_at_the_edge_is_shown_at_a_fair_size():
    one = request(0, has_mask=True)
    masks = np.zeros_like(one.masks)
    masks[0, 0, 95] = True
    outlined, alone = shown_images(dataclasses.replace(one, masks=masks))
    assert outlined.shape == (64, 96, 3)
    assert alone.shape == (64, 64, 3)
    assert (alone.any(axis=-1)).sum() == 1
    assert alone[0, 63].any()
