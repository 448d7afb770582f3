import logging
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.inpaint.footage import FFMPEG, decoded, numbered, numbers_of, probed, write_video
from vpdata.errors import ConfigError, RunError, StorageError
from vpdata.inpaint.any_length import Request
from vpdata.inpaint.fit import Size
from vpdata.inpaint.input_mask import MaskInput, MaskSettings, open_mask
from vpdata.inpaint.input_video import VideoInput, open_video
from vpdata.inpaint.output_video import EncodeSettings
from vpdata.inpaint.run import OutputSettings, inpaint_file
from vpdata.inpaint.windows import Window, plan_windows

SMALL = Size(height_px=24, width_px=32)
JITTER_MS = [0, 40, 90, 100, 300, 310, 500, 540, 600, 633, 700, 750, 900, 1000, 1010, 1500, 1600, 1640, 1700, 1900]


class Identity:
    """Gives back what it is given."""

    def inpaint(self, request: Request) -> np.ndarray:
        return request.frames.copy()


class Painter:
    """Paints the hole with noise that window and pixels before it decide, and may stop when it is asked to paint."""

    def __init__(self, *, stop_at: int | None = None) -> None:
        self.stop_at = stop_at
        self.painted: list[int] = []

    def inpaint(self, request: Request) -> np.ndarray:
        if request.window.index == self.stop_at:
            raise KeyboardInterrupt
        self.painted.append(request.window.index)
        seed = request.window.index, int(request.frames.sum())
        noise = np.random.default_rng(seed).integers(0, 256, request.frames.shape, dtype=np.uint8)
        return np.where(request.mask[..., None], noise, request.frames)


def windows_of(video: VideoInput) -> list[Window]:
    return plan_windows(video.num_frames, window_frames=9, overlap_frames=5, stride_t=4)


def hole_in(video: VideoInput, *, rows: slice = slice(20, 28), columns: slice = slice(20, 30)) -> MaskInput:
    mask = np.zeros((video.size.height_px, video.size.width_px), bool)
    mask[rows, columns] = True
    return MaskInput.of(lambda: iter([mask] * video.num_frames))


def inpaint(model, video: VideoInput, output: Path, **others) -> None:
    arguments = {"size": SMALL, "windows": windows_of(video), "made_by": {"seed": 1}} | others
    inpaint_file(model, video, arguments.pop("mask", None) or hole_in(video), output, **arguments)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> VideoInput:
    path = tmp_path_factory.mktemp("source") / "in.mp4"
    return open_video(write_video(path, numbered(20), audio="aac"))


KINDS = {
    "plain": {},
    "audio": {"audio": "aac"},
    "variable rate": {"stamps_ms": JITTER_MS, "audio": "aac"},
    "film rate": {"fps": Fraction(24000, 1001), "audio": "aac"},
    "on its side": {"rotation": 90},
    "upside down": {"rotation": 180},
    "anamorphic": {"aspect": Fraction(16, 11)},
    "standard definition": {"colour": (6, 6, 6)},
    "wide gamut": {"colour": (9, 1, 9)},
    "untagged": {"colour": (2, 2, 2)},
}


@pytest.mark.parametrize("kind", KINDS)
def test_output_has_the_frames_time_stamps_size_and_audio_of_the_input(kind, tmp_path):
    path = write_video(tmp_path / "in.mp4", numbered(20), **KINDS[kind])
    inpaint(Identity(), open_video(path), tmp_path / "out.mp4", size=Size(height_px=48, width_px=64))
    before, after = probed(path), probed(tmp_path / "out.mp4")
    assert after["times"] == before["times"]
    assert after["audio"] == before["audio"]
    assert bool(before["audio"]) == ("audio" in KINDS[kind])
    shown = decoded(tmp_path / "out.mp4")
    wanted = decoded(path, is_on_side=kind == "on its side")
    assert shown.shape == wanted.shape
    assert np.abs(shown.astype(int) - wanted).max() <= 6
    assert after["pixel_aspect"] == before["pixel_aspect"]


