"""What tells one set of weights, or of other files, from another."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from vpdata.backbones.loading import fingerprint, weights_bytes
from vpdata.backbones.settings import BackboneSettings
from vpdata.errors import ConfigError
from vpdata.inpaint.first_frame import FirstFrameSettings
from vpdata.models.weights import fetched_revision, refuse_missing


def of_backbone(settings: BackboneSettings) -> Mapping[str, str]:
    """The revision that was fetched; of a folder without one the fingerprint of its latents, and its size."""
    if settings.tiny is not None:
        return {}
    assert settings.weights is not None
    fetched = fetched_revision(settings.weights, settings.revision)
    own = f"{fingerprint(settings)}, {weights_bytes(settings, 'transformer')} bytes"
    return {"backbone": fetched or own}


def of_first_frame(settings: FirstFrameSettings | None) -> Mapping[str, str]:
    """The revision of the image model that was fetched; nothing without one, or of a folder of your own.

    BackendError where it is missing.
    """
    if settings is None:
        return {}
    # It is opened at the first case only, when the video model has been loaded.
    refuse_missing([(settings.weights, settings.revision)])
    fetched = fetched_revision(settings.weights, settings.revision)
    return {"first frame": fetched} if fetched else {}


def digest_of(root: Path, files: Iterable[Path]) -> str:
    """16 hex digits of names and contents of files in a folder. ConfigError where there are none."""
    digest = hashlib.sha256()
    names = sorted(file.relative_to(root).as_posix() for file in files)
    if not names:
        raise ConfigError(f"{root} holds no files that are wanted; check the path")
    for name in names:
        with (root / name).open("rb") as file:
            digest.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()[:16]
