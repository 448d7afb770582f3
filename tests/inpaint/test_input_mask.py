import cv2
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import ConvexHull

from tests.inpaint.footage import numbered, write_video
from vpdata.errors import ConfigError
from vpdata.inpaint.input_mask import MaskSettings, open_mask
from vpdata.inpaint.input_video import open_video


def moving(num_frames: int) -> np.ndarray:
    """bool [T, 48, 64]: a square whose left edge is the number of the frame."""
    masks = np.zeros((num_frames, 48, 64), bool)
    for index, mask in enumerate(masks):
        mask[8:20, index : index + 10] = True
    return masks


def lefts(frames: np.ndarray) -> list[int]:
    return [int(np.flatnonzero(mask.any(axis=0))[0]) for mask in frames]


@pytest.fixture
def video(tmp_path):
    """20 frames at 20 a second."""
    return open_video(write_video(tmp_path / "in.mp4", numbered(20), fps=20))


def saved(tmp_path, masks: np.ndarray):
    np.savez_compressed(tmp_path / "masks.npz", masks)
    return tmp_path / "masks.npz"


def mask_video(tmp_path, masks: np.ndarray, *, fps: int):
    return write_video(tmp_path / "mask.mp4", np.repeat(masks[..., None] * np.uint8(255), 3, axis=3), fps=fps)


def read(path, video, **settings) -> np.ndarray:
    return np.stack(list(open_mask(path, video, MaskSettings(**settings)).frames()))


def test_mask_that_agrees_is_taken_as_it_is(video, tmp_path):
    mask = open_mask(saved(tmp_path, moving(20)), video)
    assert np.array_equal(np.stack(list(mask.frames())), moving(20))
    assert np.array_equal(np.stack(list(mask.frames())), moving(20))
    assert mask.num_holes == 20


@pytest.mark.parametrize(("num_masks", "does"), [(17, "holds the last"), (23, "drops those at the end")])
def test_other_length_is_refused_unless_asked(num_masks, does, video, tmp_path):
    path = saved(tmp_path, moving(num_masks))
    with pytest.raises(ConfigError, match=rf"length: {num_masks} masks, wanted 20; --set mask.fit=\[length\] {does}"):
        open_mask(path, video)
    assert lefts(read(path, video, fit=("length",))) == [min(index, num_masks - 1) for index in range(20)]


def test_other_size_is_refused_unless_asked(video, tmp_path):
    path = saved(tmp_path, moving(20)[:, ::2, ::2])
    with pytest.raises(ConfigError, match=r"size: 32 x 24 px, the video 64 x 48; --set mask.fit=\[size\] scales it"):
        open_mask(path, video)
    scaled = read(path, video, fit=("size",))
    assert scaled.shape == (20, 48, 64)
    assert (scaled & moving(20)).sum() / (scaled | moving(20)).sum() > 0.6


def test_other_shape_is_refused_even_then(video, tmp_path):
    with pytest.raises(ConfigError, match="another shape than the video"):
        open_mask(saved(tmp_path, moving(20)[:, :24]), video, MaskSettings(fit=("size",)))


