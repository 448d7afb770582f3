"""A run in the layout in which VPData was published: videos, label maps, and CSVs with a row per mask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from vpdata.dataset import videopainter_files as files
from vpdata.dataset import videopainter_sources
from vpdata.dataset.export_part import Exported, ExportPart, PartRows, write_table
from vpdata.dataset.label_maps import LabelMap, write_label_maps
from vpdata.dataset.reader import Sample
from vpdata.dataset.run import Run
from vpdata.storage import Folder


def write_part(part: ExportPart) -> PartRows:
    """Write the videos and `all_masks.npz` of a shard, under the names that VideoPainter's code looks for.

    Holds one encoded clip and one label map at a time. RunError names a clip that is damaged.
    """
    rows = PartRows()
    for position, (sample, is_held_out) in enumerate(part, start=part.first):
        clip = sample.record.clip
        # As published: twelve digits, and a name without `.0.mp4` is a Pexels video.
        name = f"{position:012d}_{sample.id}.mp4"
        part.output.write(files.video_uri(name), sample.checked_mp4)
        _write_masks(part.output, files.masks_uri(name), sample, rows)
        caption = next((caption.text for caption in sample.captions if caption.scope is None), "")
        for track in sample.tracks:
            row = (name, 0, clip.num_frames, csv_number(clip.fps), track.id, caption)
            rows.add(files.TEST_CSV if is_held_out else files.TRAIN_CSV, row)
        rows.add(videopainter_sources.SOURCES_CSV, videopainter_sources.row_of(name, clip))
        rows.num_clips += 1
        rows.num_held_out += is_held_out
    return rows


def finish(run: Run, folder: Folder, parts: Sequence[PartRows]) -> Exported:
    """Write the CSVs, and `sources.csv`."""
    exported = Exported.of(parts, files.TRAIN_CSV, files.TEST_CSV)
    write_table(folder, videopainter_sources.SOURCES_CSV, videopainter_sources.COLUMNS, parts)
    if exported.num_held_out:
        write_table(folder, files.TEST_CSV, files.COLUMNS, parts)
    write_table(folder, files.TRAIN_CSV, files.COLUMNS, parts)
    num_masked_px = sum(part.num_masked_px for part in parts)
    num_shown_px = sum(part.num_shown_px for part in parts)
    return replace(exported, hidden_frac=1 - num_shown_px / num_masked_px if num_masked_px else 0.0)


def _write_masks(folder: Folder, uri: str, sample: Sample, rows: PartRows) -> None:
    clip = sample.record.clip
    dtype = np.dtype(np.uint8 if max((track.id for track in sample.tracks), default=0) <= 255 else np.uint16)
    shape = (clip.num_frames, clip.height_px, clip.width_px)
    with folder.writing(uri) as path:
        write_label_maps(path, _label_maps(sample, rows), shape=shape, dtype=dtype)


def _label_maps(sample: Sample, rows: PartRows) -> Iterator[LabelMap]:
    """Overlapping tracks on one map per frame, smaller objects on top; `rows` counts what that hides."""
    clip = sample.record.clip
    lowest_first = sorted(sample.tracks, key=lambda track: -track.data.mean_area_frac)
    for frame in range(clip.num_frames):
        labels = np.zeros((clip.height_px, clip.width_px), dtype=np.uint16)
        for track in lowest_first:
            mask = track.mask(frame)
            labels[mask] = track.id
            rows.num_masked_px += int(np.count_nonzero(mask))
        rows.num_shown_px += int(np.count_nonzero(labels))
        yield labels


def csv_number(fps: Fraction) -> float | int:
    """A frame rate as the published CSVs have it."""
    return int(fps) if fps.denominator == 1 else round(float(fps), 3)
