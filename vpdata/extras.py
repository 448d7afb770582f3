"""What the base install lacks: which extra has it, and how to install that extra."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from vpdata.errors import BackendError

Extra = Literal["models", "sam2", "train", "bench", "app", "cloud"]
"""As in `pyproject.toml`."""
_VARIABLES: dict[Extra, str] = {
    # Its build would download the newest torch with CUDA.
    "sam2": "PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt SAM2_BUILD_CUDA=0 "
}


def how_to_install(extra: Extra) -> str:
    """The command that installs an extra, in the versions that were tried; no package index has vpdata itself."""
    return f"in the checkout: {_VARIABLES.get(extra, '')}pip install -c constraints.txt -e '.[{extra}]'"


@contextmanager
def needs(extra: Extra, user: str) -> Iterator[None]:
    """BackendError that names the extra, in place of an ImportError; `user` is what needs the package."""
    try:
        yield
    except ImportError as error:
        raise BackendError(
            f"{user} needs a package that is not installed ({error}); install the extra {extra}, "
            f"{how_to_install(extra)}"
        ) from error
