import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco

from tests.inpaint.footage import unreadable, write_video
from vpdata.errors import ConfigError
from vpdata.inpaint.fit import Size
from vpdata.inpaint.mask_files import open_mask_file

SIZE = Size(height_px=48, width_px=64)


def moving(num_frames: int = 6, *, row: int = 8) -> np.ndarray:
    """bool [T, H, W]: a square that moves to the right."""
    masks = np.zeros((num_frames, 48, 64), bool)
    for index, mask in enumerate(masks):
        mask[row : row + 12, 4 * index : 4 * index + 12] = True
    return masks


def rle(mask: np.ndarray) -> dict:
    found = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": found["size"], "counts": found["counts"].decode()}


def read(path) -> np.ndarray:
    masks = open_mask_file(path, size_if_empty=SIZE)
    frames = np.stack(list(masks.frames()))
    assert frames.dtype == np.bool_
    assert frames.shape == (masks.num_frames, masks.size.height_px, masks.size.width_px)
    return frames


def test_video_is_masked_where_it_is_bright(tmp_path):
    masks = moving()
    path = write_video(tmp_path / "mask.mp4", np.repeat(masks[..., None] * np.uint8(255), 3, axis=3), fps=10)
    assert np.array_equal(read(path), masks)
    assert open_mask_file(path, size_if_empty=SIZE).fps == 10


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tiff", ".webp"])
def test_folder_of_images_is_read_in_the_order_of_its_numbers(suffix, tmp_path):
    masks = moving(12)
    for index, mask in enumerate(masks):
        cv2.imwrite(str(tmp_path / f"mask_{index + 1}{suffix}"), mask.astype(np.uint8) * 255)
    (tmp_path / "notes.txt").write_text("no mask")
    assert np.array_equal(read(tmp_path), masks)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_image_of_object_numbers_is_the_union_of_the_objects(dtype, tmp_path):
    one, other = moving(), moving(row=30)
    for index, labels in enumerate(one * 1 + other * 2):
        cv2.imwrite(str(tmp_path / f"{index:05d}.png"), labels.astype(dtype))
    assert np.array_equal(read(tmp_path), one | other)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_image_with_transparent_pixels_is_refused(dtype, tmp_path):
    mask, full = moving()[0], np.iinfo(dtype).max
    pixels = np.repeat(mask[..., None] * full, 4, axis=2).astype(dtype)
    cv2.imwrite(str(tmp_path / "mask.png"), pixels)
    with pytest.raises(ConfigError, match=r"mask.png has transparent pixels.*white on black"):
        read(tmp_path / "mask.png")
    pixels[..., 3] = full
    cv2.imwrite(str(tmp_path / "mask.png"), pixels)
    assert np.array_equal(read(tmp_path / "mask.png")[0], mask)


def test_single_image_is_one_mask(tmp_path):
    cv2.imwrite(str(tmp_path / "mask.png"), moving()[0].astype(np.uint8) * 255)
    assert np.array_equal(read(tmp_path / "mask.png"), moving()[:1])


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["1.png", "2.png", "4.png"], "no image number 3, but 1 to 4"),
        (["first.png"], "no number in its name"),
        (["1.png", "01.png"], "the same number"),
        ([], "got no images"),
    ],
)
def test_folder_with_a_gap_or_without_numbers_is_refused(names, wanted, tmp_path):
    for name in names:
        cv2.imwrite(str(tmp_path / name), np.zeros((48, 64), np.uint8))
    with pytest.raises(ConfigError, match=wanted):
        read(tmp_path)


def test_images_of_several_sizes_are_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((48, 64), np.uint8))
    cv2.imwrite(str(tmp_path / "1.png"), np.zeros((24, 32), np.uint8))
    with pytest.raises(ConfigError, match=r"1.png is 32 x 24 px, 0.png is not"):
        read(tmp_path)


def test_image_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "0.png").write_bytes(b"no image")
    with pytest.raises(ConfigError, match=r"0.png is no picture"):
        read(tmp_path)


