"""What labels and masks say that a clip shows."""

from __future__ import annotations

import pytest

from benchmark.split.categories import Offer, kind_of, offers_of

SMALL = {"mean_area_frac": 0.1, "border_frac": 0.0}
BACKGROUND = {"mean_area_frac": 0.5, "border_frac": 1.0}


@pytest.mark.parametrize(
    ("label", "kind"),
    [
        ("person", "human"),
        ("man with a dog", "human"),
        ("two women", "human"),
        ("Face", "human"),
        ("puppies", "animal"),
        ("brown horses", "animal"),
        ("horse under a rider", "animal"),
        ("blue sky", "landscape"),
        ("trees", "landscape"),
        ("teddy bear", "object"),
        ("hot dog", "object"),
        ("red car", "object"),
        ("moving object", "object"),
        ("", "object"),
    ],
)
def test_head_noun_of_the_label_decides(label, kind):
    assert kind_of(label, **SMALL) == kind


def test_only_a_label_that_names_nothing_gives_way_to_the_size_of_the_mask():
    assert kind_of("moving object", **BACKGROUND) == "landscape"
    assert kind_of("object", **BACKGROUND) == "landscape"
    assert kind_of("car", **BACKGROUND) == "object"
    assert kind_of("moving object", mean_area_frac=0.5, border_frac=0.5) == "object"


def track(number, label, *, area=0.1, coverage=1.0):
    return {"id": number, "label": label, "mean_area_frac": area, "coverage_frac": coverage, "border_frac": 0.0}


def test_clip_offers_the_most_seen_track_of_each_kind_and_all_together():
    tracks = [track(1, "dog"), track(2, "man", area=0.2, coverage=0.3), track(3, "woman"), track(5, "sky")]
    assert offers_of(tracks) == (
        Offer(category="human", tracks=(3,)),
        Offer(category="animal", tracks=(1,)),
        Offer(category="landscape", tracks=(5,)),
        Offer(category="multi", tracks=(1, 2, 3, 5)),
    )


def test_background_without_a_track_of_its_own_is_drawn():
    found = offers_of([track(2, "cup")])
    assert found == (Offer(category="object", tracks=(2,)), Offer(category="landscape", tracks=()))
    assert [offer.is_drawn for offer in found] == [False, True]
