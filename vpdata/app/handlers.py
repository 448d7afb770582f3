"""What happens at each event of the page: arguments from the browser in, new states of components out."""

from __future__ import annotations

import functools
import html
import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import cv2
import gradio as gr
import numpy as np

from vpdata.app.session import Cancelled, Session, Sessions
from vpdata.app.studio import Studio
from vpdata.errors import VpdataError
from vpdata.inpaint.input_video import VideoInput
from vpdata.inpaint.options import FrameBox, FramePoint, Wanted, Words

P = ParamSpec("P")
R = TypeVar("R")

DESCRIBE, REMOVE, REPLACE = "Fill it with", "Remove it", "Replace it with"
POINT, BOX = "Click on it", "Click two corners around it"
MAX_WORDS = 2000
"""Characters of any text from the browser."""
_MARK, _EDGE = (255, 255, 255), (200, 20, 80)
_NAMES_HERE = {
    "--box": "a box",
    "--point": "a click",
    "--mask": "a mask file on the command line",
    "--prompt": "a description",
    "--first-frame": "the first frame",
}
"""Of the command's options that messages name."""

_log = logging.getLogger(__name__)


def in_words(handler: Callable[P, R]) -> Callable[P, R]:
    """Our own errors and warnings become messages on the page; of other errors it says only that there was one."""

    @functools.wraps(handler)
    def told(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with _warnings_shown():
                return handler(*args, **kwargs)
        except Cancelled as error:
            raise gr.Error("The job was stopped.", title="Stopped", print_exception=False) from error
        except VpdataError as error:
            _log.info("told the page: %s", error)
            raise refusal(str(error)) from error

    return told


@contextmanager
def _warnings_shown() -> Iterator[None]:
    """Show what this thread's job warns of, such as an object that was not found; it is logged as well."""
    job = threading.get_ident()
    shown = logging.Handler(logging.WARNING)
    shown.addFilter(lambda record: record.thread == job)
    shown.emit = lambda record: gr.Warning(_for_page(record.getMessage()), duration=None)
    work = logging.getLogger("vpdata.inpaint")
    work.addHandler(shown)
    try:
        yield
    finally:
        work.removeHandler(shown)


def refusal(text: str) -> gr.Error:
    """A message that stays until it is closed."""
    return gr.Error(_for_page(text), title="This cannot be done", duration=None, print_exception=False)


def _for_page(text: str) -> str:
    """With the page's names for the command's options. The page would take it as HTML."""
    for option, name in _NAMES_HERE.items():
        text = re.sub(rf"(\ba )?{option}", name, text)
    return html.escape(text)


class Handlers:
    """Bound to the page's events by `page.py`, where their outputs are named in the same order."""

    def __init__(self, studio: Studio, sessions: Sessions, *, max_waiting: int, max_held_mb: int) -> None:
        self._studio = studio
        self._sessions = sessions
        self._max_waiting = max_waiting
        self._max_held_mb = max_held_mb

    @in_words
    def claim(self, sent: Any, request: gr.Request) -> None:
        """The page has uploaded a file, which it holds from now on."""
        uploaded = self._uploaded(sent)
        if self._sessions.held_bytes() + uploaded.stat().st_size > self._max_held_mb * 1_000_000:
            raise refusal("The videos of all pages fill the space that this server has for them. Please try later.")
        self._session(request).claim(uploaded)

    @in_words
    def take_in(self, request: gr.Request, progress: gr.Progress = gr.Progress()) -> tuple[Any, ...]:  # noqa: B008
        """Outputs: dropzone, facts, frame, picture, first frame, object step, fill step, result step."""
        session = self._session(request)
        video = self._studio.take_in(session, progress) if session.make_way() else None
        if video is None:
            # Of two uploads that waited to be read, the first to be read was the newer.
            return (gr.skip(),) * 8
        facts = (
            f"**{video.size.width_px} × {video.size.height_px} px**, {video.num_frames} frames, "
            f"{float(video.num_frames / video.average_fps):.1f} s, {float(video.average_fps):.4g} fps"
            f"{', with sound' if video.has_audio else ''}"
        )
        return (
            None,
            facts,
            gr.Slider(value=0, maximum=max(1, video.num_frames - 1), interactive=video.num_frames > 1),
            self._picture(session, 0),
            None,
            gr.Column(visible=True),
            gr.Column(visible=False),
            gr.Column(visible=False),
        )

    @in_words
    def show_frame(self, frame: float, request: gr.Request) -> str:
        """Output: picture."""
        session = self._session(request)
        return self._picture(session, _on_video(frame, session))

    @in_words
    def click(self, event: gr.SelectData, frame: float, how: str, request: gr.Request) -> str:
        """Output: picture."""
        session = self._session(request)
        index, size = _on_video(frame, session), _video_of(session).size
        height, width = self._studio.picture(session, index).shape[:2]
        x, y = (float(value) for value in event.index)
        if not (0 <= x < width and 0 <= y < height):
            raise refusal("This click is not in the picture.")
        point = FramePoint(frame=index, point=(x / width * size.width_px, y / height * size.height_px))
        if how == POINT:
            session.points.append(point)
        elif session.corner is None or session.corner.frame != point.frame:
            session.corner = point
        else:
            session.boxes.append(_box(session.corner, point))
            session.corner = None
        return self._picture(session, index)

    @in_words
    def forget_clicks(self, frame: float, request: gr.Request) -> str:
        """Output: picture."""
        session = self._session(request)
        session.forget_clicks()
        return self._picture(session, _on_video(frame, session))

    @in_words
    def begin(self, request: gr.Request) -> tuple[gr.Button, gr.Button]:
        """Outputs: start, stop, as they are while a job waits and runs."""
        session = self._session(request)
        if (num_waiting := self._sessions.num_waiting(besides=session)) >= self._max_waiting:
            raise refusal(f"Jobs of {num_waiting} other pages wait already: try again later.")
        session.is_waiting = True
        return gr.Button(interactive=False), gr.Button(visible=True)

    @in_words
    def find(self, names: str, request: gr.Request, progress: gr.Progress = gr.Progress()) -> tuple[Any, ...]:  # noqa: B008
        """Outputs: status, overlay, fill step, result step."""
        session = self._session(request)
        session.is_waiting = False
        labels = tuple(name.strip() for name in names[:MAX_WORDS].split(",") if name.strip())
        wanted = Wanted(labels=labels, boxes=tuple(session.boxes), points=tuple(session.points))
        if not wanted:
            raise refusal("Nothing is chosen yet: click on the object in the picture, or type its name.")
        overlay, num_holes = self._studio.find(session, wanted, progress)
        said = f"The object is on {num_holes} of {_video_of(session).num_frames} frames."
        return said, str(overlay), gr.Column(visible=True), gr.Column(visible=False)

    @in_words
    def make(
        self,
        what: str,
        text: str,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[Any, ...]:
        """Outputs: status, compare, download, result step."""
        session = self._session(request)
        session.is_waiting = False
        output, after = self._studio.make(session, _words(what, text[:MAX_WORDS].strip()), progress)
        pair = {"before": _url(session.preview), "after": _url(after)}
        return "Finished.", pair, str(output), gr.Column(visible=True)

    @in_words
    def take_first_frame(self, sent: Any, request: gr.Request) -> str:
        """Output: first frame, the picture that the page has uploaded."""
        return str(self._studio.take_first_frame(self._session(request), self._uploaded(sent)))

    def drop_first_frame(self, request: gr.Request) -> None:
        """The picture was taken away."""
        self._session(request).first_frame = None

    def cancel(self, request: gr.Request) -> str:
        """Output: status. Answers when the job has ended."""
        session = self._session(request)
        session.is_waiting = False
        session.stop()
        return "Stopped. Nothing was kept of the stopped job."

    def leave(self, request: gr.Request) -> None:
        """The page's connection has ended."""
        if request.session_hash:
            self._sessions.leave(request.session_hash)

    def _session(self, request: gr.Request) -> Session:
        if not request.session_hash:
            raise refusal("This request comes from no open page.")
        return self._sessions.of(request.session_hash)

    def _uploaded(self, sent: Any) -> Path:
        """The path in what a browser sends of a file, checked here alone."""
        path = self._sessions.upload_at(sent.get("path") if isinstance(sent, dict) else None)
        if path is None:
            raise refusal("This file was not uploaded from this page.")
        return path

    def _picture(self, session: Session, frame: int) -> str:
        """The file of a frame with what was clicked on it."""
        image = self._studio.picture(session, frame)
        size = _video_of(session).size
        scale = image.shape[1] / size.width_px, image.shape[0] / size.height_px
        for box in (one.box for one in session.boxes if one.frame == frame):
            x0, y0, x1, y1 = (round(value * scale[index % 2]) for index, value in enumerate(box))
            cv2.rectangle(image, (x0, y0), (x1, y1), _EDGE, 4)
            cv2.rectangle(image, (x0, y0), (x1, y1), _MARK, 2)
        corner = [session.corner] if session.corner else []
        for x, y in (one.point for one in [*session.points, *corner] if one.frame == frame):
            at = round(x * scale[0]), round(y * scale[1])
            cv2.circle(image, at, 7, _EDGE, -1, cv2.LINE_AA)
            cv2.circle(image, at, 7, _MARK, 2, cv2.LINE_AA)
        path = session.new_file("picture", ".jpg")
        path.write_bytes(cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]))[1].tobytes())
        return str(path)


def _on_video(frame: float, session: Session) -> int:
    return min(max(int(frame), 0), _video_of(session).num_frames - 1)


def _video_of(session: Session) -> VideoInput:
    if session.video is None:
        raise refusal("There is no video yet: upload one first.")
    return session.video


def _box(first: FramePoint, second: FramePoint) -> FrameBox:
    (x0, x1), (y0, y1) = (sorted(pair) for pair in zip(first.point, second.point, strict=True))
    if x1 - x0 < 1 or y1 - y0 < 1:
        raise refusal("The two corners are the same point: click the second one elsewhere.")
    return FrameBox(frame=first.frame, box=(x0, y0, x1, y1))


def _words(what: str, text: str) -> Words:
    if what == REMOVE:
        return Words(remove=True)
    if not text:
        raise refusal("Describe what is to be seen there, or choose to remove the object.")
    return Words(replace=text) if what == REPLACE else Words(prompts=((0, text),))


def _url(path: Path | None) -> str:
    return f"/gradio_api/file={path}"
