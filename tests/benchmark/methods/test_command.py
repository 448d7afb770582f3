"""Programs of others, as commands and as folders of what they have made."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from benchmark.methods import guarded
from benchmark.methods.command import Command, CommandSettings
from benchmark.methods.exchange import read_frames, write_pictures
from benchmark.methods.folder import KIND as FOLDER
from benchmark.methods.folder import FolderSettings, ResultsFolder
from benchmark.results import BadResult, encode_lossless
from tests.benchmark.methods import programs
from tests.benchmark.methods.footage import WORDS, crossing, panned, with_hole
from vpdata.config import fill
from vpdata.errors import ConfigError

TRUTH = panned((2, 0), num_frames=12)
MASKS = crossing(TRUTH)
GIVEN = with_hole(TRUTH, MASKS)
COLOUR = (10, 200, 60)


def stand_in(what: str, *, result: str = "made.npy") -> Command:
    command = [sys.executable, programs.__file__, what, "{frames}", "{masks}", "{output}", "{prompt_file}"]
    return Command(CommandSettings(command=tuple(command), result=result))


@pytest.mark.parametrize(("what", "result"), [("pictures", "."), ("array", "made.npy")])
def test_a_program_gets_frames_and_masks_and_its_output_is_read(what: str, result: str) -> None:
    made = stand_in(what, result=result).inpaint(GIVEN, MASKS, WORDS)
    np.testing.assert_array_equal(made, np.where(MASKS[..., None], np.uint8(COLOUR), TRUTH))


def test_a_program_gets_the_words_a_line_each() -> None:
    with pytest.raises(BadResult, match=r"status 1: .*\na red ball on the grass\na red ball$"):
        stand_in("prompt").inpaint(GIVEN, MASKS, WORDS)


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("fails", "status 3: filling .*out of memory"),
        ("crashes", f"status {128 + signal.SIGABRT}"),
        ("nothing", r"there is no file or folder made\.npy"),
        ("nan", "3 values of 691200 are NaN or infinite"),
    ],
)
def test_what_a_program_does_wrong_is_the_reason(what: str, reason: str) -> None:
    with pytest.raises(BadResult, match=f"(?s){reason}"):
        stand_in(what).inpaint(GIVEN, MASKS, WORDS)


def test_a_missing_program_is_named() -> None:
    command = Command(CommandSettings(command=("/no/such/program", "{frames}", "{masks}", "{output}")))
    with pytest.raises(BadResult, match=r"(?s)status 1: .*No such file or directory: '/no/such/program'"):
        command.inpaint(GIVEN, MASKS, WORDS)


def test_arguments_pass_no_shell(tmp_path: Path) -> None:
    text = f"; touch {tmp_path}/made $(touch {tmp_path}/made)"
    code = "import sys; sys.exit(' '.join(sys.argv[1:]))"
    command = (sys.executable, "-c", code, text, "{frames}{masks}{output}")
    with pytest.raises(BadResult) as caught:
        Command(CommandSettings(command=command)).inpaint(GIVEN, MASKS, WORDS)
    assert text in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"command": []}, "empty command"),
        ({"command": ["run", "{frames}", "{masks}"]}, "got no {output}"),
        ({"command": ["run", "{frames}", "{masks}", "{output}", "{video}"]}, "got {video}, known are"),
        ({"command": ["run", "{frames}{masks}{output}"], "result": "../x"}, "inside {output}"),
        ({"command": ["run", "{frames}{masks}{output}"], "result": "/x"}, "inside {output}"),
        ({"command": ["run", "{frames}{masks}{output}"], "time": 3}, "unknown setting time"),
    ],
)
def test_wrong_settings_are_named(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fill(CommandSettings, options)


def test_a_program_and_what_it_started_die_with_who_started_it(tmp_path: Path) -> None:
    for name in ("frames", "masks", "output"):
        write_pictures(tmp_path / name, GIVEN[:1] if name != "masks" else MASKS[:1])
    places = [str(tmp_path / name) for name in ("frames", "masks", "output", "prompt")]
    arguments = [sys.executable, guarded.__file__, sys.executable, programs.__file__, "hangs_with_child", *places]
    # A parent that is killed cannot clean up: the guard sees its standard input close.
    code = f"import subprocess, time; subprocess.Popen({arguments!r}, stdin=subprocess.PIPE); time.sleep(600)"
    parent = subprocess.Popen([sys.executable, "-c", code])
    pids = tmp_path / "pids"
    _wait_until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    parent.kill()
    parent.wait()
    _wait_until(lambda: not any(_is_alive(int(pid)) for pid in pids.read_text().split()))


def _wait_until(happened: object, limit_s: float = 60.0) -> None:
    assert callable(happened)
    deadline = time.monotonic() + limit_s
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie that nobody has waited for is dead.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_lossless_video_is_read_bit_by_bit(tmp_path: Path) -> None:
    tmp_path.joinpath("made.mkv").write_bytes(encode_lossless(TRUTH, fps=Fraction(8)))
    np.testing.assert_array_equal(read_frames(tmp_path / "made.mkv", at_most=12), TRUTH)


@pytest.mark.parametrize("at_most", [3, 12])
def test_frames_beyond_those_wanted_are_seen_but_not_all_read(tmp_path: Path, at_most: int) -> None:
    tmp_path.joinpath("made.mkv").write_bytes(encode_lossless(TRUTH, fps=Fraction(8)))
    write_pictures(tmp_path / "made", TRUTH)
    for name in ("made.mkv", "made"):
        assert len(read_frames(tmp_path / name, at_most=at_most)) == min(at_most + 1, 12)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.mp4", b"", "corrupt"),
        ("a.mp4", b"\0\0\0\x20ftypisom" + bytes(100), "corrupt"),
        ("a.npy", b"", r"corrupt: a\.npy"),
        ("a.npy", b"\x93NUMPY\x01\x00\x10\x00{'descr': '|O'}", r"corrupt: a\.npy"),
        ("a.txt", b"text", r"got a\.txt, wanted"),
        ("a/1.png", b"text", "corrupt: .*no picture"),
        ("a/readme.txt", b"text", "a holds no frames"),
    ],
)
def test_a_corrupt_result_is_named(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    with pytest.raises(BadResult, match=reason):
        read_frames(tmp_path / name.split("/")[0], at_most=5)


def test_an_array_of_other_values_is_named(tmp_path: Path) -> None:
    for values, reason in [
        (TRUTH.astype(np.float32), r"values from \d+ to \d+, wanted \[0, 1\]"),
        (TRUTH.astype(np.int32), "got int32, wanted uint8, or floats"),
    ]:
        np.save(tmp_path / "a.npy", values)
        with pytest.raises(BadResult, match=reason):
            read_frames(tmp_path / "a.npy", at_most=12)
    with tmp_path.joinpath("b.npy").open("wb") as file:
        np.savez(file, TRUTH)
    with pytest.raises(BadResult, match="an archive"):
        read_frames(tmp_path / "b.npy", at_most=12)


def test_a_folder_of_results_is_looked_up_by_case(tmp_path: Path) -> None:
    write_pictures(tmp_path / "s-0" / "frames", TRUTH)
    settings = FolderSettings(folder=str(tmp_path), result="{case}/frames")
    np.testing.assert_array_equal(ResultsFolder(settings).inpaint(GIVEN, MASKS, WORDS), TRUTH)
    (tmp_path / "s-0").rename(tmp_path / "s-1")
    with pytest.raises(BadResult, match="the clip is missing: there is no s-0/frames"):
        ResultsFolder(settings).inpaint(GIVEN, MASKS, WORDS)


def test_changed_files_are_another_method(tmp_path: Path) -> None:
    write_pictures(tmp_path / "s-0", TRUTH[:2])
    settings = FolderSettings(folder=str(tmp_path), result="{case}")
    before = FOLDER.weights(settings)
    assert FOLDER.weights(settings) == before
    (tmp_path / "s-0" / "00000.png").write_bytes((tmp_path / "s-0" / "00001.png").read_bytes())
    assert FOLDER.weights(settings) != before
    with pytest.raises(ConfigError, match="holds no files"):
        FOLDER.weights(FolderSettings(folder=str(tmp_path / "other")))


@pytest.mark.parametrize("result", ["made.mp4", "../{case}.mp4", "/{case}.mp4"])
def test_a_path_that_leaves_the_folder_or_names_no_case_is_refused(result: str) -> None:
    with pytest.raises(ConfigError, match="got result"):
        fill(FolderSettings, {"folder": "x", "result": result})


@pytest.mark.parametrize("height_px", [480, 720])
def test_untagged_video_is_read_as_ffmpeg_writes_it(tmp_path: Path, height_px: int) -> None:
    """Of any size: players would take the larger one for BT.709, 30 levels away on pure colours."""
    colour = np.uint8((220, 40, 90))
    frame = np.broadcast_to(colour, (height_px, 1280, 3))
    written = tmp_path / "made.mp4"
    with av.open(str(written), "w") as container:
        stream = container.add_stream("libx264", rate=8, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 1280, height_px, "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())
    read = read_frames(written, at_most=3)
    assert read.shape == (3, height_px, 1280, 3)
    assert np.abs(read.astype(int) - colour).max() <= 3
