import numpy as np
import pytest

from vpdata.errors import RunError, StorageError
from vpdata.inpaint.any_length import MadeWindow
from vpdata.inpaint.windows import Window
from vpdata.inpaint.work_folder import WorkFolder


def made(index: int) -> MadeWindow:
    random = np.random.default_rng(index)
    return MadeWindow(
        window=Window(index=index, start=4 * index, stop=4 * index + 9, num_shared=5, num_known=5),
        frames=random.integers(0, 256, (9, 5, 7, 3), dtype=np.uint8),
        mask=random.random((9, 5, 7)) < 0.5,
    )


def test_last_window_comes_back_bit_for_bit(tmp_path):
    work = WorkFolder(tmp_path / "out.mp4")
    with work.opened({"seed": 1}, redo=False):
        assert work.finished() is None
        for index in range(3):
            work.keep(made(index), {"output": b"piece %d" % index})
    with WorkFolder(tmp_path / "out.mp4").opened({"seed": 1}, redo=False):
        found = work.finished()
        assert found is not None
        assert found.window == made(2).window
        assert np.array_equal(found.frames, made(2).frames)
        assert np.array_equal(found.mask, made(2).mask)
        assert [path.read_bytes() for path in work.pieces("output", 3)] == [b"piece 0", b"piece 1", b"piece 2"]


def test_only_the_last_window_takes_space(tmp_path):
    work = WorkFolder(tmp_path / "out.mp4")
    with work.opened({}, redo=False):
        for index in range(4):
            work.keep(made(index), {"output": b""})
    assert sorted(path.name for path in (tmp_path / ".out.mp4.work").glob("*.npz")) == ["window-000003.npz"]


def test_all_that_differs_is_said(tmp_path):
    work = WorkFolder(tmp_path / "out.mp4")
    with work.opened({"seed": 1, "prompt": "a", "size": 3}, redo=False):
        work.keep(made(0), {"output": b""})
    differs = r'something else; --redo begins anew:\n  prompt: "a" before, "b" now\n  seed: 1 before, null now$'
    with pytest.raises(RunError, match=differs), work.opened({"prompt": "b", "size": 3}, redo=False):
        pass
    with work.opened({"prompt": "b"}, redo=True):
        assert work.finished() is None


def test_only_the_values_that_differ_are_said(tmp_path):
    work = WorkFolder(tmp_path / "out.mp4")
    words = "a dog that runs over the grass " * 5
    before = {
        "model": {"path": "/long" * 40, "sampling": {"seed": 42, "num_steps": 50}, "prompts": {"0": f"{words}red"}}
    }
    now = {"model": {"path": "/long" * 40, "sampling": {"seed": 1, "num_steps": 50}, "prompts": {"0": f"{words}blue"}}}
    with work.opened(before | {"windows": [[0, 9], [4, 13]]}, redo=False):
        work.keep(made(0), {"output": b""})
    with pytest.raises(RunError) as raised, work.opened(now | {"windows": [[0, 9], [5, 13]]}, redo=False):
        pass
    assert str(raised.value).splitlines()[1:] == [
        '  model.prompts.0: ...runs over the grass red" before, ...runs over the grass blue" now',
        "  model.sampling.seed: 42 before, 1 now",
        "  windows[1][0]: 4 before, 5 now",
    ]


def test_nothing_binds_before_a_window_is_finished(tmp_path):
    work = WorkFolder(tmp_path / "out.mp4")
    for seed in (1, 2):
        with work.opened({"seed": seed}, redo=False):
            assert work.finished() is None
    with work.opened({"seed": 2}, redo=False):
        work.keep(made(0), {"output": b""})
    with pytest.raises(RunError, match="seed: 2 before, 3 now"), work.opened({"seed": 3}, redo=False):
        pass


DAMAGES = {
    "text": lambda data: b"abc",
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "pickle": lambda data: b"\x80\x04N.",
    "other bits": lambda data: data[:200] + bytes(byte ^ 255 for byte in data[200:400]) + data[400:],
}


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *(("window-000000.npz", damage) for damage in DAMAGES.values()),
        ("made-by.json", DAMAGES["cut"]),
        ("made-by.json", lambda data: b"3"),
    ],
)
def test_damaged_file_is_named_with_the_way_out(name, damage, tmp_path):
    work = WorkFolder(tmp_path / "out.mp4")
    with work.opened({"seed": 1}, redo=False):
        work.keep(made(0), {"output": b""})
    path = tmp_path / ".out.mp4.work" / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(StorageError, match=rf"{name} is damaged; --redo"), work.opened({"seed": 1}, redo=False):
        work.finished()
    with work.opened({"seed": 1}, redo=True):
        assert work.finished() is None


def test_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / ".out.mp4.work").write_text("a file")
    work = WorkFolder(tmp_path / "out.mp4")
    wanted = r"cannot write to .*.out.mp4.work: File exists"
    with pytest.raises(StorageError, match=wanted), work.opened({}, redo=False):
        pass


def test_outputs_side_by_side_do_not_meet(tmp_path):
    one, other = WorkFolder(tmp_path / "one.mp4"), WorkFolder(tmp_path / "other.mp4")
    with one.opened({}, redo=False), other.opened({}, redo=False):
        one.keep(made(0), {"output": b""})
        assert other.finished() is None
        one.remove()
        other.keep(made(0), {"output": b""})
