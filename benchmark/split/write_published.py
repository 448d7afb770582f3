"""A benchmark in the published VPBench layout: CSVs, videos, and label maps under the names that its code looks for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmark.bench import Case, FolderMedia, video_file
from benchmark.published import CSV_OF, EDIT_COLUMNS, FILL_COLUMNS, MASK_ID
from vpdata.dataset import videopainter_files as files
from vpdata.dataset.csv_text import CsvText
from vpdata.dataset.label_maps import write_label_maps
from vpdata.dataset.videopainter_export import csv_number
from vpdata.storage import Folder


def write_published(cases: Sequence[Case], media: FolderMedia, output: Folder) -> None:
    """Write `output`, replacing what is there. Each case is a video of its own with one mask, of id 1.

    Beside the published columns stand `category` and `operation`, which its code does not read.
    """
    output.remove_all()
    tables: dict[str, list[dict[str, object]]] = {}
    for position, case in enumerate(sorted(cases, key=lambda case: case.id)):
        name = f"{position:012d}_{case.id}.mp4"
        output.write(files.video_uri(name), media.folder.read(video_file(case.id)))
        shape = (case.num_frames, case.height_px, case.width_px)
        with output.writing(files.masks_uri(name)) as path:
            maps = (mask * np.uint8(MASK_ID) for mask in media.each_mask(case, range(case.num_frames)))
            write_label_maps(path, maps, shape=shape, dtype=np.dtype(np.uint8))
        tables.setdefault(CSV_OF[case.subset], []).append(_row(case, name))
    for csv_name, rows in tables.items():
        table = CsvText(list(rows[0]))
        for row in rows:
            table.write(list(row.values()))
        output.write(csv_name, table.encoded())


def _row(case: Case, name: str) -> dict[str, object]:
    # Their code paints from the region's words, and stops at a row without any.
    columns, words = FILL_COLUMNS, (case.caption, case.region_prompt)
    if case.instruction is not None:
        columns, words = EDIT_COLUMNS, (case.caption, case.target_caption, case.target_object, case.instruction)
    return {
        "path": name,
        "mask_id": MASK_ID,
        "start_frame": 0,
        "end_frame": case.num_frames,
        "fps": csv_number(case.fps),
        **dict(zip(columns, words, strict=True)),
        "category": case.category,
        "operation": case.operation or "",
    }
