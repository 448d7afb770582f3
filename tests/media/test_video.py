from __future__ import annotations

import errno
import os
import struct
import threading
from fractions import Fraction
from itertools import product
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tests.media.footage import (
    HEIGHT_PX,
    LOSSLESS,
    NUM_FRAMES,
    WIDTH_PX,
    grey_ramp,
    greys,
    measured,
    normalised,
    quadrants,
    reason_of,
    to_rgb,
    write_video,
)
from vpdata.errors import Reason, RejectItem

CONTAINERS = {
    "mp4": "libx264",
    "mov": "mpeg4",
    "mkv": "libx264",
    "webm": "libvpx",
    "avi": "mpeg4",
    "ts": "libx264",
    "mpg": "mpeg1video",
    "flv": "flv",
    "asf": "wmv2",
    "ogg": "libvpx",
}


@pytest.mark.parametrize(("suffix", "codec"), CONTAINERS.items())
def test_every_container_gives_every_frame_once(tmp_path, suffix, codec):
    path = write_video(tmp_path / f"video.{suffix}", grey_ramp(), codec=codec)
    info = measured(path)
    reader, planes = normalised(path)
    assert (info.average_fps, info.fps, info.geometry.width_px, info.geometry.height_px) == (25, 25, 96, 64)
    assert info.duration_s == pytest.approx(1.0, abs=0.1)
    assert greys(planes) == list(range(NUM_FRAMES))
    assert (reader.num_source_frames, reader.damage) == (NUM_FRAMES, None)


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_rotated_video_is_put_upright_as_opencv_shows_it(tmp_path, rotation):
    path = write_video(tmp_path / "rotated.mp4", np.stack([quadrants()] * 5), rotation=rotation)
    _, shown = cv2.VideoCapture(str(path)).read()
    info = measured(path)
    _, planes = normalised(path)
    assert (info.geometry.height_px, info.geometry.width_px) == shown.shape[:2]
    assert np.abs(to_rgb(planes[0]).astype(int) - shown[..., ::-1]).mean() < 25  # OpenCV ignores the BT.709 tag
    assert not np.array_equal(to_rgb(planes[0]), quadrants())


TURNS = [(a, 0, 0, d) for a, d in product((1, -1), repeat=2)] + [(0, b, c, 0) for b, c in product((1, -1), repeat=2)]


