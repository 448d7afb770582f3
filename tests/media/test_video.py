from __future__ import annotations

import errno
import os
import struct
import threading
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.video.frame import PictureType

from vpdata.errors import Reason, RejectItem
from vpdata.media.video import FrameReader, StoredFrames, VideoInfo, probe

WIDTH_PX, HEIGHT_PX, NUM_FRAMES = 96, 64, 25
# Else x264 takes noise for a scene cut at every frame, and codes still pictures without B-frames.
PLAIN_GOP = {"sc_threshold": "0", "b_strategy": "0"}
LOSSLESS = {"qp": "0", "preset": "ultrafast"}


def grey_ramp(num_frames: int = NUM_FRAMES) -> np.ndarray:
    """uint8 [T, 64, 96, 3]: frame k is a plain grey of its own, 8 levels from the next."""
    return np.stack([np.full((HEIGHT_PX, WIDTH_PX, 3), 20 + 8 * index, np.uint8) for index in range(num_frames)])


def quadrants() -> np.ndarray:
    """uint8 [64, 96, 3]: red, green, blue and white quadrants, from the top left in reading order."""
    image = np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    colours = [(200, 20, 20), (20, 200, 20), (20, 20, 200), (220, 220, 220)]
    for index, colour in enumerate(colours):
        y, x = divmod(index, 2)
        image[y * 32 : y * 32 + 32, x * 48 : x * 48 + 48] = colour
    return image


