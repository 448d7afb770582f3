"""Several folders of encoded latents opened as one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import compress

import pyarrow as pa
import pyarrow.compute as pc

from vpdata.dataset.latents import LatentDataset, LatentFacts, open_latents, read_facts
from vpdata.errors import RunError


def open_latent_sets(uris: Sequence[str], *, fingerprint: str | None = None) -> LatentDataset:
    """The latents in one or more folders, each read where it lies.

    The order of `uris` is of no account: the folder whose first clip has the lowest id comes first. RunError as from
    `open_latents`, and where two folders were made with different backbones or hold the same clip.
    """
    if len(uris) == 1:
        return open_latents(uris[0], fingerprint=fingerprint)
    wanted = read_facts(uris[0])
    for uri in uris[1:]:
        _refuse_other_facts(read_facts(uri), wanted, uri=uri, first=uris[0])
    sets = [open_latents(uri, fingerprint=fingerprint) for uri in uris]
    refuse_shared_clips(uris, [one.windows.table["clip_id"].unique() for one in sets])
    sets.sort(key=lambda one: one.windows[0].clip_id if len(one.windows) else "")
    tables = [_numbered(one.windows.table, number) for number, one in enumerate(sets)]
    return LatentDataset([folder for one in sets for folder in one.shards], wanted, pa.concat_tables(tables))


def _refuse_other_facts(facts: LatentFacts, wanted: LatentFacts, *, uri: str, first: str) -> None:
    got, others = dataclasses.asdict(facts), dataclasses.asdict(wanted)
    if differing := [f"{name} {got[name]} and {others[name]}" for name in got if got[name] != others[name]]:
        raise RunError(
            f"{uri} and {first} were made with different backbones: got {', '.join(differing)}, wanted the same VAE "
            "and text encoder; leave one of the two out, or encode it again"
        )


def refuse_shared_clips(uris: Sequence[str], clips: Sequence[pa.Array]) -> None:
    """RunError that names a clip of two folders. `clips`: the ids in each folder, each once."""
    ids, counts = pa.concat_arrays(clips).value_counts().flatten()
    shared = ids.filter(pa.array(counts.to_numpy() > 1))
    if len(shared):
        holders = compress(uris, [shared[0] in one for one in clips])
        raise RunError(
            f"{next(holders)} and {next(holders)} both hold the clip {shared[0]}, one of {len(shared)} that lie in "
            "several folders: leave one of the two out. If these are other videos, whose paths below the inputs of "
            "their runs are the same, build one of the runs again from a list that gives its videos ids of their own"
        )


def _numbered(table: pa.Table, number: int) -> pa.Table:
    """The index with the number of its folder before each shard: folders have shards of one name."""
    shards = pc.binary_join_element_wise(  # pyright: ignore[reportAttributeAccessIssue]  made when pyarrow is imported
        str(number), table["shard"], "/"
    )
    return table.set_column(table.column_names.index("shard"), "shard", shards)
