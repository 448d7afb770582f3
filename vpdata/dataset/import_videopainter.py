"""Reading the published VPData layout into a run, which is then packed, checked and read like any other."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from itertools import groupby
from pathlib import Path

import yaml

import vpdata
from vpdata import codec
from vpdata.dataset import layout, lease
from vpdata.dataset import videopainter_files as files
from vpdata.dataset.card import write_card
from vpdata.dataset.part_processes import refuse_no_process, write_parts
from vpdata.dataset.run import Run, parquet_bytes, read_rows
from vpdata.dataset.shards import Member, PackEntry, write_shard
from vpdata.dataset.stats import write_stats
from vpdata.dataset.videopainter_files import Rows
from vpdata.dataset.videopainter_part import Part, PartVideo, write_part
from vpdata.dataset.videopainter_split import write_published_split
from vpdata.errors import RunError
from vpdata.storage import Folder

logger = logging.getLogger(__name__)

_FILES_PER_PART = 64
_SHARD_BYTES = 512_000_000


def import_videopainter(source: str | Path, output: str | Path, *, processes: int = 1) -> Run:
    """Make a run of all rows of a folder in the published layout; a row that cannot be used is a reject of `cut`.

    Clips are normalised as `cut` does, masks follow them. Labels, object captions, boxes and scores are not in the
    layout: labels are "object", scores are unmeasured. The same call goes on with an import that was stopped. RunError
    where `output` is in use, or holds anything else: another set of rows, or one that another version has begun.

    As many `processes` work on a part each, and the bytes are the same. More than one start Python anew, which runs a
    script from its top: call this below `if __name__ == "__main__":` there.
    """
    refuse_no_process(processes)
    root, run = Path(source), Run(Folder(output))
    rows = files.read_rows(root)
    facts = {"format": "videopainter", "csv_sha256": rows.sha256}
    config = {"vpdata_version": vpdata.__version__, "config": {"import": facts}, "models": []}
    run_yaml = yaml.safe_dump(config, sort_keys=False).encode()
    _refuse_other(run, run_yaml)
    run.folder.write(layout.RUN_CONFIG, run_yaml)
    with lease.hold(run.folder) as proof:
        for folder in (run.folder, *map(run.stage_folder, layout.STAGE_FOLDERS), run.folder.child(layout.SHARDS)):
            folder.sweep()
        parts, done = _parts(rows), set(run.parts("filter"))
        if done:
            logger.warning(
                "%s: %d of %d parts were done before and are left as they are; remove the folder to import changed "
                "videos or masks",
                *(run.folder.uri, len(done), len(parts)),
            )
        left = [number for number in range(len(parts)) if layout.part_name(number) not in done]
        with_rows = (_part(number, root, rows, parts[number]) for number in left)
        write_parts(partial(write_part, run), with_rows, num_parts=len(left), processes=processes, proof=proof)
        proof.check()
        plan = _plan(run)
        run.folder.write(layout.PACK_PLAN, parquet_bytes(codec.to_table(plan, PackEntry)))
        done = set(run.folder.child(layout.INDEX).names())
        for shard, entries in groupby(plan, key=lambda entry: entry.shard):
            if layout.index_file(shard) not in done:
                proof.check()
                write_shard(run, list(entries), shard=shard)
        if rows.held_out:
            proof.check()
            write_published_split(run, {rows.origin(name).source.id for name in rows.held_out})
        write_card(run, write_stats(run))
    logger.info("%s: imported %d clips of %d videos", run.folder.uri, len(plan), len(rows.spans))
    return run


def _refuse_other(run: Run, run_yaml: bytes) -> None:
    names = run.folder.names()
    if names and not (layout.RUN_CONFIG in names and run.folder.read(layout.RUN_CONFIG) == run_yaml):
        raise RunError(
            f"{run.folder.uri} is not empty, and holds no import of the same CSVs by vpdata {vpdata.__version__}, "
            "which could go on; give a new folder as --output, or remove this one"
        )


def _parts(rows: Rows) -> list[list[str]]:
    """Names of the videos of each part: of one source they stand together, so that its clips can be told apart."""
    by_source: dict[str, list[str]] = defaultdict(list)
    for name in sorted(rows.spans):
        by_source[rows.origin(name).source.id].append(name)
    parts: list[list[str]] = [[]]
    for names in by_source.values():
        if len(parts[-1]) >= _FILES_PER_PART:
            parts.append([])
        parts[-1].extend(names)
    return parts


def _part(number: int, root: Path, rows: Rows, names: Sequence[str]) -> Part:
    return Part(
        name=layout.part_name(number),
        root=root,
        videos=[
            PartVideo(name=name, origin=rows.origin(name), spans=list(rows.spans[name].values())) for name in names
        ],
        rejects=[] if number else rows.rejects,
    )


def _plan(run: Run) -> list[PackEntry]:
    """Clips in id order; a shard is closed before the clip that would make it too large."""
    folder, plan = run.stage_folder("cut"), list[PackEntry]()
    packed = [
        (member, part)
        for part in run.parts("filter")
        for member in read_rows(folder, layout.members_file(part), Member)
    ]
    shard = held = 0
    for member, part in sorted(packed, key=lambda pair: pair[0].clip_id):
        if held and held + member.num_bytes > _SHARD_BYTES:
            shard, held = shard + 1, 0
        held += member.num_bytes
        plan.append(PackEntry(clip_id=member.clip_id, part=part, shard=shard))
    return plan
