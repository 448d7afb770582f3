from __future__ import annotations

import hashlib
import io
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from vpdata.errors import RunError
from vpdata.media.clips import ClipReader, ClipSettings, ClipWriter, scaled_size

WIDTH_PX, HEIGHT_PX = 96, 64


def moving_texture(num_frames: int, *, seed: int = 0) -> np.ndarray:
    """uint8 [T, 64, 96, 3] RGB: a window that moves over a smooth random picture, so that no two frames are alike."""
    noise = np.random.default_rng(seed).normal(128, 400, (HEIGHT_PX + num_frames, WIDTH_PX + num_frames, 3))
    picture = cv2.GaussianBlur(noise, (0, 0), 4).clip(0, 255).astype(np.uint8)
    return np.stack([picture[i : i + HEIGHT_PX, i : i + WIDTH_PX] for i in range(num_frames)])


def write_clip(images: np.ndarray, *, fps: Fraction = Fraction(25), settings: ClipSettings | None = None) -> bytes:
    writer = ClipWriter(width_px=images.shape[2], height_px=images.shape[1], fps=fps, settings=settings)
    for image in images:
        writer.write(image)
    return writer.finish()


def decoded_by_pyav(data: bytes) -> tuple[list[av.VideoFrame], list[Fraction]]:
    with av.open(io.BytesIO(data)) as container:
        frames = list(container.decode(video=0))
    with av.open(io.BytesIO(data)) as container:
        keys = [packet.pts * packet.time_base for packet in container.demux(video=0) if packet.is_keyframe]
    return frames, keys


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return moving_texture(60)


@pytest.fixture(scope="module")
def clip(images) -> bytes:
    return write_clip(images)


@pytest.mark.parametrize("fps", ["24000/1001", "25", "30000/1001", "15", "60"])
def test_clip_has_constant_rate_and_a_key_frame_every_half_second(images, fps):
    fps = Fraction(fps)
    frames, keys = decoded_by_pyav(write_clip(images, fps=fps))
    assert [frame.pts * frame.time_base for frame in frames] == [index / fps for index in range(60)]
    assert max(np.diff([*keys, 60 / fps])) <= Fraction(1, 2)


def test_clip_is_tagged_bt709_limited_and_has_its_index_first(clip):
    frames, _ = decoded_by_pyav(clip)
    frame = frames[0]
    assert (frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range) == (1, 1, 1, 1)
    assert frame.format.name == "yuv420p"
    assert clip.index(b"moov") < clip.index(b"mdat")


@pytest.mark.parametrize("decoder", ["decord", "pyav"])
def test_colours_survive_writing_and_reading(decoder):
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 120, 30), (16, 16, 16), (255, 255, 255)]
    images = np.stack([np.full((64, 96, 3), colour, np.uint8) for colour in colours])
    settings = ClipSettings(crf=1)
    read = ClipReader(write_clip(images, settings=settings), decoder=decoder).read()
    np.testing.assert_allclose(read[:, 32, 48].astype(int), colours, atol=4)


@pytest.mark.parametrize("fps", [Fraction(25), Fraction(30000, 1001)])
def test_decord_and_pyav_read_the_same_pixels(images, fps):
    data = write_clip(images, fps=fps)
    readers = [ClipReader(data, decoder=decoder) for decoder in ("decord", "pyav")]
    assert [(r.num_frames, r.fps, r.width_px, r.height_px) for r in readers] == [(60, fps, 96, 64)] * 2
    whole = [reader.read() for reader in readers]
    np.testing.assert_array_equal(whole[0], whole[1])
    for wanted in ([0], [59], [13, 12, 11], [58, 0, 59, 0], range(20, 36)):
        for reader in readers:
            np.testing.assert_array_equal(reader.read(wanted), whole[0][list(wanted)])
    # Compression costs a few grey levels; a neighbouring frame would differ by far more.
    assert np.abs(whole[0].astype(int) - images).mean() < 4 < np.abs(whole[0][1:].astype(int) - images[:-1]).mean()


def test_no_frames_asked_for_gives_an_empty_array(clip):
    assert ClipReader(clip).read([]).shape == (0, 64, 96, 3)
    assert ClipReader(clip).read([], max_short_side_px=32).shape == (0, 32, 48, 3)


def test_frames_are_scaled_down_and_never_up(clip, images):
    small = ClipReader(clip).read([5], max_short_side_px=32)
    assert small.shape == (1, 32, 48, 3)
    wanted = images[5].reshape(32, 2, 48, 2, 3).mean(axis=(1, 3))
    assert np.abs(small[0] - wanted).mean() < 4
    assert ClipReader(clip).read([5], max_short_side_px=720).shape == (1, 64, 96, 3)


@pytest.mark.parametrize("wanted", [[60], [-1]])
def test_frame_outside_the_clip_is_an_index_error(clip, wanted):
    with pytest.raises(IndexError, match="wanted 0 to 59"):
        ClipReader(clip).read(wanted)


@pytest.mark.parametrize("decoder", ["decord", "pyav"])
@pytest.mark.parametrize("damage", [lambda d: b"", lambda d: b"x" * 500, lambda d: d[: len(d) // 2], lambda d: d[:-1]])
def test_damaged_clip_is_named(clip, damage, decoder):
    with pytest.raises(RunError, match="damaged; `vpdata check`"):
        ClipReader(damage(clip), decoder=decoder).read()


def test_sha256_finds_damage_inside_the_pictures(clip):
    sha256 = hashlib.sha256(clip).hexdigest()
    at = len(clip) * 3 // 4
    flipped = clip[:at] + bytes([clip[at] ^ 1]) + clip[at + 1 :]
    assert ClipReader(clip, sha256=sha256).num_frames == 60
    with pytest.raises(RunError, match="is not what was written"):
        ClipReader(flipped, sha256=sha256)


def test_equal_frames_give_equal_bytes(images, clip):
    assert write_clip(images) == clip


def test_bt709_frame_is_written_without_a_detour_over_rgb():
    luma = np.tile(np.arange(16, 112, dtype=np.uint8), (64, 1))
    chroma = np.full((32, 96), 128, np.uint8)
    frame = av.VideoFrame.from_ndarray(np.concatenate([luma, chroma]), format="yuv420p")
    writer = ClipWriter(width_px=96, height_px=64, fps=Fraction(25), settings=ClipSettings(crf=0))
    writer.write(frame)
    frames, _ = decoded_by_pyav(writer.finish())
    np.testing.assert_array_equal(frames[0].to_ndarray()[:64], luma)


def test_odd_size_is_refused():
    with pytest.raises(ValueError, match="even sizes"):
        ClipWriter(width_px=97, height_px=64, fps=Fraction(25))


@pytest.mark.parametrize("values", [{"crf": 52}, {"short_side_px": 15}, {"short_side_px": 721}])
def test_settings_outside_their_range_are_refused(values):
    with pytest.raises(ValueError, match="wanted"):
        ClipSettings(**values)


@pytest.mark.parametrize(
    ("size", "short", "wanted"),
    [
        ((1280, 720), 360, (640, 360)),
        ((720, 1280), 360, (360, 640)),
        ((96, 64), 720, (96, 64)),
        ((96, 64), None, (96, 64)),
    ],
)
def test_scaled_size_keeps_the_aspect(size, short, wanted):
    assert scaled_size(*size, short) == wanted
