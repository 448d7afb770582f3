"""Worse masks for the study of mask quality: the same change at every strength, and always a hole."""

from __future__ import annotations

import logging
import shutil

import pytest

from benchmark.bench import open_bench
from benchmark.studies.altered_masks import MaskAlteration, altered, not_eroded
from tests.benchmark.benches import make_bench


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Objects of about 40 px across."""
    return make_bench(
        tmp_path_factory.mktemp("bench"), num_short=8, num_long=0, num_edits=0, num_frames=4, height_px=96, width_px=128
    )


def resized(made, kernel_px):
    return altered(made.bench, MaskAlteration(kind="resized", kernel_px=kernel_px))


def test_a_case_is_eroded_by_every_kernel_or_dilated_by_every_one(made):
    areas = {
        case: [mask.sum(), *(resized(made, kernel_px).masks(made.bench.case(case)).sum() for kernel_px in (4, 8, 16))]
        for case, mask in made.masks.items()
    }
    grown = [case for case, found in areas.items() if found == sorted(found)]
    shrunk = [case for case, found in areas.items() if found == sorted(found, reverse=True)]
    assert sorted(grown + shrunk) == sorted(areas)
    assert grown
    assert shrunk


def test_no_case_is_left_without_a_hole_and_those_too_thin_are_named(made, caplog):
    shrunk = {
        case for case, mask in made.masks.items() if resized(made, 4).masks(made.bench.case(case)).sum() < mask.sum()
    }
    with caplog.at_level(logging.WARNING):
        bench = resized(made, 64)
    for case in shrunk:
        assert f"{case} (4 frames)" in caplog.text
    for case in bench.cases:
        assert bench.masks(case).any(axis=(1, 2)).all()
    assert not_eroded(bench) == dict.fromkeys(sorted(shrunk), 4)
    assert not_eroded(resized(made, 4)) == {}
    assert not_eroded(made.bench) == not_eroded(altered(made.bench, MaskAlteration(kind="squares"))) == {}


def test_case_whose_masks_are_gone_stops_no_other(made, tmp_path):
    shutil.copytree(made.folder, tmp_path / "bench")
    bench = open_bench(tmp_path / "bench")
    thin = not_eroded(resized(made, 64))
    (tmp_path / "bench/masks" / f"{min(thin)}.json").unlink()
    assert not_eroded(altered(bench, MaskAlteration(kind="resized", kernel_px=64))).keys() == thin.keys() - {min(thin)}
