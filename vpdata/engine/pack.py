"""The last job of a build: the run-wide pass, then one shard after the other."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from vpdata import codec
from vpdata.dataset import layout
from vpdata.dataset.lease import LeaseProof
from vpdata.dataset.run import Run, read_table
from vpdata.dataset.shards import PackEntry, write_shard
from vpdata.engine.runwide import plan_pack
from vpdata.engine.settings import EngineSettings
from vpdata.engine.work import Counts, Work
from vpdata.stages.base import Resources


@dataclass(frozen=True, slots=True, kw_only=True)
class PackJob:
    """A `vpdata.engine.work.Job`; its work is named by the file that says it is done: the plan, or a shard's index."""

    run_folder: Run
    lease: LeaseProof
    engine: EngineSettings

    @property
    def name(self) -> str:
        return layout.PACK

    @property
    def has_items(self) -> bool:
        return False

    @property
    def resources(self) -> Resources:
        return pack_resources(self.engine)

    def setup(self) -> None:
        """Nothing to load."""

    def num_durable(self, name: str) -> int:
        """Plan and shards appear whole."""
        return 0

    def run(self, work: Work, alive: Callable[[int], None]) -> Counts:
        """Write the plan or one shard."""
        if work.name == layout.PACK_PLAN:
            num_kept, num_rejects = plan_pack(self.run_folder, engine=self.engine, lease=self.lease)
            notes = (f"clips to pack: {num_kept}; duplicates left out: {num_rejects}",)
            num_items = num_kept + num_rejects
            return Counts(name=work.name, num_items=num_items, num_records=0, num_rejects=num_rejects, notes=notes)
        number = int(work.name.removeprefix("vpdata-").removesuffix(".parquet"))
        plan = read_table(self.run_folder.folder, layout.PACK_PLAN, where=("shard", [number]))
        entries = list(codec.from_table(plan, PackEntry))
        self.lease.check()
        write_shard(self.run_folder, entries, shard=number)
        return Counts(name=work.name, num_items=len(entries), num_records=len(entries), num_rejects=0)


def pack_resources(engine: EngineSettings) -> Resources:
    """What one worker that packs needs."""
    # No item could be rejected for taking long, so there is no limit.
    return Resources(memory_gb=engine.pack_memory_gb, timeout_s=math.inf)


def unpacked(run: Run) -> list[str]:
    """Index files that the plan asks for and that are not there yet."""
    shards = read_table(run.folder, layout.PACK_PLAN, columns=["shard"])["shard"].unique().to_pylist()
    done = set(run.folder.child(layout.INDEX).names(".parquet"))
    return [name for name in map(layout.index_file, shards) if name not in done]