@pytest.mark.parametrize("matrix", TURNS)
def test_video_is_turned_and_mirrored_by_its_matrix(tmp_path, matrix):
    path = write_video(tmp_path / "matrix.mp4", np.stack([quadrants()] * 5), options=LOSSLESS)
    data = bytearray(path.read_bytes())
    a, b, c, d = (value << 16 for value in matrix)
    struct.pack_into(">9i", data, data.index(b"tkhd") + 44, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    # ISO 14496-12: the pixel at (x, y) is shown at (a x + c y, b x + d y), here moved to where both are positive.
    y, x = np.indices((HEIGHT_PX, WIDTH_PX))
    shown_x, shown_y = matrix[0] * x + matrix[2] * y, matrix[1] * x + matrix[3] * y
    wanted = np.zeros((HEIGHT_PX, WIDTH_PX) if matrix[0] else (WIDTH_PX, HEIGHT_PX), np.uint8)
    upright, green = normalised(path)[1][0], quadrants()[..., 1]
    wanted[shown_y - shown_y.min(), shown_x - shown_x.min()] = green
    assert np.abs(to_rgb(upright)[..., 1].astype(int) - wanted).max() < 12


def test_anamorphic_pixels_become_square(tmp_path):
    path = write_video(tmp_path / "wide.mp4", np.stack([quadrants()] * 5), aspect=Fraction(2, 1))
    reader, planes = normalised(path)
    assert (reader.width_px, reader.height_px) == (192, 64)
    assert np.abs(to_rgb(planes[0])[16, [48, 144]].astype(int) - [(200, 20, 20), (20, 200, 20)]).max() < 12


def test_large_video_is_scaled_to_the_short_side(tmp_path):
    path = write_video(tmp_path / "large.mp4", np.stack([quadrants()] * 5))
    reader, planes = normalised(path, short_side_px=32)
    assert (reader.width_px, reader.height_px) == (48, 32)
    assert np.abs(to_rgb(planes[0])[8, [12, 36]].astype(int) - [(200, 20, 20), (20, 200, 20)]).max() < 12


def test_odd_sizes_lose_the_last_row_and_column_only(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (65, 97, 1), np.uint8).repeat(3, axis=2)
    images = np.stack([image] * 3)
    path = write_video(tmp_path / "odd.mkv", images, codec="ffv1", pixel_format="yuv444p")
    reader, planes = normalised(path)
    assert (reader.width_px, reader.height_px) == (96, 64)
    np.testing.assert_allclose(to_rgb(planes[0])[..., 1].astype(int), image[:64, :96, 0], atol=3)


def test_interlaced_video_loses_its_comb(tmp_path):
    rows = np.arange(HEIGHT_PX)[:, None]
    images = []
    for index in range(10):
        fields = [
            np.tile((np.arange(WIDTH_PX) > 10 + 8 * (index + half / 2)) * 200 + 20, (HEIGHT_PX, 1)) for half in (0, 1)
        ]
        images.append(np.where(rows % 2 == 0, fields[0], fields[1]).astype(np.uint8)[..., None].repeat(3, axis=2))
    path = write_video(tmp_path / "tff.mp4", np.stack(images), options={"crf": "4", "x264-params": "tff=1"})
    reader, planes = normalised(path)
    assert reader.num_source_frames == len(planes) == 10
    comb = [
        np.abs(np.diff(frames.astype(int), axis=-2)).mean()
        for frames in (planes[2:8, :64], np.stack(images)[2:8, ..., 0])
    ]
    assert comb[0] < comb[1] / 4


@pytest.mark.parametrize(
    ("codec", "pixel_format"),
    [("libx264", "yuv420p10le"), ("libx264", "yuv444p"), ("ffv1", "yuv422p"), ("mjpeg", "yuvj420p"), ("ffv1", "bgr0")],
)
def test_other_pixel_formats_keep_their_colours(tmp_path, codec, pixel_format):
    # JPEG is BT.601 and full range by its standard.
    colour = (1, 1, 5, 2) if codec == "mjpeg" else (1, 1, 1, 1)
    images = np.stack([quadrants()] * 5)
    path = write_video(tmp_path / "video.mkv", images, codec=codec, pixel_format=pixel_format, colour=colour)
    _, frames = normalised(path)
    np.testing.assert_allclose(to_rgb(frames[0])[16, 24].astype(float), (200, 20, 20), atol=6)


@pytest.mark.parametrize(("red", "green", "blue"), [(200, 60, 40), (30, 90, 220), (128, 128, 128), (20, 20, 20)])
def test_bt601_is_converted_to_bt709(tmp_path, red, green, blue):
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    y = 16 + 219 / 255 * luma
    u = 128 + 224 / 255 * (blue - luma) / 1.772
    v = 128 + 224 / 255 * (red - luma) / 1.402
    planes = np.stack([np.full((64, 96), round(value), np.uint8) for value in (y, u, v)])
    path = write_video(tmp_path / "sd.mp4", grey_ramp(5), options=LOSSLESS, colour=(6, 6, 6, 1), planes=planes)
    _, frames = normalised(path)
    # Rounded to whole levels before and after.
    np.testing.assert_allclose(to_rgb(frames[0])[32, 48].astype(int), (red, green, blue), atol=2)


def test_greys_of_standard_definition_stay_what_they_are(tmp_path):
    levels = np.arange(16, 236, dtype=np.uint8)
    planes = np.full((3, 16, 440), 128, np.uint8)
    planes[0] = levels.repeat(2)
    images = np.zeros((2, 16, 440, 3), np.uint8)
    path = write_video(tmp_path / "grey.mp4", images, options=LOSSLESS, colour=(2, 2, 2, 1), planes=planes)
    frame = normalised(path)[1][0]
    assert np.array_equal(frame[:16], planes[0])
    assert set(frame[16:].ravel().tolist()) == {128}


def test_wide_gamut_bt2020_is_mapped_to_bt709(tmp_path):
    y, u, v = 120, 110, 150
    planes = np.stack([np.full((64, 96), value, np.uint8) for value in (y, u, v)])
    path = write_video(tmp_path / "wide.mp4", grey_ramp(5), options=LOSSLESS, colour=(9, 1, 9, 1), planes=planes)
    luma, blue, red = (y - 16) / 219, (u - 128) / 224 * 1.8814, (v - 128) / 224 * 1.4746
    coded = np.array([luma + red, luma - (0.2627 * red + 0.0593 * blue) / 0.678, luma + blue])
    linear = np.where(coded < 0.081, coded / 4.5, ((coded + 0.099) / 1.099) ** (1 / 0.45))
    # Rec. ITU-R BT.2087, conversion from BT.2020 to BT.709 in linear light.
    matrix = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])
    shown = matrix @ linear
    wanted = np.where(shown < 0.018, shown * 4.5, 1.099 * shown**0.45 - 0.099) * 255
    _, frames = normalised(path)
    np.testing.assert_allclose(to_rgb(frames[0])[32, 48].astype(float), wanted, atol=4)


@pytest.mark.parametrize("transfer", [16, 18])
def test_hdr_is_rejected(tmp_path, transfer):
    path = write_video(tmp_path / "hdr.mp4", grey_ramp(5), pixel_format="yuv420p10le", colour=(9, transfer, 9, 1))
    assert reason_of(path) == Reason.HDR


