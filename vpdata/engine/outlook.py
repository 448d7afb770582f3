"""What a build would remove and add before it goes on, in words for a dry run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vpdata.dataset import layout
from vpdata.dataset.run import Run
from vpdata.engine.again import kept_stages, parts_with
from vpdata.engine.freeze import compare_added, compare_input, new_sources
from vpdata.engine.refuse_loss import refuse_loss, refuse_stripped
from vpdata.errors import Reason
from vpdata.sources import Input


def changes_of(
    run: Run,
    source: Input,
    stages: Sequence[str],
    *,
    redo: str | None,
    retry_rejects: Reason | None,
    add_sources: bool,
) -> Iterator[str]:
    """A line for each of these options that changes a run whose sources are frozen; refuses what the build would."""
    kept = kept_stages(redo, stages)
    refuse_stripped(run, kept)
    if not add_sources:
        compare_input(run, source, is_recut=not kept, is_retried=retry_rejects is not None)
    elif kept:
        compare_added(run, source)
    num_shards = len(run.folder.child(layout.INDEX).names(".parquet"))
    packed = f"{num_shards} shard(s) with their index and plan" if num_shards else "no shard"
    if redo is not None:
        refuse_loss(run, source, recut=() if kept else None)
        parts = [f"{len(run.parts(name))} part(s) of {name}, " for name in stages[len(kept) :]]
        yield f"--redo {redo} first removes {''.join(parts)}{packed}" + ("" if kept else "; the sources are read again")
    if retry_rejects is not None:
        found = parts_with(run, kept, retry_rejects)
        if found:
            refuse_loss(run, source, recut=[part for stage, part in found if stage == stages[0]])
        counts = [(name, sum(stage == name for stage, _ in found)) for name in kept]
        parts = [f"{count} part(s) of {name} with all that follows from them, " for name, count in counts if count]
        what = f"first removes {''.join(parts)}{packed}" if found else "finds no such reject and changes nothing"
        yield f"--retry-rejects {retry_rejects} {what}"
    if add_sources:
        new = new_sources(run, source)
        if new and kept:
            refuse_loss(run, source, recut=())
        what = f", such as {new[0].uri!r}, and first removes {packed}" if new else ""
        yield f"--add-sources appends {len(new)} source(s){what}"
