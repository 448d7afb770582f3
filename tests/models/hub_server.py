"""The part of Hugging Face's hub that a download needs, on loopback: one repository, one revision."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "ab" * 20


@contextmanager
def hub_server(repo: str, files: Mapping[str, bytes]) -> Iterator[str]:
    """Address of a server that runs inside the block."""
    listing = [
        {"type": "file", "path": name, "size": len(content), "oid": "0" * 40, "lfs": _lfs(content)}
        for name, content in files.items()
    ]
    siblings = [{"rfilename": one["path"], "size": one["size"], "lfs": one["lfs"]} for one in listing]
    pages = {
        f"/api/models/{repo}": {"id": repo, "modelId": repo, "sha": COMMIT, "siblings": siblings},
        f"/api/models/{repo}/revision/{COMMIT}": {"id": repo, "modelId": repo, "sha": COMMIT, "siblings": siblings},
        f"/api/models/{repo}/tree/{COMMIT}": listing,
    }
    contents = {f"/{repo}/resolve/{COMMIT}/{name}": content for name, content in files.items()}
    contents |= {path: json.dumps(page).encode() for path, page in pages.items()}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = contents.get(self.path.partition("?")[0])
            self.send_response(404 if content is None else 200)
            if content is None:
                self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", str(len(content or b"")))
            self.send_header("Content-Type", "application/json")
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha256(content or b"").hexdigest()}"')
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content or b"")

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


def _lfs(content: bytes) -> dict[str, object]:
    digest = hashlib.sha256(content).hexdigest()
    # One answer of the hub calls it `sha256`, another `oid`.
    return {"size": len(content), "sha256": digest, "oid": digest, "pointerSize": 100}