@pytest.mark.parametrize("num_frames", [1, 2, 5, 9, 10, 14, 63])
def test_frame_j_of_the_output_is_frame_j_of_the_input(num_frames, tmp_path):
    video = open_video(write_video(tmp_path / "in.mp4", numbered(num_frames)))
    inpaint(Identity(), video, tmp_path / "out.mp4", mask=hole_in(video, rows=slice(0, 47)))
    assert numbers_of(decoded(tmp_path / "out.mp4")) == list(range(num_frames))


@pytest.mark.parametrize(("height", "width"), [(49, 64), (48, 65), (51, 67)])
def test_odd_size_stays(height, width, tmp_path):
    video = open_video(write_video(tmp_path / "in.mp4", numbered(10, height=height, width=width)))
    inpaint(Identity(), video, tmp_path / "out.mp4")
    assert decoded(tmp_path / "out.mp4").shape == (10, height, width, 3)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("in.avi", "-c:v mpeg4 -bf 2 -c:a mp3"),
        ("in.ts", "-c:v libx264 -c:a mp2"),
        ("in.webm", "-c:v libvpx -c:a libvorbis"),
        ("in.mpg", "-c:v mpeg2video -flags +ilme+ildct -vf setfield=tff -c:a mp2"),
        ("in.mkv", "-c:v ffv1 -pix_fmt bgr0 -c:a flac"),
    ],
)
def test_container_and_codec_of_the_input_do_not_matter(name, options, tmp_path):
    write_video(tmp_path / "plain.mp4", numbered(12), audio="aac")
    path = tmp_path / name
    command = [FFMPEG, "-v", "error", "-i", str(tmp_path / "plain.mp4"), *options.split(), str(path)]
    subprocess.run(command, check=True)
    inpaint(Identity(), open_video(path), tmp_path / "out.mp4")
    before, after = probed(path), probed(tmp_path / "out.mp4")
    assert numbers_of(decoded(tmp_path / "out.mp4")) == numbers_of(decoded(path)) == list(range(12))
    assert [data for _, data in after["audio"]] == [data for _, data in before["audio"]]
    assert np.diff(after["times"]) == pytest.approx(0.04, abs=1e-3)


