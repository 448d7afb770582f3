"""Why a clip or a shot that was drawn cannot be a case."""

from __future__ import annotations

from typing import Literal

from vpdata.errors import VpdataError

Why = Literal["source_gone", "source_changed", "not_tracked", "mask", "captioner"]


class UnusableError(VpdataError):
    """Another candidate is drawn instead, and the benchmark's facts list this one."""

    def __init__(self, why: Why, detail: str) -> None:
        super().__init__(detail)
        self.why: Why = why
        self.detail = detail