def test_other_rate_is_refused_unless_asked(video, tmp_path):
    path = mask_video(tmp_path, moving(10), fps=10)
    with pytest.raises(
        ConfigError, match=r"rate: 10 frames a second, the video 20; --set mask.fit=\[rate\]"
    ) as refusal:
        open_mask(path, video)
    assert "length" not in str(refusal.value)
    assert lefts(read(path, video, fit=("rate",))) == [index // 2 for index in range(20)]


def test_faster_mask_is_thinned_out(video, tmp_path):
    path = mask_video(tmp_path, moving(50), fps=50)
    assert lefts(read(path, video, fit=("rate",))) == [int(index * 2.5) for index in range(20)]


def test_other_rate_with_as_many_frames_is_taken_frame_by_frame(video, tmp_path, caplog):
    assert lefts(read(mask_video(tmp_path, moving(20), fps=50), video)) == list(range(20))
    assert "mask k is taken for frame k" in caplog.text


def test_all_that_differs_is_said_at_once(video, tmp_path):
    path = mask_video(tmp_path, moving(6)[:, ::2, ::2], fps=10)
    with pytest.raises(ConfigError) as refusal:
        open_mask(path, video)
    lines = str(refusal.value).splitlines()
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["size", "rate", "length"]
    with pytest.raises(ConfigError, match="length: 6 masks, wanted 10"):
        open_mask(path, video, MaskSettings(fit=("size", "rate")))
    assert read(path, video, fit=("size", "rate", "length")).shape == (20, 48, 64)


def test_one_image_is_held_for_the_whole_video(video, tmp_path):
    cv2.imwrite(str(tmp_path / "mask.png"), moving(1)[0].astype(np.uint8) * 255)
    with pytest.raises(ConfigError, match="length: 1 masks, wanted 20"):
        open_mask(tmp_path / "mask.png", video)
    assert lefts(read(tmp_path / "mask.png", video, fit=("length",))) == [0] * 20


def test_mask_of_rotated_video_is_upright_as_the_video_is_shown(tmp_path):
    video = open_video(write_video(tmp_path / "in.mp4", numbered(4), rotation=90))
    upright = np.zeros((4, 64, 48), bool)
    upright[:, :20] = True
    assert np.array_equal(read(saved(tmp_path, upright), video), upright)
    with pytest.raises(ConfigError, match="size: 64 x 48 px, the video 48 x 64"):
        open_mask(saved(tmp_path, moving(4)), video)


def test_inverted_mask_is_the_background(video, tmp_path):
    assert np.array_equal(read(saved(tmp_path, moving(20)), video, invert=True), ~moving(20))


def parts_of_all_kinds() -> np.ndarray:
    """bool [20, 48, 64]: an L, a square that touches another by a corner, a ring with a point in it, a pixel."""
    mask = np.zeros((48, 64), bool)
    mask[0:20, 0:3] = mask[17:20, 0:20] = True
    mask[30:34, 5:9] = mask[34:40, 9:12] = True
    mask[5:25, 30:55] = True
    mask[8:22, 33:52] = False
    mask[15, 40] = mask[47, 63] = True
    return np.repeat(mask[None], 20, axis=0)


def test_each_part_becomes_its_box(video, tmp_path):
    masks = parts_of_all_kinds()
    boxed = np.zeros((48, 64), bool)
    boxed[0:20, 0:20] = boxed[30:40, 5:12] = boxed[5:25, 30:55] = boxed[47, 63] = True
    assert np.array_equal(read(saved(tmp_path, masks), video, shape="box")[7], boxed)
    assert np.array_equal(read(saved(tmp_path, masks), video, shape="box", invert=True)[7], ~boxed)


def test_each_part_becomes_its_convex_hull(video, tmp_path):
    masks = parts_of_all_kinds()
    made = read(saved(tmp_path, masks), video, shape="hull")[7]
    labels, num_parts = ndimage.label(masks[7], np.ones((3, 3)))
    pixels = np.indices(made.shape).reshape(2, -1)
    within, near = masks[7].copy(), masks[7].copy()
    for part in range(1, num_parts + 1):
        points = np.argwhere(labels == part)
        if len(points) == 1:
            continue
        faces = ConvexHull(points).equations
        distances_px = (faces[:, :2] @ pixels + faces[:, 2:]).max(axis=0).reshape(made.shape)
        within |= distances_px <= 0
        near |= distances_px <= 0.5
    assert made[within].all()
    assert not made[~near].any()
    assert within.sum() > masks[7].sum() + 300


def test_mask_grows_from_its_shape(video, tmp_path):
    grown = read(saved(tmp_path, parts_of_all_kinds()), video, shape="box", dilate_px=2)[0]
    boxed = read(saved(tmp_path, parts_of_all_kinds()), video, shape="box")[0]
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    assert np.array_equal(grown, ndimage.binary_dilation(boxed, disc))


def test_dilated_mask_grows_on_all_sides(video, tmp_path):
    point = np.zeros((20, 48, 64), bool)
    point[:, 24, 32] = True
    grown = read(saved(tmp_path, point), video, dilate_px=3)[0]
    rows, columns = np.nonzero(grown)
    distances = np.hypot(rows - 24, columns - 32)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (21, 27, 29, 35)
    assert distances.max() < 3.7


def test_mask_grows_over_the_frame_where_it_reaches_and_is_looked_at_nowhere_else(video, tmp_path, monkeypatch):
    corner, middle = np.zeros((20, 48, 64), bool), np.zeros((20, 48, 64), bool)
    corner[:, :5, 60:] = True
    middle[:10, 20:24, 30:40] = middle[:, 23, 38] = True
    sizes = set()
    dilate, disc = cv2.dilate, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))

    def looked_at(mask, kernel):
        sizes.add(mask.shape)
        return dilate(mask, kernel)

    monkeypatch.setattr(cv2, "dilate", looked_at)
    for masks in (corner, middle):
        grown = read(saved(tmp_path, masks), video, dilate_px=3)
        assert all(
            np.array_equal(one, ndimage.binary_dilation(own, disc)) for one, own in zip(grown, masks, strict=True)
        )
    assert sizes == {(8, 7), (10, 16), (7, 7)}


def test_empty_mask_is_told(video, tmp_path):
    assert open_mask(saved(tmp_path, np.zeros((20, 48, 64), bool)), video).num_holes == 0


def test_mask_that_covers_everything_is_refused_unless_asked(video, tmp_path):
    path = saved(tmp_path, np.ones((20, 48, 64), bool))
    with pytest.raises(ConfigError, match=r"covers every frame wholly.*--set mask.allow_whole=true"):
        open_mask(path, video)
    assert read(path, video, allow_whole=True).all()
    partly = np.ones((20, 48, 64), bool)
    partly[3, 0, 0] = False
    assert read(saved(tmp_path, partly), video).sum() == partly.sum()


def test_every_pixel_decides_the_hash(video, tmp_path):
    masks = moving(20)
    first = open_mask(saved(tmp_path, masks), video).sha256
    assert open_mask(mask_video(tmp_path, masks, fps=20), video).sha256 == first
    masks[19, 47, 63] = True
    assert open_mask(saved(tmp_path, masks), video).sha256 != first


def test_negative_dilation_is_refused():
    with pytest.raises(ValueError, match="dilate_px -1"):
        MaskSettings(dilate_px=-1)