def test_what_the_output_cannot_hold_is_said_once(source, tmp_path, caplog):
    inpaint(Painter(), source, tmp_path / "out.mp4")
    assert not caplog.records
    command = [FFMPEG, "-v", "error", "-i", str(source.path), "-pix_fmt", "yuv420p10le", str(tmp_path / "in.mp4")]
    subprocess.run(command, check=True)
    inpaint(Painter(), open_video(tmp_path / "in.mp4"), tmp_path / "out.mp4")
    (said,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said.endswith("out.mp4: 10 bits of a colour become 8")


def test_audio_that_the_container_does_not_take_is_refused_before_any_work(tmp_path):
    video = open_video(write_video(tmp_path / "in.mkv", numbered(10), audio="pcm_s24le"))
    painter = Painter()
    with pytest.raises(ConfigError, match=r"\(pcm_s24le\) cannot be copied into .mp4.*ends in .mov or .mkv"):
        inpaint(painter, video, tmp_path / "out.mp4")
    assert not painter.painted
    inpaint(painter, video, tmp_path / "out.mkv")
    assert probed(tmp_path / "out.mkv")["audio"] == probed(video.path)["audio"]


def test_what_is_made_appears_in_the_hole_alone(source, tmp_path):
    grey = type("Grey", (), {"inpaint": lambda self, request: np.full_like(request.frames, 120)})()
    settings = OutputSettings(feather_px=2, encode=EncodeSettings(crf=0))
    inpaint(grey, source, tmp_path / "out.mp4", settings=settings)
    out, own = decoded(tmp_path / "out.mp4").astype(int), decoded(source.path).astype(int)
    assert np.abs(out[:, 20:28, 20:30] - 120).max() <= 2
    away = np.ones((48, 64), bool)
    away[16:32, 16:34] = False
    assert np.abs(out[:, away] - own[:, away]).max() <= 2


def test_model_works_at_its_own_size_and_raw_output_shows_what_it_made(source, tmp_path):
    sizes = []

    class White(Identity):
        def inpaint(self, request: Request) -> np.ndarray:
            sizes.append((request.frames.shape[1:3], request.mask.shape[1:]))
            return np.full_like(request.frames, 255)

    inpaint(White(), source, tmp_path / "out.mp4", raw_output=tmp_path / "raw.mp4")
    assert set(sizes) == {((24, 32), (24, 32))}
    raw = decoded(tmp_path / "raw.mp4")
    assert raw.shape == (20, 24, 32, 3)
    assert raw.min() >= 253
    assert probed(tmp_path / "raw.mp4")["times"] == probed(source.path)["times"]


def test_empty_mask_returns_the_input_and_says_so(source, tmp_path, caplog):
    painter = Painter()
    with caplog.at_level(logging.WARNING):
        inpaint(painter, source, tmp_path / "out.mp4", mask=hole_in(source, rows=slice(0, 0)))
    assert (tmp_path / "out.mp4").read_bytes() == source.path.read_bytes()
    assert "the mask is empty" in caplog.text
    assert not painter.painted


def test_empty_mask_with_another_container_keeps_every_frame(source, tmp_path):
    inpaint(Painter(), source, tmp_path / "out.mkv", mask=hole_in(source, rows=slice(0, 0)))
    assert numbers_of(decoded(tmp_path / "out.mkv")) == list(range(20))


@pytest.fixture(scope="module")
def whole_run(source, tmp_path_factory) -> bytes:
    """What a run gives that nothing interrupts."""
    output = tmp_path_factory.mktemp("whole") / "out.mp4"
    inpaint(Painter(), source, output)
    return output.read_bytes()


@pytest.mark.parametrize("stop_at", range(4))
def test_stopped_run_goes_on_at_its_window_with_equal_bytes(stop_at, source, whole_run, tmp_path):
    output = tmp_path / "out.mp4"
    with pytest.raises(KeyboardInterrupt):
        inpaint(Painter(stop_at=stop_at), source, output)
    assert os.listdir(tmp_path) == [".out.mp4.work"]
    rest = Painter()
    inpaint(rest, source, output)
    assert rest.painted == list(range(stop_at, 4))
    assert output.read_bytes() == whole_run
    assert os.listdir(tmp_path) == ["out.mp4"]


def test_run_that_stops_at_every_window_gives_equal_bytes(source, whole_run, tmp_path):
    for stop_at in range(1, 4):
        with pytest.raises(KeyboardInterrupt):
            inpaint(Painter(stop_at=stop_at), source, tmp_path / "out.mp4")
    inpaint(Painter(), source, tmp_path / "out.mp4")
    assert (tmp_path / "out.mp4").read_bytes() == whole_run


def test_process_that_is_killed_leaves_what_it_finished(source, whole_run, tmp_path):
    program = f"""
import os, signal
from pathlib import Path
from tests.inpaint.test_run import Painter, inpaint, open_video
inpaint(Painter(), open_video(Path({str(source.path)!r})), Path({str(tmp_path / "out.mp4")!r}),
        on_window=lambda window: window.index == 1 and os.kill(os.getpid(), signal.SIGKILL))
"""
    killed = subprocess.run([sys.executable, "-c", program], check=False)
    assert killed.returncode == -9
    rest = Painter()
    inpaint(rest, source, tmp_path / "out.mp4")
    assert rest.painted == [2, 3]
    assert (tmp_path / "out.mp4").read_bytes() == whole_run


def test_stop_while_the_output_is_put_together_leaves_no_part_of_it(source, whole_run, tmp_path, monkeypatch, caplog):
    def full(old: str, new: str) -> None:
        if str(new).endswith("out.mp4"):
            raise OSError(28, "No space left on device")
        os.rename(old, new)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StorageError, match=r"cannot write .*out.mp4: No space left"):
        inpaint(Painter(), source, tmp_path / "out.mp4")
    monkeypatch.undo()
    assert os.listdir(tmp_path) == [".out.mp4.work"]
    rest = Painter()
    with caplog.at_level(logging.INFO):
        inpaint(rest, source, tmp_path / "out.mp4")
    assert not rest.painted
    assert "all 4 windows are finished: putting" in caplog.text
    assert "going on at" not in caplog.text
    assert (tmp_path / "out.mp4").read_bytes() == whole_run


