"""`vpdata app`: settings from files and options, and the server."""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from vpdata.app.limits import AppSettings
from vpdata.app.session import Sessions
from vpdata.app.studio import Studio
from vpdata.config import fill, read_yaml, with_overrides
from vpdata.errors import ConfigError, StorageError
from vpdata.inpaint.settings import InpaintSettings, with_trained

_log = logging.getLogger(__name__)

_LOOPBACK = ("127.0.0.1", "localhost")


def load_settings(
    config: str | None, *, weights: str | None, overrides: Sequence[str]
) -> tuple[AppSettings, InpaintSettings]:
    """From a config of `vpdata inpaint`, which may have a group `app`; ConfigError for what is unknown or missing."""
    data = read_yaml(config) if config else {}
    if weights:
        data = with_trained(data, weights)
    data = with_overrides(data, overrides)
    app = fill(AppSettings, data.pop("app", None) or {}, where="app")
    if not data.get("context_encoder"):
        raise ConfigError(
            "got no trained weights; give --weights with the folder that `vpdata train` saved, or context_encoder in "
            "the config"
        )
    return app, fill(InpaintSettings, data)


def serve(app: AppSettings, inpaint: InpaintSettings, *, host: str, port: int) -> None:
    """Serve the page until the process is stopped."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    with suppress(KeyboardInterrupt), running(app, inpaint, host=host, port=port) as url:
        _log.info("open %s in a browser; Ctrl-C ends the page and removes its files", url)
        threading.Event().wait()


@contextmanager
def running(app: AppSettings, inpaint: InpaintSettings, *, host: str, port: int) -> Iterator[str]:
    """The page's address, while it is served; all files of all sessions are removed afterwards."""
    if host not in _LOOPBACK:
        _log.warning(
            "the page is served on %s: whoever reaches this machine can upload videos to it and use its GPU; "
            "there is no password. It answers to this machine's addresses and to localhost%s",
            host,
            "".join(f", {name}" for name in app.allowed_hosts) or "; for names set app.allowed_hosts",
        )
    with tempfile.TemporaryDirectory(prefix="vpdata-app-", ignore_cleanup_errors=True) as root:
        # Read when Gradio is imported and when components are made. Nothing else of Gradio's may leave this machine.
        os.environ |= {"GRADIO_TEMP_DIR": root, "GRADIO_ANALYTICS_ENABLED": "False"}
        from gradio import set_static_paths
        from gradio.themes import Default
        from starlette.middleware import Middleware

        from vpdata.app.guards import KnownSitesMiddleware
        from vpdata.app.handlers import Handlers
        from vpdata.app.page import build_page, read_asset

        sessions = Sessions(Path(root).resolve(), grace_s=app.grace_s)
        # Gradio would remove the pages' files as if they were uploads that nobody took.
        set_static_paths([sessions.folder])
        studio = Studio(inpaint, app.limits)
        handlers = Handlers(studio, sessions, max_waiting=app.max_waiting, max_held_mb=app.max_held_mb)
        page = build_page(handlers, app, wants_first_frame=studio.wants_first_frame)
        guard = Middleware(KnownSitesMiddleware, host=host, allowed_hosts=app.allowed_hosts)
        try:
            # launch() and not mount_gradio_app(): only launched pages refuse paths that nobody uploaded.
            page.launch(
                server_name=host,
                server_port=port,
                share=False,
                prevent_thread_lock=True,
                quiet=True,
                footer_links=[],
                run_history=False,
                ssr_mode=False,
                mcp_server=False,
                enable_monitoring=False,
                strict_cors=True,
                max_file_size=app.limits.max_mb * 1_000_000,
                theme=Default(font="system-ui", font_mono="ui-monospace"),
                css=read_asset("page.css"),
                app_kwargs={"middleware": [guard]},
            )
        except OSError as error:
            raise StorageError(f"cannot serve on {host}, port {port}: {error}; try another --port") from error
        try:
            yield str(page.local_url)
        finally:
            sessions.close_all()
            page.close(verbose=False)
