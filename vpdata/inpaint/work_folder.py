"""What is finished of an output, kept beside it until all is, so that the same command goes on where it stopped."""

from __future__ import annotations

import fcntl
import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any, TextIO
from zipfile import BadZipFile

import numpy as np

from vpdata.errors import RunError, StorageError
from vpdata.inpaint.any_length import MadeWindow
from vpdata.inpaint.output_paths import real_path
from vpdata.inpaint.windows import Window
from vpdata.storage import Folder

_MADE_BY = "made-by.json"
_LOCK = "lock"


class WorkFolder:
    """`.<output>.work/`: the encoded pieces of all finished windows, and the last of the windows itself."""

    def __init__(self, output: Path) -> None:
        self._output = output
        place = real_path(output)
        self._folder = Folder(place.with_name(f".{place.name}.work"))

    @contextmanager
    def opened(self, made_by: Mapping[str, Any], *, redo: bool) -> Iterator[None]:
        """Hold the folder for this process. `made_by` is all that decides the result, as JSON takes it.

        RunError where another process holds it, or where its finished windows were made by something else; with `redo`
        those are removed. StorageError where it cannot be written or is damaged.
        """
        with self._lock() as lock:
            try:
                # Released by the system when the process ends, however that comes about.
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise RunError(f"{self._output} is being made by another process; wait, or stop that one") from error
            if redo:
                self._clear()
            self._check(made_by)
            yield

    def made_by(self) -> dict[str, Any] | None:
        """What the finished windows were made by; None where none is. StorageError where that cannot be read."""
        if not (self._folder.exists(_MADE_BY) and self._folder.names(".npz")):
            return None
        with self._named_damage(_MADE_BY):
            return dict(json.loads(self._folder.read(_MADE_BY)))

    def finished(self) -> MadeWindow | None:
        """The last window that is finished; None at the beginning. StorageError where it cannot be read."""
        names = self._folder.names(".npz")
        if not names:
            return None
        with self._named_damage(names[-1]), np.load(self._folder.path(names[-1])) as arrays:
            index, start, stop, num_shared, num_known = (int(value) for value in arrays["window"])
            frames = arrays["frames"]
            mask = np.unpackbits(arrays["mask"], count=frames[..., 0].size).astype(np.bool_).reshape(frames.shape[:3])
        window = Window(index=index, start=start, stop=stop, num_shared=num_shared, num_known=num_known)
        return MadeWindow(window=window, frames=frames, mask=mask)

    def keep(self, made: MadeWindow, pieces: Mapping[str, bytes]) -> None:
        """Take in a finished window and, by the name of their output, its pieces."""
        window = made.window
        for kind, data in pieces.items():
            self._folder.write(_piece_name(kind, window.index), data)
        # Last: the window counts as finished from here on.
        name = f"window-{window.index:06d}.npz"
        with self._folder.writing(name) as path, path.open("wb") as file:
            np.savez(
                file,
                window=[window.index, window.start, window.stop, window.num_shared, window.num_known],
                frames=made.frames,
                mask=np.packbits(made.mask),
            )
        for older in self._folder.names(".npz"):
            if older < name:
                self._folder.remove(older)

    def pieces(self, kind: str, num_windows: int) -> list[Path]:
        """Of all windows, in order."""
        return [self._folder.path(_piece_name(kind, index)) for index in range(num_windows)]

    def remove(self) -> None:
        """Remove the folder with all that is in it."""
        self._folder.remove_all()

    def _check(self, made_by: Mapping[str, Any]) -> None:
        text = json.dumps(made_by, indent=1, sort_keys=True)
        if (before := self.made_by()) is None:
            self._clear()
            self._folder.write(_MADE_BY, text.encode())
            return
        if changes := _changes(before, json.loads(text)):
            raise RunError(
                "\n  ".join([f"part of {self._output} was made by something else; --redo begins anew:", *changes])
            )

    def _lock(self) -> TextIO:
        try:
            Path(self._folder.uri).mkdir(exist_ok=True)
            return self._folder.path(_LOCK).open("w")
        except OSError as error:
            raise StorageError(f"cannot write to {self._folder.uri}: {error.strerror or error}") from error

    @contextmanager
    def _named_damage(self, name: str) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, TypeError, LookupError, EOFError, BadZipFile, zlib.error) as error:
            # Without NumPy's words, which advise to trust the file.
            raise StorageError(f"{self._folder.path(name)} is damaged; --redo begins the output anew") from error

    def _clear(self) -> None:
        for name in self._folder.names():
            if name != _LOCK:
                self._folder.remove(name)


def _piece_name(kind: str, index: int) -> str:
    return f"{kind}-{index:06d}.mkv"


def _changes(before: Any, now: Any, where: str = "") -> list[str]:
    """A line for each value that is another one; of lists, for the first in them."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = sorted(before.keys() | now.keys())
        return [line for key in keys for line in _changes(before.get(key), now.get(key), f"{where}.{key}".strip("."))]
    if isinstance(before, list) and isinstance(now, list):
        items = (_changes(*pair, f"{where}[{index}]") for index, pair in enumerate(zip_longest(before, now)))
        return next((lines for lines in items if lines), [])
    if before == now:
        return []
    texts = [json.dumps(value, ensure_ascii=False) for value in (before, now)]
    # Two prompts may differ in a late word alone.
    first = next((index for index, pair in enumerate(zip(*texts, strict=False)) if pair[0] != pair[1]), 0)
    start = max(first - 20, 0)
    return [f"{where}: {_short(texts[0], start)} before, {_short(texts[1], start)} now"]


def _short(text: str, start: int) -> str:
    """Part of a long text, with what is at `start`."""
    if len(text) <= 80:
        return text
    return f"{'...' if start else ''}{text[start : start + 74]}{'...' if len(text) > start + 74 else ''}"
