"""What one open page has uploaded and made: a folder that goes when the page is closed."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vpdata.inpaint.input_video import VideoInput
from vpdata.inpaint.options import FrameBox, FramePoint

_SILENT_S = 86_400
"""A page is kept for so long after its last request: one that was cut off (Gradio's, 6.31) connects no more, nor does
a program that only sent requests, and the end of neither is told."""


class Cancelled(Exception):  # noqa: N818  it names an outcome, not a fault
    """The user has stopped the job."""


class Session:
    """One job at a time; another thread may stop it."""

    def __init__(self, root: Path) -> None:
        # The name cannot be guessed, and nothing of it comes from the browser.
        self.folder = Path(tempfile.mkdtemp(prefix="session-", dir=root))
        self.video: VideoInput | None = None
        self.preview: Path | None = None
        """The video as any browser plays it, frame for frame."""
        self.mask: Path | None = None
        self.first_frame: Path | None = None
        """The video's, with its hole filled by the user."""
        self.points: list[FramePoint] = []
        self.boxes: list[FrameBox] = []
        self.corner: FramePoint | None = None
        """The first corner of a box whose second is not clicked yet."""
        self.is_waiting = False
        """For its turn at the models."""
        self._numbers = itertools.count(1)
        self._claimed: Path | None = None
        self._claiming = threading.Lock()
        self._busy = threading.Lock()
        self._stopped = threading.Event()

    def new_file(self, kind: str, suffix: str) -> Path:
        """A path for the newest file of this kind; older ones go. Each has a name of its own, so no browser mixes them.

        `kind` and `suffix` are ours.
        """
        for older in self.folder.glob(f"{kind}-*"):
            older.unlink()
        return self.folder / f"{kind}-{next(self._numbers)}{suffix}"

    def claim(self, uploaded: Path) -> None:
        """Keep an upload for the next job. The server keeps equal ones of all pages as one file, and not for long."""
        path = self.folder / f"upload-{next(self._numbers)}"
        try:
            path.hardlink_to(uploaded)
        except OSError:  # the disk knows no links
            shutil.copyfile(uploaded, path)
        with self._claiming:
            older, self._claimed = self._claimed, path
        if older is not None:
            older.unlink()

    def make_way(self) -> bool:
        """Stop the running job for the upload that is claimed, and wait until it has ended; False where none is."""
        with self._claiming:
            if self._claimed is None:
                return False
            self._stopped.set()
        with self._busy:
            return True

    def take_claimed(self) -> Path | None:
        """The newest upload, which becomes the session's video; None where another job has taken that."""
        with self._claiming:
            claimed, self._claimed = self._claimed, None
            # Whoever made way until now did it for this upload.
            self._stopped.clear()
        return claimed and claimed.rename(self.new_file("video", ""))

    def forget_clicks(self) -> None:
        """Begin anew to say where the object is."""
        self.points.clear()
        self.boxes.clear()
        self.corner = None

    @contextmanager
    def job(self) -> Iterator[None]:
        """Wait for the job before, and hold the session for this one."""
        with self._busy:
            self._stopped.clear()
            yield

    @property
    def is_busy(self) -> bool:
        """Whether a job runs."""
        return self._busy.locked()

    def check(self) -> None:
        """Called by a job now and then; raises Cancelled once it was stopped."""
        if self._stopped.is_set():
            raise Cancelled

    def stop(self) -> None:
        """Stop the running job and wait until it has ended."""
        self._stopped.set()
        with self._busy:
            pass

    def close(self) -> None:
        """Stop, and remove every file."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Sessions:
    """The open pages, by the name that the server gives each."""

    def __init__(self, root: Path, *, grace_s: float) -> None:
        """`root` is where the server puts uploads; `grace_s` how long a page without a connection may be silent."""
        self.root = root
        self.folder = root / "pages"
        self.folder.mkdir()
        self._grace_s = grace_s
        self._sessions: dict[str, Session] = {}
        self._ends: dict[str, threading.Timer] = {}
        self._changing = threading.Lock()

    def of(self, name: str) -> Session:
        """The session of a page that asks for something; a new one for a name that was not seen yet."""
        with self._changing:
            if name not in self._sessions:
                self._sessions[name] = Session(self.folder)
            self._end_after(_SILENT_S, name)
            return self._sessions[name]

    def num_waiting(self, *, besides: Session) -> int:
        """Of the other pages."""
        with self._changing:
            return sum(one.is_waiting for one in self._sessions.values() if one is not besides)

    def held_bytes(self) -> int:
        """Of the files of all pages."""
        # Not by rglob(), which fails where a page is closed meanwhile.
        walked = os.walk(self.folder)
        return sum(_num_bytes(Path(folder) / name) for folder, _, names in walked for name in names)

    def leave(self, name: str) -> None:
        """The page's connection has ended: it was closed, or cut off for a moment, which its next request shows."""
        with self._changing:
            if name in self._sessions:
                # What waited in the server's queue has gone from it with the connection.
                self._sessions[name].is_waiting = False
                self._end_after(self._grace_s, name)

    def close(self, name: str, *, at: threading.Timer | None = None) -> None:
        """Remove the session; for a timer, only where that is still the one that ends it."""
        with self._changing:
            if at is not None and self._ends.get(name) is not at:
                return
            if at is not None and at.interval == _SILENT_S and self._sessions[name].is_busy:
                self._end_after(_SILENT_S, name)
                return
            session = self._sessions.pop(name, None)
            timer = self._ends.pop(name, None)
        if timer is not None:
            timer.cancel()
        if session is not None:
            session.close()

    def close_all(self) -> None:
        """The server ends."""
        for name in list(self._sessions):
            self.close(name)

    def _end_after(self, wait_s: float, name: str) -> None:
        if name in self._ends:
            self._ends[name].cancel()
        timer = threading.Timer(wait_s, lambda: self.close(name, at=timer))
        timer.daemon = True  # the server may end meanwhile
        self._ends[name] = timer
        timer.start()

    def upload_at(self, path: object) -> Path | None:
        """The file at a path that a browser sent; None where that is no file that was uploaded, or one of a session."""
        if not isinstance(path, str) or "\0" in path:
            return None
        real = Path(path).resolve()
        # The server puts an upload into a folder that is named by what is in it; those of sessions lie deeper.
        return real if real.is_file() and real.parent.parent == self.root.resolve() else None


def _num_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # its page has replaced it, or was closed
        return 0
