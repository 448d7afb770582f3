"""Names of the files and folders of a run: the only place that spells them."""

from __future__ import annotations

STAGE_NAMES = ("cut", "detect", "track", "caption", "filter")
"""In the order the data takes."""
PACK = "pack"
"""Names the run-wide pass and the shards where a stage's name is asked for."""
STAGE_FOLDERS = {"source": "0-source"} | {name: f"{index}-{name}" for index, name in enumerate(STAGE_NAMES, start=1)}

RUN_CONFIG = "run.yaml"
PACK_PLAN = "pack-plan.parquet"
SHARDS, INDEX, SPLITS = "shards", "index", "splits"
REPORT_PAGE, REPORT_FOLDER = "report.html", "report"
STATS, CARD = "stats.json", "README.md"
STAGE_STATE = "stage.json"
RUNWIDE_REJECTS = "pack-plan.rejects.parquet"
PACK_STATE = "pack-plan.json"
"""Fingerprint of the pack plan, as `STAGE_STATE` is of a stage."""
LEASE = "lease.json"
PROGRESS = "progress"
"""Folder inside a stage's: what is finished of its unfinished parts."""

LATENTS_CONFIG = "latents.yaml"
LATENTS_FOLDERS = {"clips": "0-clips", "encode": "1-encode"}
"""Of encoded latents: the frozen list of clips in parts, and the stage; beside them `SHARDS` and `INDEX`."""


EXPORT_PARTS = "export-parts"
"""Folder inside an unfinished export: `EXPORT_FACTS`, and for each shard that is written what the tables are to say."""
EXPORT_FACTS = "export.json"


def part_name(part: int, sub_part: int | None = None) -> str:
    """`part-00017`, or `part-00017-02` for a sub-part."""
    return f"part-{part:05d}" + ("" if sub_part is None else f"-{sub_part:02d}")


def part_number(part: str) -> int:
    """Of `part-00017` and its sub-parts, 17."""
    return int(part.split("-")[1])


def whole_part_of(part: str) -> str:
    """The part that a sub-part was split from; a whole part is its own."""
    return "-".join(part.split("-")[:2])


def records_file(part: str) -> str:
    return f"{part}.parquet"


def rejects_file(part: str) -> str:
    return f"{part}.rejects.parquet"


def members_file(part: str) -> str:
    """Where each member of the part's tar lies."""
    return f"{part}.members.parquet"


def tar_file(part: str) -> str:
    return f"{part}.tar"


def shard_file(shard: int) -> str:
    return f"vpdata-{shard:06d}.tar"


def index_file(shard: int) -> str:
    return f"vpdata-{shard:06d}.parquet"


def index_of_shard(name: str) -> str:
    """Name of the index file that belongs to a shard file."""
    return name.removesuffix(".tar") + ".parquet"


def latents_part(shard: int) -> str:
    """A part of encoded latents is a shard: its tar and its index have this name."""
    return f"latents-{shard:06d}"