def test_metadata_that_is_no_text_does_no_harm(tmp_path, mp4):
    path = tmp_path / "tags.mp4"
    path.write_bytes(mp4.read_bytes().replace(b"VideoHandler", b"\xff\xfe\xfdHandler\xf0\x28"))
    assert path.read_bytes() != mp4.read_bytes()
    assert measured(path).fps == 25


def test_change_of_size_keeps_the_first_size(tmp_path):
    small = write_video(tmp_path / "small.ts", grey_ramp(20), times_s=[index / 25 for index in range(20)])
    large_images = grey_ramp(20).repeat(2, axis=1).repeat(2, axis=2)
    large = write_video(tmp_path / "large.ts", large_images, times_s=[0.88 + index / 25 for index in range(20)])
    joined = tmp_path / "joined.ts"
    joined.write_bytes(small.read_bytes() + large.read_bytes())
    reader, planes = normalised(joined)
    assert (reader.width_px, reader.height_px) == (96, 64)
    assert greys(planes) == [*range(20), *range(20)]


def test_file_without_its_index_is_unreadable(tmp_path, mp4):
    data = mp4.read_bytes()
    at = data.index(b"moov") - 4
    size = int.from_bytes(data[at : at + 4], "big")
    path = tmp_path / "no-moov.mp4"
    path.write_bytes(data[:at] + data[at + size :])
    assert reason_of(path) == Reason.UNREADABLE


PLAYLISTS = {
    "hls.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{other}\n#EXT-X-ENDLIST\n",
    "hls.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:{other}\n#EXT-X-ENDLIST\n",
    "concat.mp4": "ffconcat version 1.0\nfile '{other}'\n",
    "dash.mp4": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011">'
    "<Period><AdaptationSet><Representation>"
    "<BaseURL>{other}</BaseURL></Representation></AdaptationSet></Period></MPD>",
    "subtitle.mp4": "1\n00:00:00,000 --> 00:00:01,000\n{other}\n\n",
    "text.mp4": "{other}\n" * 100,
}


@pytest.mark.parametrize("name", PLAYLISTS)
def test_playlist_is_rejected_and_reads_no_other_file(tmp_path, name):
    other = tmp_path / "secret.ts"
    os.mkfifo(other)
    (tmp_path / name).write_text(PLAYLISTS[name].format(other=other))
    stop, was_read = threading.Event(), threading.Event()

    def watch() -> None:
        """A pipe can be opened for writing without waiting only while somebody reads it."""
        while not stop.is_set():
            try:
                os.close(os.open(other, os.O_WRONLY | os.O_NONBLOCK))
                was_read.set()
                return
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        assert reason_of(tmp_path / name) == Reason.NOT_VIDEO
    finally:
        stop.set()
        watcher.join()
    assert not was_read.is_set()


@pytest.mark.parametrize(
    "name", ["a b.mp4", 'it\'s "q".mp4', "new\nline.mp4", "naïve-видео.mp4", "concat:a|b.mp4", "-i.mp4", "%03d.mp4"]
)
def test_any_file_name_opens(tmp_path, mp4, name):
    path = tmp_path / name
    path.write_bytes(mp4.read_bytes())
    assert measured(path).fps == 25


def test_what_is_no_video_gets_the_right_reason(tmp_path):
    def file(name: str, data: bytes) -> Path:
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    assert reason_of(tmp_path / "nowhere.mp4") == Reason.SOURCE_GONE
    assert reason_of(file("empty.mp4", b"")) == Reason.EMPTY_FILE
    assert reason_of(file("random.mp4", np.random.default_rng(0).bytes(50_000))) == Reason.NOT_VIDEO
    for suffix in (".png", ".jpg", ".webp", ".bmp", ".tiff"):
        picture = cv2.imencode(suffix, quadrants())[1].tobytes()
        assert reason_of(file(f"picture{suffix}.mp4", picture)) == Reason.STILL_PICTURE


@pytest.mark.parametrize("has_cover", [False, True])
def test_audio_has_no_video_stream(tmp_path, has_cover):
    path = tmp_path / "audio.mka"
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        if has_cover:
            container.add_attachment("cover.png", "image/png", cv2.imencode(".png", quadrants())[1].tobytes())
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert reason_of(path) == Reason.NO_VIDEO_STREAM


def test_limits_are_enforced_with_got_and_wanted(mp4):
    with pytest.raises(RejectItem) as caught:
        measured(mp4, max_pixels=WIDTH_PX * HEIGHT_PX - 1)
    assert (caught.value.reason, caught.value.got) == (Reason.TOO_MANY_PIXELS, "96x64")
    assert reason_of(mp4, max_duration_s=0.5) == Reason.TOO_LONG
    assert measured(mp4, max_pixels=WIDTH_PX * HEIGHT_PX, max_duration_s=1.0).fps == 25
