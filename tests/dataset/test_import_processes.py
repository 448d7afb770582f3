"""Several processes import what one does; an error, a death and Ctrl-C stop them all, and none outlives the import."""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from benchmark.footage import write_video
from tests.dataset.published import CAPTION, PEXELS, VIDEO_URI, VIDEOVO, files_of, write_csv
from vpdata.dataset.import_videopainter import import_videopainter
from vpdata.errors import ConfigError, RunError, StorageError


def test_two_processes_give_the_bytes_of_one(in_two_parts, tmp_path):
    import_videopainter(in_two_parts, tmp_path / "one")
    import_videopainter(in_two_parts, tmp_path / "two", processes=2)
    files = files_of(tmp_path / "one")
    assert "5-filter/part-00001.parquet" in files
    assert files_of(tmp_path / "two") == files


def test_process_that_was_killed_is_named_and_its_part_is_made_again(in_two_parts, tmp_path):
    with_deadly_neighbour = threading.Thread(target=kill_the_first_child)
    with_deadly_neighbour.start()
    with pytest.raises(RunError, match=rf"that wrote part-00000 \(videos {PEXELS} to .*ended with signal 9"):
        import_videopainter(in_two_parts, tmp_path / "run", processes=2)
    with_deadly_neighbour.join()
    assert multiprocessing.active_children() == []
    import_videopainter(in_two_parts, tmp_path / "run", processes=2)
    import_videopainter(in_two_parts, tmp_path / "other")
    assert files_of(tmp_path / "run") == files_of(tmp_path / "other")


def kill_the_first_child() -> None:
    while True:
        for child in multiprocessing.active_children():
            if child.name == "part-00000":
                child.kill()
                return
        time.sleep(0.01)


def test_error_of_a_process_is_raised_as_it_is(in_two_parts, tmp_path):
    (tmp_path / "run/1-cut").mkdir(parents=True)
    with pytest.raises(RunError, match="not empty"):
        import_videopainter(in_two_parts, tmp_path / "run", processes=2)
    (tmp_path / "run/1-cut").rmdir()
    import_videopainter(in_two_parts, tmp_path / "run")
    for name in ("5-filter/part-00000.parquet", "5-filter/part-00001.parquet", "1-cut/part-00001.tar"):
        (tmp_path / "run" / name).unlink()
    (tmp_path / "run/1-cut/part-00001.tar/in the way").mkdir(parents=True)
    with pytest.raises(StorageError, match=r"1-cut/part-00001.tar"):
        import_videopainter(in_two_parts, tmp_path / "run", processes=2)
    assert multiprocessing.active_children() == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_processes_end_with_the_import(in_two_parts, tmp_path, number):
    frames = np.zeros((60, 720, 1280, 3), np.uint8)
    write_video(in_two_parts / VIDEO_URI, frames, fps=12)
    masks = in_two_parts / "video_inpainting/pexels/000000001523_856207/all_masks.npz"
    np.savez_compressed(masks, np.ones(frames.shape[:3], np.uint8))
    many = [(PEXELS, 0, stop, 12, 1, CAPTION) for stop in range(20, 60)]
    gone = [(f"{2000 + number:012d}_1.mp4", 0, 12, 12.0, 7, CAPTION) for number in range(63)]
    write_csv(in_two_parts, [*many, *gone, (VIDEOVO, 0, 12, 12, 300, CAPTION)])
    command = [sys.executable, "-m", "vpdata", "import", str(in_two_parts), "--format", "videopainter"]
    command += ["--output", str(tmp_path / "run"), "--processes", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    children = working(process, tmp_path / "run")
    if number == signal.SIGINT:
        # A terminal sends it to all of them, in any order.
        for child in children:
            child.send_signal(number)
        time.sleep(0.5)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    assert b"Traceback" not in stderr
    assert psutil.wait_procs(children, timeout=10)[1] == []


def working(process: subprocess.Popen, folder: Path) -> list[psutil.Process]:
    """The processes below one, once the short second part is done, and the long first one is being written."""
    deadline = time.monotonic() + 20
    while not (folder / "5-filter/part-00001.parquet").exists() or not list((folder / "1-cut").glob(".aside-*")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return psutil.Process(process.pid).children(recursive=True)


def test_no_process_is_refused(in_two_parts, tmp_path):
    with pytest.raises(ConfigError, match="got 0 processes"):
        import_videopainter(in_two_parts, tmp_path / "run", processes=0)