def write_video(
    path: Path,
    images: np.ndarray,
    *,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    options: dict[str, str] | None = None,
    times_s: list[float] | None = None,
    aspect: Fraction | None = None,
    rotation: int = 0,
    colour: tuple[int, int, int, int] = (1, 1, 1, 1),
    planes: np.ndarray | None = None,
) -> Path:
    """Encode RGB images, or yuv444p `planes` instead of each; `colour` is primaries, transfer, matrix and range."""
    with av.open(str(path), "w", options={"movflags": "+faststart"} if path.suffix == ".mp4" else {}) as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.height, stream.width, stream.pix_fmt = *images.shape[1:3], pixel_format
        context = stream.codec_context
        context.bit_rate = 0 if codec == "libx264" else 8_000_000
        if times_s:
            context.time_base = Fraction(1, 1000)
        if aspect:
            context.sample_aspect_ratio = aspect
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = colour
        if rotation:
            stream.set_display_rotation(rotation)
        for index, image in enumerate(images):
            if planes is not None:
                frame = av.VideoFrame.from_ndarray(planes, format="yuv444p").reformat(format=pixel_format)
            else:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24").reformat(
                    format=pixel_format, dst_colorspace=colour[2], dst_color_range=colour[3]
                )
            if times_s:
                frame.pts, frame.time_base = round(times_s[index] * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def measured(path: Path, *, max_pixels: int = 10**6, max_duration_s: float = 100.0) -> VideoInfo:
    return probe(path, max_pixels=max_pixels, max_duration_s=max_duration_s)


def normalised(path: Path, *, short_side_px: int = 720) -> tuple[FrameReader, np.ndarray]:
    """The reader after its pass, and uint8 [T, H * 3 / 2, W] yuv420p."""
    reader = FrameReader(path, measured(path), short_side_px=short_side_px, max_pixels=10**6)
    planes = [frame.to_ndarray() for frame in reader]
    return reader, np.stack(planes)


def to_rgb(planes: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] from one yuv420p BT.709 limited frame, by the formula of Rec. ITU-R BT.709."""
    height, width = planes.shape[0] * 2 // 3, planes.shape[1]
    y = (planes[:height].astype(float) - 16) / 219
    u, v = (planes[height:].reshape(2, height // 2, width // 2).astype(float) - 128) / 224
    u, v = u.repeat(2, 0).repeat(2, 1), v.repeat(2, 0).repeat(2, 1)
    rgb = np.stack([y + 1.5748 * v, y - 0.1873 * u - 0.4681 * v, y + 1.8556 * u], axis=-1)
    return (rgb * 255).round().clip(0, 255).astype(np.uint8)


def greys(planes: np.ndarray) -> list[int]:
    """Which frame of `grey_ramp` each normalised frame is."""
    luma = planes[:, : planes.shape[1] * 2 // 3].mean(axis=(1, 2))
    return [round(((value - 16) / 219 * 255 - 20) / 8) for value in luma]


def reason_of(path: Path, **limits: float) -> Reason:
    with pytest.raises(RejectItem) as caught:
        measured(path, **limits)  # type: ignore[arg-type]
    return caught.value.reason


@pytest.fixture(scope="module")
def mp4(tmp_path_factory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "ok.mp4", grey_ramp())


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


def test_b_frames_in_avi_keep_their_places(tmp_path):
    # The container stores no times of display.
    path = write_video(tmp_path / "b.avi", grey_ramp(), options={"bf": "2", **PLAIN_GOP})
    assert greys(normalised(path)[1]) == list(range(NUM_FRAMES))
    stamps = [frame.pts for frame in StoredFrames(path, max_pixels=10**6)]
    assert len(stamps) == NUM_FRAMES
    assert {later - earlier for earlier, later in pairwise(stamps) if later is not None} == {1}


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_rotated_video_is_put_upright_as_opencv_shows_it(tmp_path, rotation):
    path = write_video(tmp_path / "rotated.mp4", np.stack([quadrants()] * 5), rotation=rotation)
    _, shown = cv2.VideoCapture(str(path)).read()
    info = measured(path)
    _, planes = normalised(path)
    assert (info.geometry.height_px, info.geometry.width_px) == shown.shape[:2]
    assert np.abs(to_rgb(planes[0]).astype(int) - shown[..., ::-1]).mean() < 25  # OpenCV ignores the BT.709 tag
    assert not np.array_equal(to_rgb(planes[0]), quadrants())


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


def test_bt601_is_converted_to_bt709(tmp_path):
    red, green, blue = 200, 60, 40
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    y = 16 + 219 / 255 * luma
    u = 128 + 224 / 255 * (blue - luma) / 1.772
    v = 128 + 224 / 255 * (red - luma) / 1.402
    planes = np.stack([np.full((64, 96), round(value), np.uint8) for value in (y, u, v)])
    path = write_video(tmp_path / "sd.mp4", grey_ramp(5), options=LOSSLESS, colour=(6, 6, 6, 1), planes=planes)
    _, frames = normalised(path)
    np.testing.assert_allclose(to_rgb(frames[0])[32, 48].astype(int), (red, green, blue), atol=3)


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


@pytest.mark.parametrize(
    ("true_fps", "wanted"),
    [
        ("23.98", "24000/1001"),
        ("24.01", "24"),
        ("29.9", "30000/1001"),
        ("25.05", "25"),
        ("59.8", "60000/1001"),
        ("15", "15"),
    ],
)
def test_measured_rate_snaps_to_a_standard_one(tmp_path, true_fps, wanted):
    times_s = [index / float(true_fps) for index in range(50)]
    path = write_video(tmp_path / "video.mkv", np.stack([quadrants()] * 50), times_s=times_s)
    assert float(measured(path).fps) == pytest.approx(float(Fraction(wanted)), rel=1e-3 if wanted == "15" else 1e-9)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_variable_frame_rate_is_resampled_by_time_stamp(tmp_path, suffix):
    times_s = [*(index / 10 for index in range(13)), 1.4, 1.6, 1.8, 2.0]
    path = write_video(tmp_path / f"vfr.{suffix}", grey_ramp(len(times_s)), options={"bf": "0"}, times_s=times_s)
    _, planes = normalised(path)
    assert measured(path).fps == 8
    # Frame k takes slot round(8 t): one of two that share a slot makes way, and the frame before fills a hole.
    assert greys(planes) == [0, 1, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 13, 14, 15, 15, 16]


def test_frames_too_dense_for_their_slots_are_dropped(tmp_path):
    times_s = [*(index / 10 for index in range(10)), 0.91, 0.92, 0.93, *(index / 10 for index in range(10, 22))]
    path = write_video(tmp_path / "dense.mp4", grey_ramp(len(times_s)), times_s=times_s)
    shown = greys(normalised(path)[1])
    assert len(shown) <= len(times_s)
    assert shown[0] == 0
    assert shown[-1] == len(times_s) - 1, "the last frame stays"
    assert not {10, 11, 12} <= set(shown)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_lost_frames_of_a_steady_recording_are_repeated(tmp_path, suffix):
    kept = [index for index in range(25) if index not in (11, 12)]
    path = write_video(tmp_path / f"lost.{suffix}", grey_ramp()[kept], times_s=[i / 25 for i in kept])
    assert measured(path).fps == 25
    assert greys(normalised(path)[1]) == [*range(11), 10, 10, *range(13, 25)]


def test_one_wild_time_stamp_does_not_ask_for_hours_of_repeats(tmp_path):
    times_s = [*(index / 25 for index in range(24)), 3600.0]
    path = write_video(tmp_path / "wild.mkv", grey_ramp(), codec="ffv1", times_s=times_s)
    assert reason_of(path, max_duration_s=7200.0) == Reason.BAD_FRAME_RATE


def test_picture_shown_hours_after_its_packet_ends_the_video(tmp_path):
    path = write_video(tmp_path / "ok.mp4", grey_ramp(), codec="mpeg4")
    late = tmp_path / "late.mp4"
    with av.open(str(path)) as source, av.open(str(late), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for index, packet in enumerate(source.demux(video=0)):
            if packet.size:
                packet.stream, packet.pts = stream, packet.pts + (3600 / packet.time_base if index == 20 else 0)
                target.mux(packet)
    reader, planes = normalised(late)
    assert greys(planes) == list(range(20))
    assert "far behind the end" in (reader.damage or "")


def test_metadata_that_is_no_text_does_no_harm(tmp_path, mp4):
    path = tmp_path / "tags.mp4"
    path.write_bytes(mp4.read_bytes().replace(b"VideoHandler", b"\xff\xfe\xfdHandler\xf0\x28"))
    assert path.read_bytes() != mp4.read_bytes()
    assert measured(path).fps == 25


def test_joined_recordings_follow_each_other_without_a_hole(tmp_path):
    parts = [write_video(tmp_path / f"{index}.ts", grey_ramp(25)) for index in range(2)]
    joined = tmp_path / "joined.ts"
    late = write_video(tmp_path / "late.ts", grey_ramp(25), times_s=[3000 + index / 25 for index in range(25)])
    joined.write_bytes(parts[0].read_bytes() + late.read_bytes())
    info = measured(joined)
    reader, planes = normalised(joined)
    assert info.fps == 25
    assert greys(planes) == [*range(25), *range(25)]
    assert reader.damage is None


def test_change_of_size_keeps_the_first_size(tmp_path):
    small = write_video(tmp_path / "small.ts", grey_ramp(20), times_s=[index / 25 for index in range(20)])
    large_images = grey_ramp(20).repeat(2, axis=1).repeat(2, axis=2)
    large = write_video(tmp_path / "large.ts", large_images, times_s=[0.88 + index / 25 for index in range(20)])
    joined = tmp_path / "joined.ts"
    joined.write_bytes(small.read_bytes() + large.read_bytes())
    reader, planes = normalised(joined)
    assert (reader.width_px, reader.height_px) == (96, 64)
    assert greys(planes) == [*range(20), *range(20)]


@pytest.mark.parametrize("suffix", ["mp4", "avi", "flv"])
def test_truncated_file_keeps_what_decodes_and_says_so(tmp_path, suffix):
    images = np.random.default_rng(0).integers(0, 255, (NUM_FRAMES, HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    whole = write_video(tmp_path / f"whole.{suffix}", images, codec=CONTAINERS[suffix])
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    reader, planes = normalised(path)
    assert reader.damage
    assert 10 <= len(planes) <= 20
    np.testing.assert_array_equal(planes[:10], normalised(whole)[1][:10])


def with_broken_packet(path: Path, to: Path, number: int) -> Path:
    """The same file, with zeros in the second half of one packet, counted in the order of decoding."""
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][number]
        assert packet.pos is not None
        data = bytearray(path.read_bytes())
        half = packet.size // 2
        data[packet.pos + half : packet.pos + packet.size] = bytes(packet.size - half)
    to.write_bytes(data)
    return to


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "libx264"), ("avi", "mpeg4"), ("mkv", "mpeg2video")])
def test_no_frame_is_shown_that_a_damaged_picture_went_into(tmp_path, suffix, codec):
    images = np.random.default_rng(0).integers(0, 255, (NUM_FRAMES, HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    whole = write_video(tmp_path / f"whole.{suffix}", images, codec=codec, options={"bf": "2", **PLAIN_GOP})
    with av.open(str(whole)) as container:
        kinds = [PictureType(frame.pict_type) for frame in container.decode(video=0)]
    good = kinds.index(PictureType.P, 9)  # shown after two B-frames and decoded before them
    assert kinds[good - 2 : good] == [PictureType.B] * 2
    reader, planes = normalised(with_broken_packet(whole, tmp_path / f"broken.{suffix}", good - 2))
    assert reader.damage == "a picture is damaged"
    np.testing.assert_array_equal(planes, normalised(whole)[1][: good - 2])
    assert reader.num_source_frames == len(planes)


def test_video_that_starts_damaged_is_used_from_the_next_key_frame_on(tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (NUM_FRAMES, HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    whole = write_video(tmp_path / "whole.mp4", images, options={"g": "10", "bf": "0", **PLAIN_GOP})
    reader, planes = normalised(with_broken_packet(whole, tmp_path / "broken.mp4", 0))
    np.testing.assert_array_equal(planes, normalised(whole)[1][10:])
    assert (reader.num_source_frames, reader.damage) == (NUM_FRAMES - 10, None)


def test_file_without_its_index_is_unreadable(tmp_path, mp4):
    data = mp4.read_bytes()
    at = data.index(b"moov") - 4
    size = int.from_bytes(data[at : at + 4], "big")
    path = tmp_path / "no-moov.mp4"
    path.write_bytes(data[:at] + data[at + size :])
    assert reason_of(path) == Reason.UNREADABLE


def test_header_that_claims_four_hours_is_not_believed(tmp_path, mp4):
    data = bytearray(mp4.read_bytes())
    for box, offset in ((b"mvhd", 16), (b"mdhd", 16), (b"tkhd", 20)):
        at = data.index(box) + 4 + offset
        scale = struct.unpack_from(">I", data, data.index(b"mdhd" if box == b"mdhd" else b"mvhd") + 16)[0]
        struct.pack_into(">I", data, at, 4 * 3600 * scale)
    path = tmp_path / "liar.mp4"
    path.write_bytes(data)
    assert measured(path).duration_s == pytest.approx(1.0, abs=0.05)
    assert greys(normalised(path)[1]) == list(range(NUM_FRAMES))


def test_header_of_zero_frames_per_second_is_not_believed(tmp_path):
    data = bytearray(write_video(tmp_path / "ok.avi", grey_ramp(), codec="mpeg4").read_bytes())
    struct.pack_into("<I", data, data.index(b"avih") + 8, 0)
    struct.pack_into("<I", data, data.index(b"strh") + 8 + 24, 0)
    path = tmp_path / "zero.avi"
    path.write_bytes(data)
    info = measured(path)
    assert 1 <= info.fps <= 60
    assert greys(normalised(path)[1]) == list(range(NUM_FRAMES))


def test_frame_rate_that_no_video_has_is_rejected(tmp_path):
    times_s = [index * 20.0 for index in range(4)]
    path = write_video(tmp_path / "slow.mp4", grey_ramp(4), times_s=times_s)
    assert reason_of(path) == Reason.BAD_FRAME_RATE


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