def test_other_settings_do_not_go_on_with_what_is_there(source, whole_run, tmp_path):
    output = tmp_path / "out.mp4"
    with pytest.raises(KeyboardInterrupt):
        inpaint(Painter(stop_at=2), source, output)
    with pytest.raises(RunError, match=r"--redo begins anew:\n  model.seed: 1 before, 2 now$"):
        inpaint(Painter(), source, output, made_by={"seed": 2})
    with pytest.raises(RunError, match="mask: "):
        inpaint(Painter(), source, output, mask=hole_in(source, rows=slice(21, 28)))
    anew = Painter()
    inpaint(anew, source, output, redo=True)
    assert anew.painted == [0, 1, 2, 3]
    assert output.read_bytes() == whole_run


def test_mask_of_another_shape_does_not_go_on_with_what_is_there(source, tmp_path):
    disc = (np.arange(48)[:, None] - 24) ** 2 + (np.arange(64) - 32) ** 2 < 80
    np.savez_compressed(tmp_path / "mask.npz", np.repeat(disc[None], 20, axis=0))

    def shaped(shape: str) -> MaskInput:
        return open_mask(tmp_path / "mask.npz", source, MaskSettings(shape=shape))

    with pytest.raises(KeyboardInterrupt):
        inpaint(Painter(stop_at=2), source, tmp_path / "out.mp4", mask=shaped("as_is"))
    with pytest.raises(RunError, match=r"--redo begins anew:\n  mask: "):
        inpaint(Painter(), source, tmp_path / "out.mp4", mask=shaped("box"))
    rest = Painter()
    inpaint(rest, source, tmp_path / "out.mp4", mask=shaped("as_is"))
    assert rest.painted == [2, 3]


def test_second_process_does_not_write_the_same_output(source, tmp_path):
    class Meddler(Painter):
        def inpaint(self, request: Request) -> np.ndarray:
            with pytest.raises(RunError, match="is being made by another process"):
                inpaint(Painter(), source, tmp_path / "out.mp4")
            return super().inpaint(request)

    meddler = Meddler()
    inpaint(meddler, source, tmp_path / "out.mp4")
    assert meddler.painted == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("out.avi", "ends in .mp4"),
        ("none/out.mp4", "there is no folder"),
        ("folder.mp4", "which is a folder"),
        ("/proc/out.mp4", "nothing can be written to /proc"),
    ],
)
@pytest.mark.parametrize("is_raw", [False, True])
def test_output_that_cannot_be_written_is_refused_first(is_raw, name, wanted, source, tmp_path):
    (tmp_path / "folder.mp4").mkdir()
    painter = Painter()
    outputs = (tmp_path / "out.mp4", tmp_path / name) if is_raw else (tmp_path / name, None)
    with pytest.raises(ConfigError, match=wanted):
        inpaint(painter, source, outputs[0], raw_output=outputs[1])
    assert not painter.painted


def test_link_is_followed_to_where_the_output_goes(source, whole_run, tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "out.mp4").symlink_to(tmp_path / "far/real.mp4")
    inpaint(Painter(), source, tmp_path / "out.mp4")
    assert (tmp_path / "out.mp4").is_symlink()
    assert (tmp_path / "far/real.mp4").read_bytes() == whole_run
    assert os.listdir(tmp_path / "far") == ["real.mp4"]


def test_input_is_never_overwritten(source):
    before = source.path.read_bytes()
    with pytest.raises(ConfigError, match="as output and input"):
        inpaint(Painter(), source, source.path)
    assert source.path.read_bytes() == before


def test_outputs_do_not_overwrite_each_other(source, tmp_path):
    with pytest.raises(ConfigError, match="as output and raw output"):
        inpaint(Painter(), source, tmp_path / "out.mp4", raw_output=tmp_path / "x" / ".." / "out.mp4")
    assert os.listdir(tmp_path) == []


def test_output_keeps_the_colour_description_of_the_input(tmp_path):
    path = write_video(tmp_path / "in.mp4", numbered(5), colour=(9, 1, 9))
    inpaint(Identity(), open_video(path), tmp_path / "out.mp4")
    before, after = probed(path)["colour"], probed(tmp_path / "out.mp4")["colour"]
    assert "bt2020" in before
    assert after == before
