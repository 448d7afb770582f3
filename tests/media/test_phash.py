import cv2
import numpy as np
import pytest

from vpdata.media.phash import NO_EVIDENCE, distance_frac, phash_frames

HEIGHT_PX, WIDTH_PX = 120, 212


def picture(seed: int, *, height_px: int = HEIGHT_PX, width_px: int = WIDTH_PX) -> np.ndarray:
    """uint8 [H, W, 3] of smooth random structure on all scales, as footage has it."""
    rng = np.random.default_rng(seed)
    image = np.full((height_px, width_px, 3), 110.0, np.float32)
    for cells in (4, 8, 16, 32):
        noise = rng.normal(size=(cells, 2 * cells, 3)).astype(np.float32)
        image += cv2.resize(noise, (width_px, height_px), interpolation=cv2.INTER_CUBIC) * 200 / cells**0.8
    return np.clip(image, 0, 255).astype(np.uint8)


FRAMES = np.stack([picture(seed) for seed in range(4)])


def encoded_as_jpeg(frames: np.ndarray) -> np.ndarray:
    return np.stack([cv2.imdecode(cv2.imencode(".jpg", f, [cv2.IMWRITE_JPEG_QUALITY, 25])[1], 1) for f in frames])


def scaled(frames: np.ndarray) -> np.ndarray:
    return np.stack([cv2.resize(frame, (128, 72), interpolation=cv2.INTER_AREA) for frame in frames])


def darker(frames: np.ndarray) -> np.ndarray:
    return (frames * 0.7 + 12).astype(np.uint8)


def cropped(frames: np.ndarray) -> np.ndarray:
    return frames[:, 2:-2, 4:-4]


@pytest.mark.parametrize("change", [encoded_as_jpeg, scaled, darker, cropped])
def test_a_copy_stays_within_a_tenth(change):
    assert distance_frac(phash_frames(FRAMES), phash_frames(change(FRAMES))) < 0.1


def test_other_pictures_are_about_half_the_bits_away():
    others = np.stack([picture(100 + seed) for seed in range(4)])
    assert 0.35 < distance_frac(phash_frames(FRAMES), phash_frames(others)) < 0.65


def test_each_frame_gives_sixteen_hex_digits_with_half_the_bits_set():
    digits = phash_frames(FRAMES)
    assert len(digits) == 64
    assert [int(digits[at : at + 16], 16).bit_count() for at in range(0, 64, 16)] == [32] * 4


def test_bits_are_the_signs_of_a_pure_wave():
    """A cosine along x excites one DCT frequency alone, so its bit is set and that of its negative is not."""
    wave = np.cos(np.pi * 2 * (2 * np.arange(32) + 1) / 64) * 60
    crest, trough = (np.repeat(np.round(128 + sign * wave)[None, :, None], 32, 0) for sign in (1, -1))
    frames = np.repeat(np.stack([crest, trough]), 3, axis=3).astype(np.uint8)
    digits = phash_frames(frames)
    # By diagonals from the corner without (0, 0): (0,1) (1,0) (0,2): frequency 2 along x is the third bit.
    third_bit = 1 << (63 - 2)
    assert int(digits[:16], 16) & third_bit
    assert not int(digits[16:], 16) & third_bit


@pytest.mark.parametrize("level", [0, 16, 200])
def test_flat_frame_with_noise_carries_no_evidence(level):
    noise = np.random.default_rng(0).normal(0, 3, size=(1, HEIGHT_PX, WIDTH_PX, 3))
    assert phash_frames(np.clip(level + noise, 0, 255).astype(np.uint8)) == NO_EVIDENCE


@pytest.mark.parametrize("size", [(33, 47), (5, 3), (64, 64)])
def test_flat_frame_of_any_size_carries_no_evidence(size):
    assert phash_frames(np.full((1, *size, 3), 180, np.uint8)) == NO_EVIDENCE


def test_faint_structure_carries_evidence():
    wave = np.round(128 + 3 * np.cos(np.pi * 2 * (2 * np.arange(64) + 1) / 128))
    assert phash_frames(np.broadcast_to(wave[None, None, :, None], (1, 64, 64, 3)).astype(np.uint8)) != NO_EVIDENCE


def test_two_black_clips_are_not_near():
    black = phash_frames(np.zeros((4, HEIGHT_PX, WIDTH_PX, 3), np.uint8))
    assert distance_frac(black, black) == 1.0


def test_black_frames_are_left_out_of_the_mean():
    one, other = "00000000ffffffff", "00000001fffffffe"  # 2 of 64 bits differ
    assert distance_frac(NO_EVIDENCE + one + one, NO_EVIDENCE + one + other) == 2 / 128
    assert distance_frac(NO_EVIDENCE + one, one + one) == 0.0


def test_clip_with_most_frames_black_is_near_nothing():
    digits = NO_EVIDENCE * 2 + "00000000ffffffff"
    assert distance_frac(digits, digits) == 1.0


def test_frame_smaller_than_the_thumbnail_is_hashed():
    tiny = cv2.resize(picture(0), (20, 12), interpolation=cv2.INTER_AREA)[None]
    assert distance_frac(phash_frames(tiny), phash_frames(np.repeat(np.repeat(tiny, 8, 1), 8, 2))) < 0.25


@pytest.mark.parametrize(("a", "b"), [("", ""), ("0" * 16, "0" * 32), ("0" * 15, "0" * 15)])
def test_hashes_of_different_length_are_refused(a, b):
    with pytest.raises(ValueError, match="equal multiples of 16"):
        distance_frac(a, b)
