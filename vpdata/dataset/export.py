"""Writing a run in the layouts that other code reads: VPData as published, a Hugging Face data set, or plain files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np

from vpdata.dataset import videopainter_files as files
from vpdata.dataset import videopainter_sources
from vpdata.dataset.csv_text import CsvText
from vpdata.dataset.hugging_face import write_hugging_face
from vpdata.dataset.label_maps import LabelMap, write_label_maps
from vpdata.dataset.plain_files import write_plain_files
from vpdata.dataset.reader import SampleTrack, index_files, open_dataset
from vpdata.dataset.run import Run
from vpdata.dataset.split import Split, read_splits
from vpdata.errors import RunError
from vpdata.storage import Folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What an export wrote."""

    num_clips: int
    num_rows: int
    """A row per clip (hf), or per clip and track (videopainter, files)."""
    num_held_out: int
    """Clips that a split of the run holds out: they are the layout's test split."""
    hidden_frac: float | None = None
    """Share of all mask pixels that the layout could not hold, since a smaller object lies over them; None for one that
    holds all.
    """

    def __str__(self) -> str:
        told = f"exported {self.num_clips} clips in {self.num_rows} rows"
        if self.num_held_out:
            told += f"; the {self.num_held_out} clips that the run's splits hold out are in the test split"
        if self.hidden_frac is not None:
            told += f"; {self.hidden_frac:.1%} of the mask pixels were lost below smaller objects"
        return told


Format = Literal["videopainter", "hf", "files"]


def export(run: Run, output: str | Path, *, format: Format) -> Exported:
    """Write the whole data set to `output`, a new folder, local or remote.

    What any of the run's splits holds out is the layout's test split. RunError where the folder is not empty, where the
    run is not finished, and at the first damaged clip: what was written up to there stays. ConfigError for a damaged
    split.
    """
    index_files(run.folder.uri)
    folder = Folder(output)
    if folder.names():
        raise RunError(f"{folder.uri} is not empty; give a new folder as --output, or remove this one")
    held_out = read_splits(run.folder)
    try:
        return _WRITERS[format](run, folder, held_out)
    except RunError as error:
        if not folder.names():
            raise
        raise RunError(f"{error}; {folder.uri} is incomplete: remove it before you export again") from error


def _hugging_face(run: Run, folder: Folder, held_out: Split) -> Exported:
    num_clips, num_held_out = write_hugging_face(run, folder, held_out)
    return Exported(num_clips=num_clips, num_rows=num_clips, num_held_out=num_held_out)


def _videopainter(run: Run, folder: Folder, held_out: Split) -> Exported:
    """`raw_video/`, `all_masks.npz` and the CSVs, under the names that VideoPainter's code looks for; `sources.csv`."""
    tables = {name: CsvText(files.COLUMNS) for name in (files.TRAIN_CSV, files.TEST_CSV)}
    sources, layers, num_held_out = CsvText(videopainter_sources.COLUMNS), _Layers(), 0
    dataset = open_dataset(run.folder.uri)
    for position, sample in enumerate(dataset):
        clip, tracks = sample.record.clip, sample.tracks
        # As published: twelve digits, and a name without `.0.mp4` is a Pexels video.
        name = f"{position:012d}_{sample.id}.mp4"
        folder.write(files.video_uri(name), sample.checked_mp4)
        dtype = np.dtype(np.uint8 if max((track.id for track in tracks), default=0) <= 255 else np.uint16)
        with folder.writing(files.masks_uri(name)) as path:
            shape = (clip.num_frames, clip.height_px, clip.width_px)
            write_label_maps(path, layers.label_maps(tracks, shape=shape), shape=shape, dtype=dtype)
        caption = next((caption.text for caption in sample.captions if caption.scope is None), "")
        is_held_out = held_out.holds_out(sample.id, video_id=clip.video.id)
        num_held_out += is_held_out
        for track in tracks:
            row = (name, 0, clip.num_frames, csv_number(clip.fps), track.id, caption)
            tables[files.TEST_CSV if is_held_out else files.TRAIN_CSV].write(row)
        sources.write(videopainter_sources.row_of(name, clip))
    folder.write(videopainter_sources.SOURCES_CSV, sources.encoded())
    if num_held_out:
        folder.write(files.TEST_CSV, tables[files.TEST_CSV].encoded())
    folder.write(files.TRAIN_CSV, tables[files.TRAIN_CSV].encoded())
    return Exported(
        num_clips=len(dataset),
        num_rows=sum(table.num_rows for table in tables.values()),
        num_held_out=num_held_out,
        hidden_frac=layers.hidden_frac,
    )


def _plain_files(run: Run, folder: Folder, held_out: Split) -> Exported:
    num_clips, num_rows, num_held_out = write_plain_files(run, folder, held_out)
    return Exported(num_clips=num_clips, num_rows=num_rows, num_held_out=num_held_out)


_WRITERS: dict[Format, Callable[[Run, Folder, Split], Exported]] = {
    "videopainter": _videopainter,
    "hf": _hugging_face,
    "files": _plain_files,
}


class _Layers:
    """Puts overlapping tracks on label maps, smaller objects on top, and counts what that hides."""

    def __init__(self) -> None:
        self._num_masked_px = self._num_shown_px = 0

    @property
    def hidden_frac(self) -> float:
        return 1 - self._num_shown_px / self._num_masked_px if self._num_masked_px else 0.0

    def label_maps(self, tracks: Sequence[SampleTrack], *, shape: tuple[int, int, int]) -> Iterator[LabelMap]:
        lowest_first = sorted(tracks, key=lambda track: -track.data.mean_area_frac)
        for frame in range(shape[0]):
            labels = np.zeros(shape[1:], dtype=np.uint16)
            for track in lowest_first:
                mask = track.mask(frame)
                labels[mask] = track.id
                self._num_masked_px += int(np.count_nonzero(mask))
            self._num_shown_px += int(np.count_nonzero(labels))
            yield labels


def csv_number(fps: Fraction) -> float | int:
    """A frame rate as the published CSVs have it."""
    return int(fps) if fps.denominator == 1 else round(float(fps), 3)
