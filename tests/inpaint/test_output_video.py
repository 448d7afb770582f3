import subprocess
from fractions import Fraction

import av
import numpy as np
import pytest

from tests.inpaint.footage import FFMPEG, decoded, numbered, numbers_of, probed, write_video
from vpdata.errors import ConfigError, RunError
from vpdata.inpaint.fit import Size
from vpdata.inpaint.input_video import VideoInput, open_video
from vpdata.inpaint.output_video import EncodeSettings, check_output, encode_piece, write_output


def pieces_of(video: VideoInput, frames: np.ndarray, lengths: list[int], folder, **settings) -> list:
    """The frames as pieces of these lengths, saved."""
    paths, start = [], 0
    for number, length in enumerate(lengths):
        path = folder / f"{number}.mkv"
        path.write_bytes(encode_piece(frames[start : start + length], video, video.size, EncodeSettings(**settings)))
        paths, start = [*paths, path], start + length
    return paths


@pytest.fixture
def video(tmp_path):
    return open_video(write_video(tmp_path / "in.mp4", numbered(20), audio="aac"))


@pytest.mark.parametrize("lengths", [[20], [1] * 20, [7, 1, 12]])
def test_pieces_of_any_length_make_one_video(lengths, video, tmp_path):
    write_output(tmp_path / "out.mp4", pieces_of(video, numbered(20), lengths, tmp_path), video)
    assert numbers_of(decoded(tmp_path / "out.mp4")) == list(range(20))
    assert probed(tmp_path / "out.mp4")["times"] == probed(video.path)["times"]


def test_equal_frames_give_equal_bytes(video):
    frames = np.random.default_rng(0).integers(0, 256, (5, 48, 64, 3), dtype=np.uint8)
    assert encode_piece(frames, video, video.size, EncodeSettings()) == encode_piece(
        iter(frames), video, video.size, EncodeSettings()
    )


def test_quality_is_a_setting(video):
    frames = np.random.default_rng(0).integers(0, 256, (5, 48, 64, 3), dtype=np.uint8)
    coarse, fine = (len(encode_piece(frames, video, video.size, EncodeSettings(crf=crf))) for crf in (40, 5))
    assert coarse < fine / 2
    with pytest.raises(ValueError, match="crf 52"):
        EncodeSettings(crf=52)


def test_late_start_of_the_picture_is_kept(tmp_path):
    """The audio begins at 0, the picture half a second later."""
    write_video(tmp_path / "on_time.mp4", numbered(20), audio="aac")
    on_time = str(tmp_path / "on_time.mp4")
    command = [FFMPEG, "-v", "error", "-itsoffset", "0.5", "-i", on_time, "-i", on_time]
    subprocess.run([*command, "-map", "0:v", "-map", "1:a", "-c", "copy", str(tmp_path / "in.mp4")], check=True)
    video = open_video(tmp_path / "in.mp4")
    write_output(tmp_path / "out.mp4", pieces_of(video, numbered(20), [20], tmp_path), video)
    before, after = probed(tmp_path / "in.mp4"), probed(tmp_path / "out.mp4")
    assert after["times"] == before["times"]
    assert after["times"][0] == pytest.approx(0.5, abs=0.001)
    assert after["audio"] == before["audio"]


def test_every_audio_track_is_copied(tmp_path):
    write_video(tmp_path / "one.mp4", numbered(20), audio="aac")
    command = [FFMPEG, "-v", "error", "-i", str(tmp_path / "one.mp4"), "-map", "0:v", "-map", "0:a", "-map", "0:a"]
    subprocess.run([*command, "-c", "copy", str(tmp_path / "in.mp4")], check=True)
    video = open_video(tmp_path / "in.mp4")
    write_output(tmp_path / "out.mp4", pieces_of(video, numbered(20), [20], tmp_path), video)
    found = probed(tmp_path / "out.mp4")["audio"]
    assert len(found) == 2 * len(probed(tmp_path / "one.mp4")["audio"])
    assert found == probed(tmp_path / "in.mp4")["audio"]


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.mkv"])
def test_title_and_languages_are_kept(name, tmp_path):
    write_video(tmp_path / "one.mp4", numbered(20), audio="aac")
    command = [FFMPEG, "-v", "error", "-i", str(tmp_path / "one.mp4"), "-map", "0:v", "-map", "0:a", "-map", "0:a"]
    tags = ["-metadata", "title=A däy", "-metadata:s:a:0", "language=fra", "-metadata:s:a:1", "language=jpn"]
    subprocess.run([*command, "-c", "copy", *tags, str(tmp_path / "in.mkv")], check=True)
    video = open_video(tmp_path / "in.mkv")
    write_output(tmp_path / name, pieces_of(video, numbered(20), [20], tmp_path), video)
    with av.open(str(tmp_path / name)) as container:
        assert {key.lower(): value for key, value in container.metadata.items()}["title"] == "A däy"
        assert [stream.language for stream in container.streams.audio] == ["fra", "jpn"]


