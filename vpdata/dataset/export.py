"""Writing a run in the layouts that other code reads: VPData as published, a Hugging Face data set, or plain files."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Literal

import vpdata
from vpdata import codec
from vpdata.dataset import hugging_face, layout, lease, plain_files, videopainter_export
from vpdata.dataset.export_part import Exported, ExportPart, PartRows
from vpdata.dataset.part_processes import refuse_no_process, write_parts
from vpdata.dataset.reader import index_files
from vpdata.dataset.run import Run, in_order, num_rows
from vpdata.dataset.split import Split, read_splits
from vpdata.errors import RunError
from vpdata.storage import Folder

_log = logging.getLogger(__name__)


Format = Literal["videopainter", "hf", "files"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    write_part: Callable[[ExportPart], PartRows]
    finish: Callable[[Run, Folder, Sequence[PartRows]], Exported]
    """Writes what is of all parts together."""


_LAYOUTS: dict[Format, _Layout] = {
    "videopainter": _Layout(write_part=videopainter_export.write_part, finish=videopainter_export.finish),
    "hf": _Layout(write_part=hugging_face.write_part, finish=hugging_face.finish),
    "files": _Layout(write_part=plain_files.write_part, finish=plain_files.finish),
}


def export(run: Run, output: str | Path, *, format: Format, processes: int = 1) -> Exported:
    """Write the whole data set to `output`, a new folder, local or remote; the same call goes on with a stopped export.

    What any of the run's splits holds out is the layout's test split. As many `processes` write a shard each, and the
    bytes are the same; more than one start Python anew, which runs a script from its top, so call this below
    `if __name__ == "__main__":` there. RunError where the folder holds anything else, where the run is not finished,
    and at the first damaged clip. ConfigError for a damaged split.
    """
    refuse_no_process(processes)
    root, names = index_files(run.folder.uri)
    if format == "hf":
        # Its card is made from it, when all else is written.
        run.config()
    held_out, folder = read_splits(root), Folder(output)
    facts = _facts(root, names, held_out, format)
    _refuse_other(folder, facts)
    folder.write(f"{layout.EXPORT_PARTS}/{layout.EXPORT_FACTS}", facts)
    with lease.hold(folder) as proof:
        folder.sweep(below=True)
        parts = _parts(root, folder, names, held_out)
        done = set(folder.child(layout.EXPORT_PARTS).names())
        left = [part for part in parts if _rows_file(part) not in done]
        if len(left) < len(parts):
            _log.info("%s: %d of %d shards were written before", folder.uri, len(parts) - len(left), len(parts))
        write = partial(_write_part, format)
        try:
            write_parts(write, left, num_parts=len(left), processes=processes, proof=proof)
        except RunError as error:
            raise RunError(f"{error}; {folder.uri} is incomplete: the same command goes on with it") from error
        proof.check()
        written = [codec.from_json(folder.read(f"{layout.EXPORT_PARTS}/{_rows_file(one)}"), PartRows) for one in parts]
        exported = _LAYOUTS[format].finish(run, folder, written)
        folder.child(layout.EXPORT_PARTS).remove_all()
    return exported


def _facts(root: Folder, names: Sequence[str], held_out: Split, format: Format) -> bytes:
    """All that the bytes of an export depend on: the index has the hash of every member."""
    digest = hashlib.sha256()
    for name, data in zip(names, in_order(root.child(layout.INDEX).read, names), strict=True):
        digest.update(f"{name} {hashlib.sha256(data).hexdigest()}\n".encode())
    splits = codec.to_json([sorted(held_out.videos), sorted(held_out.clips)])
    facts = {
        "vpdata_version": vpdata.__version__,
        "format": format,
        "index_sha256": digest.hexdigest(),
        "held_out_sha256": hashlib.sha256(splits).hexdigest(),
    }
    return codec.to_json(facts)


def _refuse_other(folder: Folder, facts: bytes) -> None:
    unfinished = folder.child(layout.EXPORT_PARTS)
    if unfinished.exists(layout.EXPORT_FACTS) and unfinished.read(layout.EXPORT_FACTS) == facts:
        return
    if folder.names():
        raise RunError(
            f"{folder.uri} is not empty, and holds no unfinished export of the same clips and splits in this format by "
            f"vpdata {vpdata.__version__}, which could go on; give a new folder as --output, or remove this one"
        )


def _parts(root: Folder, output: Folder, names: Sequence[str], held_out: Split) -> list[ExportPart]:
    counts = in_order(partial(num_rows, root.child(layout.INDEX)), names)
    return [
        ExportPart(
            run_folder=root,
            output=output,
            index_name=name,
            number=number,
            num_parts=len(names),
            first=first,
            held_out=held_out,
        )
        for number, (name, first) in enumerate(zip(names, accumulate(counts, initial=0), strict=False))
    ]


def _rows_file(part: ExportPart) -> str:
    return f"{part.name}.json"


def _write_part(format: Format, part: ExportPart) -> None:
    rows = _LAYOUTS[format].write_part(part)
    part.output.write(f"{layout.EXPORT_PARTS}/{_rows_file(part)}", codec.to_json(rows))
