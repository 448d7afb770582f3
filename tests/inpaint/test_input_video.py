import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.inpaint.footage import FFMPEG, decoded, numbered, numbers_of, probed, unreadable, write_video
from vpdata.errors import ConfigError, StorageError
from vpdata.inpaint.fit import Size
from vpdata.inpaint.input_video import open_video


def test_video_tells_frames_size_times_and_audio(tmp_path):
    path = write_video(tmp_path / "in.mp4", numbered(12), fps=Fraction(24000, 1001), audio="aac")
    video = open_video(path)
    assert video.num_frames == 12
    assert video.size == video.shown_size == Size(height_px=48, width_px=64)
    assert video.average_fps == Fraction(24000, 1001)
    assert video.has_audio
    assert (video.stamps * float(video.time_base)).tolist() == pytest.approx(probed(path)["times"], abs=1e-6)


def test_variable_frame_rate_keeps_the_time_of_every_frame(tmp_path):
    times_ms = [0, 40, 45, 300, 333, 1000]
    video = open_video(write_video(tmp_path / "in.mp4", numbered(6), stamps_ms=times_ms))
    assert [round(stamp * video.time_base * 1000) for stamp in video.stamps.tolist()] == times_ms
    assert numbers_of(np.stack(list(video.frames()))) == list(range(6))


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_frames_are_upright_as_a_player_shows_them(rotation, tmp_path):
    picture = np.zeros((3, 48, 64, 3), np.uint8)
    picture[:, :24, :32], picture[:, 24:, 32:] = (200, 30, 30), (30, 30, 200)
    path = write_video(tmp_path / "in.mp4", picture, rotation=rotation)
    frames = np.stack(list(open_video(path).frames()))
    wanted = decoded(path, is_on_side=rotation % 180 != 0)
    assert frames.shape == wanted.shape
    # Where colours meet, the two decoders interpolate differently.
    assert np.median(np.abs(frames.astype(int) - wanted)) <= 2
    assert np.abs(frames[:, 4:20, 4:20].astype(int) - wanted[:, 4:20, 4:20]).max() <= 3


def test_anamorphic_video_has_its_stored_size_and_a_shown_one(tmp_path):
    video = open_video(write_video(tmp_path / "in.mp4", numbered(3), aspect=Fraction(16, 11)))
    assert video.size == Size(height_px=48, width_px=64)
    assert video.shown_size == Size(height_px=48, width_px=93)


def test_rotated_anamorphic_video_is_stretched_the_other_way(tmp_path):
    video = open_video(write_video(tmp_path / "in.mp4", numbered(3), aspect=Fraction(4, 3), rotation=90))
    assert (video.size, video.pixel_aspect) == (Size(height_px=64, width_px=48), Fraction(3, 4))
    assert video.shown_size == Size(height_px=64, width_px=36)


@pytest.mark.parametrize("colour", [(1, 1, 1), (6, 6, 6), (5, 6, 5), (9, 1, 9)])
def test_colours_follow_the_matrix_of_the_video(colour, tmp_path):
    picture = np.zeros((2, 48, 64, 3), np.uint8)
    picture[:] = 180, 60, 90
    video = open_video(write_video(tmp_path / "in.mp4", picture, colour=colour))
    assert np.abs(np.stack(list(video.frames())).astype(int) - picture).max() <= 3


def test_frames_that_change_their_size_are_told_of(tmp_path, caplog):
    for name, offset_s, height in (("one", "0", 48), ("other", "1", 96)):
        write_video(tmp_path / f"{name}.mp4", numbered(10, height=height))
        command = [FFMPEG, "-v", "error", "-i", str(tmp_path / f"{name}.mp4"), "-c", "copy"]
        subprocess.run([*command, "-output_ts_offset", offset_s, str(tmp_path / f"{name}.ts")], check=True)
    open_video(tmp_path / "one.ts")
    assert not caplog.records
    (tmp_path / "in.ts").write_bytes((tmp_path / "one.ts").read_bytes() + (tmp_path / "other.ts").read_bytes())
    video = open_video(tmp_path / "in.ts")
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.endswith("frame 10 has 64 x 96 px, the frames before 64 x 48: all are scaled to that size")
    frames = np.stack(list(video.frames()))
    assert frames.shape == (20, 48, 64, 3)
    assert numbers_of(frames) == [*range(10), *range(10)]


@pytest.mark.parametrize("transfer", [16, 18])
def test_high_dynamic_range_is_refused(transfer, tmp_path):
    path = write_video(tmp_path / "in.mp4", numbered(3), colour=(9, transfer, 9))
    with pytest.raises(ConfigError, match=r"in.mp4: high dynamic range .*got HLG or PQ"):
        open_video(path)


def test_damaged_video_is_refused_with_the_frame_where_it_ends(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (20, 48, 64, 3), dtype=np.uint8)
    path = write_video(tmp_path / "in.mp4", noise, movflags="faststart")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ConfigError, match=r"in.mp4: .+ after frame \d+; cut it"):
        open_video(path)


def test_file_that_is_no_video_is_refused(tmp_path):
    (tmp_path / "in.mp4").write_text("not a video")
    with pytest.raises(ConfigError, match="no video container could be opened"):
        open_video(tmp_path / "in.mp4")
    with pytest.raises(ConfigError, match=r"there is no video .*none\.mp4"):
        open_video(tmp_path / "none.mp4")


def test_folder_is_refused_with_the_way_to_a_video(tmp_path):
    (tmp_path / "frames").mkdir()
    with pytest.raises(ConfigError, match=r"got the folder .*frames, wanted a video file.*ffmpeg -framerate"):
        open_video(tmp_path / "frames")


def test_file_that_cannot_be_opened_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path("in.mp4")
    unreadable(path)
    with pytest.raises(ConfigError, match=r"cannot read the video .*in.mp4: No such device"):
        open_video(path)


def test_video_of_sound_alone_is_refused(tmp_path):
    with av.open(str(tmp_path / "in.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(ConfigError, match="holds no video"):
        open_video(tmp_path / "in.mp4")


def test_file_that_changes_between_two_readings_is_noticed(tmp_path):
    video = open_video(write_video(tmp_path / "in.mp4", numbered(6)))
    write_video(tmp_path / "in.mp4", numbered(4))
    with pytest.raises(StorageError, match="changed while it was read: got 4 of 6 frames"):
        list(video.frames())
