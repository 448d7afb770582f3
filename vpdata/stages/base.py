"""What a stage is. It knows records and arrays; it knows no part, no rank and no output folder."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from vpdata.errors import RejectItem
from vpdata.models.ports import ModelCard
from vpdata.records import Record, Reject, Source

Item = Source | Record
"""What flows into a stage: sources into `cut`, records into all others."""
Media = Path | bytes
"""The item's video: `cut` gets the local path of the source file, every later stage the bytes of the clip's mp4."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What one worker of a stage holds."""

    cpus: float = 1.0
    gpus: float = 0.0
    """A whole number, or a fraction below 1: several workers then share a GPU. A worker that holds none sees none."""
    memory_gb: float = 1.0
    gpu_memory_gb: float = 0.0
    """Summed per GPU in the plan; of a shared GPU torch gets no more (0: no bound). Ray does not fence GPU memory."""
    workers: int | None = None
    """Fixed size of the pool; None: as many as the cluster has room for, beside the other stages."""
    s_per_clip: float = 1.0
    """About how long one worker takes for a clip. Of pools without a fixed size the slower gets more workers, in
    proportion; equal numbers, as of the defaults, give equal pools."""
    timeout_s: float = 600.0
    """Longest time one item may take alone."""

    def __post_init__(self) -> None:
        if not 0 <= self.gpus < math.inf or (self.gpus > 1 and self.gpus % 1):
            raise ValueError(f"gpus: got {self.gpus:g}, wanted a whole number, or a fraction below 1")
        if self.workers is not None and self.workers < 1:
            raise ValueError(
                f"workers: got {self.workers}, wanted at least 1, or null for as many as there is room for"
            )
        for name in ("cpus", "memory_gb", "s_per_clip", "timeout_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: got {getattr(self, name):g}, wanted more than 0")
        for name in ("cpus", "memory_gb", "s_per_clip"):
            if math.isinf(getattr(self, name)):
                raise ValueError(f"{name}: got {getattr(self, name):g}, wanted a finite number")
        if not 0 <= self.gpu_memory_gb < math.inf:
            raise ValueError(f"gpu_memory_gb: got {self.gpu_memory_gb:g}, wanted 0 (no bound) or more")


class Row(Protocol):
    """What comes out of a stage and is kept in its part: a `Record`, but for the stage `encode`."""

    @property
    def id(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One row that came out of an item."""

    item_id: str
    """Id of the item that went in: a video's for `cut`, else the clip's."""
    record: Row
    members: Mapping[str, bytes] = field(default_factory=dict)
    """Suffix (such as "mp4") to content, stored as `<record.id>.<suffix>` in the part's tar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """One item, or one span of it, that was dropped."""

    item_id: str
    reject: Reject


def rejected(record: Record, why: RejectItem, *, stage: str) -> Rejected:
    """The row that says why a stage dropped a whole clip."""
    clip = record.clip
    reject = Reject(
        id=record.id,
        stage=stage,
        reason=why.reason,
        detail=why.detail,
        got=why.got,
        wanted=why.wanted,
        video_id=clip.video.id,
        uri=clip.video.uri,
        start_s=clip.start_s,
        stop_s=clip.stop_s,
    )
    return Rejected(item_id=record.id, reject=reject)


class Inputs(Protocol):
    """What `prepare` hands to `process_many`."""

    @property
    def item_id(self) -> str: ...

    @property
    def num_bytes(self) -> int:
        """Memory held, so that the engine can bound what it prepares ahead."""
        ...


class Stage(Protocol):
    """One step of the pipeline. The constructor is cheap and picklable; models are made in `setup`."""

    name: ClassVar[str]
    needs_media: ClassVar[bool]
    """Whether `prepare` looks at the pixels; False gets b"" and spares the engine the reading."""
    resources: Resources

    @property
    def identity(self) -> Mapping[str, Any]:
        """Plain data of everything that can change the result: settings, and the version of the algorithm."""
        ...

    @property
    def models(self) -> tuple[ModelCard, ...]:
        """The models it will use, described without loading them."""
        ...

    def setup(self) -> None:
        """Load the models; called once on each worker before anything else."""
        ...

    def prepare(self, item: Any, media: Any) -> Inputs:
        """Open, decode and resize one `Item` from its `Media`; called ahead, on threads.

        Raises RejectItem for a bad item.
        """
        ...

    def process_many(self, inputs: Iterator[Any]) -> Iterator[Result | Rejected]:
        """Lazily turn inputs into outcomes, in the order of the inputs; every item gives at least one.

        Batches are formed from `inputs` in order, so equal inputs give equal results; one bad item spoils no other.
        """
        ...
