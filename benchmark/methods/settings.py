"""A YAML file of methods: a name, which is that of its folder of results, to a kind with its options."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.methods.kinds import MADE_ELSEWHERE, kind_of
from benchmark.results import check_name
from vpdata.config import fill, nearest, read_yaml, with_overrides
from vpdata.errors import BackendError, ConfigError

_log = logging.getLogger(__name__)
NO_FIRST_FRAME = (
    "an edit has no true first frame, and this method needs one (give_first_frame); edit with a method that paints its "
    "own (options.first_frame), or without give_first_frame"
)
"""Why a method that cannot edit has failed on an edit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodSettings:
    """One method: what it is, what it is given, and where it runs."""

    kind: str
    """One of `benchmark.methods.kinds`."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of that kind, with unknown ones refused."""
    dilate_px: int = 0
    """How far the hole is grown on all sides before the method gets it; negative: shrunk."""
    give_first_frame: bool = False
    """Give the true first frame, with no hole in it: for image-to-video models, which need one. An edit has none: what
    needs one fails there, and what paints its own or can do without gets the hole of that frame too."""
    workers: int = 1
    """Processes that each hold the method, at most: no more are started than fit."""
    cpus: float = 1.0
    """Of one worker; also the number of threads that OpenCV and torch take."""
    gpus: float = 0.0
    """Of one worker; a fraction shares a GPU."""
    time_limit_s: float = 3600.0
    """For one case, reading and writing included."""

    def __post_init__(self) -> None:
        if self.workers < 1 or self.cpus <= 0 or self.gpus < 0 or self.time_limit_s <= 0:
            raise ValueError(
                f"got workers {self.workers}, cpus {self.cpus}, gpus {self.gpus} and time_limit_s "
                f"{self.time_limit_s}, wanted 1 worker or more, no fewer than 0 GPUs, and more than 0 of the others"
            )

    @property
    def given_version(self) -> int:
        """Of what a method is given by these settings; raised where that changes, so that older results are refused."""
        # What is only looked up is given nothing here, and of edits may have had its first frame.
        return 2 if self.give_first_frame and self.kind not in MADE_ELSEWHERE else 1

    @property
    def can_edit(self) -> bool:
        """Whether it can do without a true first frame; BackendError where its weights are missing."""
        return not (self.give_first_frame and kind_of(self.kind).needs_first_frame(self.filled_options()))

    def filled_options(self) -> Any:
        """The options as the kind's own settings; ConfigError for what is unknown or wrong."""
        return fill(kind_of(self.kind).settings, self.options, where="options")


def read_methods(
    path: str | Path, names: Sequence[str] | None = None, *, overrides: Iterable[str] = ()
) -> dict[str, MethodSettings]:
    """The methods of a file, or those of them that are named, in that order.

    Every option is checked, but of kinds whose packages are missing. `overrides` are `name.dotted.key=value`.
    ConfigError for what is unknown or wrong, for a name given twice, and for none.
    """
    data = with_overrides(read_yaml(path), overrides)
    chosen = list(data) if names is None else list(names)
    if twice := sorted({name for name in chosen if chosen.count(name) > 1}):
        raise ConfigError(f"got the method {', '.join(twice)} twice; its results would overwrite each other")
    if not chosen:
        raise ConfigError(f"got no method, wanted some of {path}, which has {', '.join(data) or 'none'}")
    methods = {}
    for name in chosen:
        check_name(name)
        if name not in data:
            raise ConfigError(f"{path} has no method {name!r}{nearest(name, data)}; it has {', '.join(data) or 'none'}")
        methods[name] = fill(MethodSettings, data[name], where=f"{path}: {name}")
        try:
            methods[name].filled_options()
        except ConfigError as error:
            raise ConfigError(f"{path}: {name}: {error}") from error
        except BackendError as error:
            # Its options are checked when it is run, which concerns no other method.
            _log.warning("%s: %s", name, error)
    return methods
