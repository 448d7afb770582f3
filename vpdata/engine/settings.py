"""Settings of the engine: how work is cut into parts, and how much of it runs at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vpdata.stages.duplicates import MAX_DISTANCE_FRAC
from vpdata.stages.semantic_duplicates import MIN_COSINE


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """The first five shape the run on disk and are kept with it; the others may change from one call to the next."""

    videos_per_part: int | None = None
    """Sources in one part; None: such that a run has at least 64 parts where it has 64 sources, at most 64 a part."""
    clips_per_part: int = 256
    """A part with more clips than this after `cut` is split into sub-parts."""
    shard_mb: float = 512.0
    """Size of a shard in megabytes (10^6 bytes) of mp4; one clip alone may be larger."""
    near_duplicate_frac: float | None = 0.1
    """Clips whose perceptual hashes differ in at most this share of their bits are near-duplicates; None: keep all.
    At most 0.25; unrelated clips are about 0.5 apart."""
    semantic_duplicate_cosine: float | None = None
    """Clips whose embeddings' cosine is at least this mean the same; None: keep all. It needs `detect.embedder`."""
    pack_memory_gb: float = 2.0
    """Limit of the process that compares all clips (1.5 kB a clip; 3 kB more with embeddings of 768 numbers), and of
    those that pack shards."""
    workers: int | None = None
    """Worker processes of the local engine; None: one per core."""
    prefetch_mb: float = 512.0
    """Megabytes of prepared inputs that one worker holds ahead of the stage."""
    prefetch_threads: int = 2
    """Threads per worker that prepare ahead."""
    flush_every_s: float = 60.0
    """Finished records of an unfinished part are made durable this often."""
    ray_address: str = "auto"
    """`auto`: the cluster of RAY_ADDRESS or a running one, else a local one; `local`: a local one; or host:port."""
    wait_for_s: float = 0.0
    """How long an autoscaling cluster may take to grow to what the plan needs."""

    def __post_init__(self) -> None:
        for name in ("videos_per_part", "clips_per_part", "shard_mb", "pack_memory_gb", "workers", "prefetch_threads"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name}: got {value}, wanted more than 0, and finite")
        share = self.near_duplicate_frac
        if share is not None and not 0 <= share <= MAX_DISTANCE_FRAC:
            raise ValueError(f"near_duplicate_frac: got {share}, wanted one from 0 to {MAX_DISTANCE_FRAC}, or null")
        cosine = self.semantic_duplicate_cosine
        if cosine is not None and not MIN_COSINE <= cosine <= 1:
            raise ValueError(f"semantic_duplicate_cosine: got {cosine}, wanted one from {MIN_COSINE} to 1, or null")
        for name in ("prefetch_mb", "flush_every_s", "wait_for_s"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name}: got {getattr(self, name)}, wanted 0 or more, and finite")