def test_audio_whose_time_stands_still_is_refused_first(tmp_path):
    write_video(tmp_path / "good.flv", numbered(20), audio="libmp3lame")
    with av.open(str(tmp_path / "good.flv")) as good, av.open(str(tmp_path / "in.flv"), "w") as bad:
        streams = [bad.add_stream_from_template(stream) for stream in good.streams]
        for packet in good.demux():
            if packet.dts is not None and packet.stream.type == "audio":
                packet.pts = packet.dts = packet.dts // 100 * 100
            if packet.size:
                packet.stream = streams[packet.stream.index]
                bad.mux(packet)
    check_output(tmp_path / "out.mp4", open_video(tmp_path / "good.flv"))
    with pytest.raises(ConfigError, match=r"the audio of .*in.flv does not go on in time at 0 s"):
        check_output(tmp_path / "out.mp4", open_video(tmp_path / "in.flv"))


@pytest.mark.parametrize(
    ("codec", "name", "ways"), [("libopus", "out.mov", ".mp4 or .mkv"), ("pcm_s16le", "out.mp4", ".mov or .mkv")]
)
def test_audio_that_is_not_taken_is_refused_with_the_containers_that_take_it(codec, name, ways, tmp_path):
    video = open_video(write_video(tmp_path / "in.mkv", numbered(20), audio=codec))
    with pytest.raises(ConfigError, match=rf"cannot be copied into {name[3:]}: .*; name an output that ends in {ways}"):
        check_output(tmp_path / name, video)


@pytest.mark.parametrize("num_frames", [19, 21])
def test_pieces_that_do_not_add_up_are_refused(num_frames, video, tmp_path):
    pieces = pieces_of(video, numbered(21), [num_frames], tmp_path)
    with pytest.raises(RunError, match="--redo begins anew"):
        write_output(tmp_path / "out.mp4", pieces, video)


@pytest.mark.parametrize("data", [b"", b"abc", None])
@pytest.mark.parametrize("number", [0, 1])
def test_piece_that_is_damaged_or_gone_is_named(number, data, video, tmp_path):
    pieces = pieces_of(video, numbered(20), [7, 13], tmp_path)
    pieces[number].unlink()
    if data is not None:
        pieces[number].write_bytes(data)
    with pytest.raises(RunError, match=rf"/{number}.mkv is damaged .*; --redo begins anew"):
        write_output(tmp_path / "out.mp4", pieces, video)


def test_piece_of_another_size_is_shown_in_the_shape_of_the_video(tmp_path):
    video = open_video(write_video(tmp_path / "in.mp4", numbered(2)))
    piece = encode_piece(numbered(2, height=32, width=32), video, Size(height_px=32, width_px=32), EncodeSettings())
    (tmp_path / "0.mkv").write_bytes(piece)
    write_output(tmp_path / "out.mp4", [tmp_path / "0.mkv"], video)
    assert probed(tmp_path / "out.mp4")["pixel_aspect"] == Fraction(4, 3)


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.mkv", "OUT.MP4"])
def test_known_containers_are_taken(name, video, tmp_path):
    check_output(tmp_path / name, video)


@pytest.mark.parametrize("name", ["out", "out.avi", "out.webm"])
def test_unknown_container_is_refused(name, video, tmp_path):
    with pytest.raises(ConfigError, match=r"ends in \.mp4, \.mov, \.mkv"):
        check_output(tmp_path / name, video)
