"""One HTML file that holds its own style, script and data, under a policy that lets nothing else run."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Mapping
from importlib.resources import files
from string import Template
from typing import Any

from vpdata.report.view import as_script_data


def document(package: str, name: str, *, title: str, blocks: Mapping[str, Any]) -> bytes:
    """The page `name`: its `.html`, `.css` and `.js` in the folder `assets` of `package`, behind what pages share.

    `blocks` are JSON data by the names under which the script finds them: as the elements `data-<name>`.
    """
    style = _asset("vpdata.report", "base.css") + _asset(package, f"{name}.css")
    script = _asset("vpdata.report", "elements.js") + _asset(package, f"{name}.js")
    data = [
        f'<script type="application/json" id="data-{key}">{as_script_data(content)}</script>'
        for key, content in blocks.items()
    ]
    return (
        Template(_asset(package, f"{name}.html"))
        .substitute(
            policy=_policy(style=style, script=script),
            title=html.escape(title),
            style=style,
            data="\n".join(data),
            script=script,
        )
        .encode("utf-8")
    )


def _asset(package: str, name: str) -> str:
    return files(package).joinpath("assets", name).read_text("utf-8")


def _policy(*, style: str, script: str) -> str:
    """A Content-Security-Policy that holds from `file://`, where `'self'` means something else to each browser.

    Only our own script runs, by its hash; it alone may add others (`'strict-dynamic'`), and Trusted Types let it add
    only data files of the report and never markup. Nothing is fetched, framed or submitted.
    """
    local = "'self' file: data:"
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src '{_hash(script)}' 'strict-dynamic'",
            f"style-src '{_hash(style)}'",
            f"img-src {local}",
            f"media-src {local}",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types vpdata",
        ]
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode()}"
