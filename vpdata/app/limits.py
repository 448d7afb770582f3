"""What the page accepts from a browser, and the check that an upload keeps to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from vpdata.errors import ConfigError, Reason, RejectItem
from vpdata.media.video import probe


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """Of one upload."""

    max_mb: int = 500
    """Of the file, in millions of bytes."""
    max_duration_s: float = 120.0
    max_pixels: int = 3840 * 2160
    """Of a frame."""

    def __post_init__(self) -> None:
        for name in ("max_mb", "max_duration_s", "max_pixels"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: got {getattr(self, name)}, wanted more than 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSettings:
    """The group `app` of the YAML file; the rest of the file is that of `vpdata inpaint`."""

    limits: LimitSettings = field(default_factory=LimitSettings)
    max_waiting: int = 8
    """So many pages may have a job wait for its turn; one runs at a time."""
    max_held_mb: int = 20_000
    """Millions of bytes that the files of all pages may take; while they take more, no page can upload."""
    grace_s: int = 60
    """Files that no page holds are kept for so long: those of a page whose connection has ended, and uploads."""
    allowed_hosts: tuple[str, ...] = ()
    """Names by which a proxy or other machines reach the page, beside localhost and addresses."""

    def __post_init__(self) -> None:
        for name in self.allowed_hosts:
            if urlsplit(f"//{name}").hostname != name:
                raise ValueError(
                    f"allowed_hosts: got {name}, wanted such as inpaint.example.org, in small letters without a port"
                )
        for name in ("max_waiting", "max_held_mb", "grace_s"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, wanted at least 1")


def check_upload(path: Path, limits: LimitSettings) -> None:
    """ConfigError, in words for the page, for a file that is too large or no video that can be read."""
    size_mb = path.stat().st_size / 1e6
    if size_mb > limits.max_mb:
        raise ConfigError(f"The file has {size_mb:.0f} MB; this page takes at most {limits.max_mb} MB.")
    try:
        probe(path, max_pixels=limits.max_pixels, max_duration_s=limits.max_duration_s)
    except RejectItem as error:
        if error.reason is Reason.TOO_MANY_PIXELS:
            raise ConfigError(
                f"The frames are too large: {error.got} pixels; this page takes at most {limits.max_pixels} in all. "
                "Scale the video down first."
            ) from error
        if error.reason is Reason.TOO_LONG:
            raise ConfigError(
                f"The video is too long: this page takes at most {limits.max_duration_s:g} s. Cut it first."
            ) from error
        raise ConfigError(f"This file cannot be used as a video: {error.detail}.") from error
