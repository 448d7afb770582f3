"""Where weights come from: Hugging Face's hub, and single files at a URL."""

from __future__ import annotations

import shutil
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from glob import escape
from http.client import HTTPException
from pathlib import Path
from typing import Protocol

from vpdata.errors import ConfigError, StorageError
from vpdata.extras import needs

with needs("models", "fetching"):
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        HTTPError,  # pyright: ignore[reportPrivateImportUsage]  of httpx or httpx2, whichever this version uses
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a hub says about the files it gave."""

    revision: str
    """The commit that the files are of."""
    files: Mapping[str, str | None]
    """Every file of the repository, fetched or not: the SHA-256 of a large one, None for a small one."""


def is_wanted(name: str, patterns: Sequence[str]) -> bool:
    """Whether a file of a repository matches one of the patterns of `Hub.snapshot`."""
    return any(fnmatch(name, pattern) and name.count("/") == pattern.count("/") for pattern in patterns)


class Hub(Protocol):
    """A place to download weights from."""

    def snapshot(self, repo: str, *, revision: str | None, files: Sequence[str], to: Path) -> Snapshot:
        """Put the files of a repository that match a pattern into a folder; None is the newest revision.

        A pattern without a slash is for the top level alone, one with a slash for that folder.

        ConfigError where there is no such repository or revision, StorageError where the download fails. What a call
        that failed left in the folder may spare the next one some of the work.
        """
        ...

    def file(self, url: str, *, to: Path) -> None:
        """Put one file at a path; StorageError where the download fails."""
        ...


class HuggingFaceHub:
    """A `Hub`: huggingface.co, or the mirror that HF_ENDPOINT names, with the token in HF_TOKEN."""

    def snapshot(self, repo: str, *, revision: str | None, files: Sequence[str], to: Path) -> Snapshot:
        try:
            info = HfApi().model_info(repo, revision=revision, files_metadata=True)
            listing = {file.rfilename: file.lfs.sha256 if file.lfs else None for file in info.siblings or ()}
            wanted = [escape(name) for name in listing if is_wanted(name, files)]
            if wanted:
                snapshot_download(repo, revision=info.sha, allow_patterns=wanted, local_dir=to)
        except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
            raise ConfigError(
                f"the hub has no {repo} at revision {revision or 'main'}, or shows it only to those who accepted its "
                f"terms and set HF_TOKEN: {error}"
            ) from error
        except (HfHubHTTPError, HTTPError, OSError) as error:
            raise StorageError(f"cannot download {repo}: {error}; the same command goes on where it stopped") from error
        assert info.sha is not None
        return Snapshot(revision=info.sha, files=listing)

    def file(self, url: str, *, to: Path) -> None:
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response, to.open("wb") as file:
                shutil.copyfileobj(response, file)
                wanted = response.headers["Content-Length"]
        except (OSError, HTTPException) as error:
            raise StorageError(f"cannot download {url}: {error or type(error).__name__}") from error
        # Where the connection broke, urllib takes what came for the whole.
        if wanted is not None and wanted != str(got := to.stat().st_size):
            raise StorageError(f"cannot download {url}: got {got} bytes, wanted {wanted}; run the same command again")
