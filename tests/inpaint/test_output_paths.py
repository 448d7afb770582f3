import os
import tempfile
from pathlib import Path

import pytest

from vpdata.errors import ConfigError, StorageError
from vpdata.inpaint.output_paths import check_distinct, check_place, publishing


def test_publishing_that_fails_leaves_the_target_as_it_was(tmp_path):
    target = tmp_path / "out.mp4"
    target.write_bytes(b"before")

    def fail(error: BaseException) -> None:
        with publishing(target) as aside:
            aside.write_bytes(b"half")
            raise error

    with pytest.raises(KeyboardInterrupt):
        fail(KeyboardInterrupt())
    with pytest.raises(StorageError, match=r"cannot write .*out.mp4: No space left"):
        fail(OSError(28, "No space left on device"))
    assert target.read_bytes() == b"before"
    with publishing(target) as aside:
        aside.write_bytes(b"after")
    assert target.read_bytes() == b"after"
    assert os.listdir(tmp_path) == ["out.mp4"]


def test_file_is_on_the_disk_before_it_takes_its_name(tmp_path, monkeypatch):
    synced = []
    fsync, replace = os.fsync, os.replace

    def recorded(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def checked(old: Path, new: Path) -> None:
        assert synced == [os.stat(old).st_ino]
        replace(old, new)

    monkeypatch.setattr(os, "fsync", recorded)
    monkeypatch.setattr(os, "replace", checked)
    with publishing(tmp_path / "out.mp4") as aside:
        aside.write_bytes(b"made")
    assert os.listdir(tmp_path) == ["out.mp4"]


def test_each_file_is_made_on_its_own_disk(tmp_path):
    """No file can be renamed from one disk to another."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        for folder in (tmp_path, Path(other)):
            with publishing(folder / "out.mp4") as aside:
                aside.write_bytes(b"made")
                assert aside.stat().st_dev == folder.stat().st_dev
            assert os.listdir(folder) == ["out.mp4"]


def test_files_are_compared_by_where_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.mp4").symlink_to("later.mp4")
    check_distinct({"a": Path("one.mp4"), "b": None}, {"c": Path("two.mp4"), "d": None})
    for other in ("later.mp4", "x/../later.mp4", tmp_path / "later.mp4"):
        with pytest.raises(ConfigError, match=r"link.mp4 as a and b; name another a"):
            check_distinct({"a": Path("link.mp4"), "b": Path(other)}, {})


def test_trying_a_place_leaves_nothing(tmp_path):
    check_place(tmp_path / "out.mp4")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("letter", ["a", "ä"])
def test_name_that_leaves_no_room_for_those_beside_it_is_refused_first(letter, tmp_path):
    """Linux takes 255 bytes, and what is found is kept as `.NAME.objects.json` until the output is there."""
    stem = letter * (237 // len(letter.encode()))
    longest = tmp_path / f"{'b' * (237 - len(stem.encode()))}{stem}.mp4"
    check_place(longest)
    assert os.listdir(tmp_path) == []
    longest.with_name(f".{longest.name}.objects.json").touch()
    with pytest.raises(ConfigError, match="name has 242 bytes; wanted a shorter one"):
        check_place(longest.with_name(f"b{longest.name}"))
