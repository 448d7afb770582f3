"""Settings of the sources: what may be opened, and how long and how often to try."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCredential:
    """A request header for one host, its value taken from the environment so that no config holds a secret."""

    host: str
    """Exact host name, such as `api.example.org`; the header goes to it alone, and only over https."""
    env: str
    """Name of the environment variable that holds the header's value; set it on every worker."""
    header: str = "Authorization"

    def __post_init__(self) -> None:
        if not self.host or re.search(r"[/:@\s]", self.host):
            raise ValueError(f"credentials: got host {self.host!r}, wanted a bare host name such as api.example.org")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSettings:
    """How `Input` finds and opens videos. The defaults treat every list and every server as untrusted."""

    max_bytes: int = 20 * 10**9
    """A larger source is rejected, a download as soon as it passes this size."""
    timeout_s: float = 3600.0
    """Limit of one download, all attempts together."""
    stall_s: float = 30.0
    """Longest wait for a connection, for an answer, or for the next bytes of one."""
    retries: int = 4
    """Attempts after the first; each goes on where the one before broke off, if the server can do that."""
    backoff_s: float = 1.0
    """Wait before the first retry; doubles with each further one."""
    unreachable: Literal["stop", "reject"] = "stop"
    """An http(s) server that is down is no source's fault: the run stops. `reject` gives its sources up."""
    allow_private_hosts: bool = False
    """Accept private, loopback and link-local addresses; only for lists and servers of your own."""
    allow_outside_links: bool = False
    """Accept links to files and folders that lie outside of the input folder; only for folders of your own."""
    credentials: tuple[HostCredential, ...] = ()
    """Request headers for hosts that want a key; s3 and gs use their libraries' own environment variables."""

    def __post_init__(self) -> None:
        for name in ("max_bytes", "timeout_s", "stall_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: got {getattr(self, name)}, wanted more than 0")
        for name in ("retries", "backoff_s"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: got {getattr(self, name)}, wanted 0 or more")