def test_masks_json_of_a_data_set_is_the_union_of_its_tracks(tmp_path):
    one, other = moving(), moving(row=30)
    tracks = [{"id": 1, "masks": [rle(mask) for mask in one]}, {"id": 2, "masks": [rle(mask) for mask in other]}]
    (tmp_path / "masks.json").write_text(json.dumps({"tracks": tracks}))
    assert np.array_equal(read(tmp_path / "masks.json"), one | other)


def test_list_of_run_lengths_has_one_for_each_frame(tmp_path):
    masks = moving()
    masks[2] = False
    rows = [rle(mask) if mask.any() else None for mask in masks]
    (tmp_path / "masks.json").write_text(json.dumps(rows))
    assert np.array_equal(read(tmp_path / "masks.json"), masks)


def test_list_of_lists_has_the_objects_of_each_frame(tmp_path):
    one, other = moving(), moving(row=30)
    other[:3] = False
    rows = [[rle(a), rle(b)] if b.any() else [rle(a)] for a, b in zip(one, other, strict=True)]
    (tmp_path / "masks.json").write_text(json.dumps(rows))
    assert np.array_equal(read(tmp_path / "masks.json"), one | other)


@pytest.mark.parametrize(
    "text",
    [
        "[",
        "[]",
        "3",
        "[3]",
        '{"masks": []}',
        '{"tracks": []}',
        '[{"size": [48, 64], "counts": [1, 2]}]',
        '[{"size": [48], "counts": "a"}]',
        '[{"size": [1e999, 64], "counts": "a"}]',
        '[{"size": [0, 64], "counts": ""}]',
        '[{"size": [48, 64], "counts": "a"}]',
        '[{"size": [48, 64], "counts": "PPP"}, {"size": [24, 32], "counts": "PPP"}]',
    ],
)
def test_json_that_is_no_mask_is_refused(text, tmp_path):
    (tmp_path / "masks.json").write_text(text)
    with pytest.raises(ConfigError, match=r"masks.json (cannot be read|is damaged)"):
        read(tmp_path / "masks.json")


def test_json_without_tracks_says_so(tmp_path):
    (tmp_path / "masks.json").write_text('{"tracks": []}')
    with pytest.raises(ConfigError, match="it holds no track"):
        open_mask_file(tmp_path / "masks.json", size_if_empty=SIZE)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int32])
def test_npz_holds_every_object_under_its_number(dtype, tmp_path):
    one, other = moving(), moving(row=30)
    np.savez_compressed(tmp_path / "masks.npz", (one * 1 + other * 7).astype(dtype))
    np.savez(tmp_path / "named.npz", masks=(one * 1 + other * 7).astype(dtype))
    assert np.array_equal(read(tmp_path / "masks.npz"), one | other)
    assert np.array_equal(read(tmp_path / "named.npz"), one | other)


@pytest.mark.parametrize("arrays", [{"a": np.zeros((2, 3))}, {"a": np.zeros((4, 4)), "b": np.zeros((4, 4))}])
def test_npz_of_something_else_is_refused(arrays, tmp_path):
    np.savez(tmp_path / "masks.npz", **arrays)
    with pytest.raises(ConfigError, match=r"masks.npz: masks.npz cannot be read"):
        read(tmp_path / "masks.npz")


@pytest.mark.parametrize("name", ["mask.npz", "mask.json", "mask.mp4", "mask.png"])
def test_file_that_cannot_be_opened_is_named(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    unreadable(Path(name))
    with pytest.raises(ConfigError, match=rf"cannot read the .*{name}: No such device"):
        read(Path(name))


def test_array_in_a_file_of_its_own_is_refused_with_the_kind_that_is_read(tmp_path):
    np.save(tmp_path / "mask.npy", moving())
    with pytest.raises(ConfigError, match=r"mask.npy, wanted an .npz"):
        read(tmp_path / "mask.npy")


def test_mask_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"there is no mask .*none.mp4"):
        read(tmp_path / "none.mp4")
