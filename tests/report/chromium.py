"""A headless Chromium driven over a pipe by its DevTools protocol: no port, no driver program, no package."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--remote-debugging-pipe",
)  # fmt: skip
_KEYS = {
    "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Escape": 27, "Enter": 13, "Tab": 9, "Home": 36,
    "End": 35,
}  # fmt: skip


class Page:
    """One tab. What the page logged and asked for is kept in `problems` and `requested`."""

    def __init__(self, send: int, receive: int) -> None:
        self._send, self._receive = send, receive
        self._buffer = b""
        self._calls = 0
        self._session: str | None = None
        self.problems: list[str] = []
        """Console errors and warnings, uncaught exceptions, refusals by the page's policy, dialogs."""
        self.requested: list[str] = []
        """Every url that was asked for, in order."""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def open(self, path: Path, *, fragment: str = "") -> None:
        """Load a local file from scratch and wait until it has run."""
        self.visit(path.as_uri() + fragment)

    def visit(self, url: str) -> None:
        """Load any address from scratch and wait until it has run."""
        self._call("Page.navigate", url="about:blank")
        self.wait_for("location.href === 'about:blank'")
        self.problems.clear()
        self.requested.clear()
        self._call("Page.navigate", url=url)
        self.wait_for("location.href !== 'about:blank' && document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """Value of a JavaScript expression, awaited."""
        reply = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in reply:
            raise AssertionError(f"{script}: {reply['exceptionDetails']['exception'].get('description')}")
        return reply["result"].get("value")

    def wait_for(self, condition: str, *, timeout_s: float = 20) -> None:
        """Wait until a JavaScript expression is true."""
        deadline = time.monotonic() + timeout_s
        while not self.run(f"Boolean({condition})"):
            assert time.monotonic() < deadline, f"not within {timeout_s} s: {condition}; problems: {self.problems}"
            time.sleep(0.03)

    def press(self, key: str) -> None:
        """One key, by its DOM name."""
        text = {"text": "\r"} if key == "Enter" else {"text": key} if len(key) == 1 else {}
        code = _KEYS.get(key) or ord(key.upper())
        for kind in ("keyDown", "keyUp"):
            self._call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **text)

    def type(self, text: str) -> None:
        """Put text where the focus is."""
        self._call("Input.insertText", text=text)

    def click(self, x_px: float, y_px: float) -> None:
        """The left button of the mouse, at a place of the window."""
        for kind in ("mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, x=x_px, y=y_px, button="left", clickCount=1)

    def choose_file(self, selector: str, path: Path) -> None:
        """As if the user had chosen it in the dialog of an `<input type=file>`."""
        found = self._call("Runtime.evaluate", expression=f"document.querySelector({json.dumps(selector)})")
        self._call("DOM.setFileInputFiles", files=[str(path)], objectId=found["result"]["objectId"])

    def download_to(self, folder: Path) -> None:
        """Where what the user downloads is put, under the name that the page gives it."""
        self._call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))

    def resize(self, width_px: int, height_px: int, *, mobile: bool = False) -> None:
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width_px, height=height_px, deviceScaleFactor=1, mobile=mobile,
        )  # fmt: skip

    def prefer(self, **features: str) -> None:
        """Media features such as `color_scheme="dark"` or `reduced_motion="reduce"`."""
        listed = [{"name": f"prefers-{name.replace('_', '-')}", "value": value} for name, value in features.items()]
        self._call("Emulation.setEmulatedMedia", features=listed)

    def screenshot(self, path: Path, *, full_page: bool = False) -> None:
        reply = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=full_page)
        path.write_bytes(base64.b64decode(reply["data"]))

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._calls += 1
        message = {"id": self._calls, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._send, json.dumps(message).encode() + b"\0")
        while True:
            reply = self._read()
            if reply.get("id") == self._calls:
                assert "error" not in reply, f"{method}: {reply['error']}"
                return reply["result"]
            self._note(reply.get("method", ""), reply.get("params", {}))

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            data = os.read(self._receive, 1 << 16)
            assert data, "Chromium has ended"
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.problems.append(params["exceptionDetails"]["exception"].get("description", "exception"))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.problems.append(f"{params['type']}: {params['args']}")
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.problems.append(params["entry"]["text"])
        elif method == "Page.javascriptDialogOpening":
            self.problems.append(f"dialog: {params['message']}")
        elif method == "Network.requestWillBeSent":
            self.requested.append(params["request"]["url"])


@contextmanager
def chromium(executable: str, profile: Path) -> Iterator[Page]:
    """A browser with one tab and an empty profile, ended with the block."""
    to_browser, send = os.pipe()
    receive, from_browser = os.pipe()
    command = [executable, *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
    # Chromium reads descriptor 3 and writes 4. Ours are first moved out of the way of those numbers.
    source, sink = (fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 10) for one in (to_browser, from_browser))
    log = (os.POSIX_SPAWN_OPEN, 2, str(profile.with_suffix(".log")), os.O_WRONLY | os.O_CREAT, 0o600)
    moves = [(os.POSIX_SPAWN_DUP2, source, 3), (os.POSIX_SPAWN_DUP2, sink, 4), log, (os.POSIX_SPAWN_DUP2, 2, 1)]
    process = os.posix_spawn(executable, command, os.environ, file_actions=moves)
    for one in (to_browser, from_browser, source, sink):
        os.close(one)
    try:
        yield Page(send, receive)
    finally:
        os.close(send)  # which ends it
        os.waitpid(process, 0)
        os.close(receive)
