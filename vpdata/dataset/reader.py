"""Reading a finished data set: samples by position, by id or in turn, each with one ranged read per thing asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vpdata.dataset import annotations, index, layout
from vpdata.dataset.run import read_table
from vpdata.dataset.window import decode_window
from vpdata.errors import RunError
from vpdata.media.masks import Mask, decode_masks
from vpdata.records import Caption, Record, Track
from vpdata.storage import Folder

_SPAN_COLUMNS = [f"{prefix}_{what}" for prefix in index.MEMBER_COLUMNS.values() for what in ("offset", "num_bytes")]
_MP4_HASH = f"{index.MEMBER_COLUMNS[annotations.VIDEO]}_sha256"
INDEX_COLUMNS = ("id", "shard", "num_frames", *_SPAN_COLUMNS, _MP4_HASH)
"""All that a reader holds in memory: about 180 bytes a clip."""


def open_dataset(uri: str | Path) -> Dataset:
    """The data set in a run folder, in its `shards/` or `index/`, or in one shard; local or on any store of `Folder`.

    Reads only the index. RunError where there is none, or where a run still lacks shards of its plan; its `shards/`
    opens with those that are there.
    """
    root, names = index_files(uri)
    return Dataset(root.child(layout.SHARDS), index.read_index(root.child(layout.INDEX), names, INDEX_COLUMNS))


def index_files(uri: str | Path) -> tuple[Folder, list[str]]:
    """The run's folder, and which of its index files belong to the data set; RunError as from `open_dataset`."""
    root, place = _root_and_place(uri)
    index_folder = root.child(layout.INDEX)
    names = [layout.index_of_shard(place)] if place.endswith(".tar") else index_folder.names(".parquet")
    if place == "" and root.exists(layout.PACK_PLAN):
        _refuse_unfinished(root, num_packed=len(names))
    elif not names or not all(map(index_folder.exists, names)):
        raise RunError(
            f"{uri}: got no index in {index_folder.uri}, wanted a run folder that `vpdata build` has finished, "
            "its shards/ or index/, or one of its shards"
        )
    return root, names


def _refuse_unfinished(root: Folder, *, num_packed: int) -> None:
    plan = read_table(root, layout.PACK_PLAN, columns=["shard"])
    num_planned = max(plan["shard"].to_pylist(), default=-1) + 1
    if num_packed < num_planned:
        raise RunError(
            f"{root.uri}: got {num_packed} of the {num_planned} shards that are planned; run the same `vpdata build` "
            f"or `vpdata import` again, or open {root.uri}/{layout.SHARDS} to read those that are there"
        )


def _root_and_place(uri: str | Path) -> tuple[Folder, str]:
    """The run's folder, and what of it was named: "", "shards", "index" or the name of a shard."""
    whole = str(uri) if "://" in str(uri) else str(Path(uri).absolute())
    parent, _, name = whole.rstrip("/").rpartition("/")
    if name.endswith(".tar"):
        return Folder(parent.rpartition("/")[0]), name
    return (Folder(parent), name) if name in (layout.SHARDS, layout.INDEX) else (Folder(whole), "")


class Dataset(Sequence["Sample"]):
    """Samples in the order of their ids, fetched when they are asked for. Picklable."""

    def __init__(self, shards: Folder, entries: pa.Table) -> None:
        self._shards = shards
        self._entries = entries.combine_chunks()

    def __repr__(self) -> str:
        return f"Dataset({self._shards.uri!r}, num_samples={len(self)})"

    @property
    def ids(self) -> list[str]:
        """Ids of the samples in their order."""
        return self._entries["id"].to_pylist()

    def __len__(self) -> int:
        return self._entries.num_rows

    @overload
    def __getitem__(self, position: int) -> Sample: ...
    @overload
    def __getitem__(self, position: slice) -> Dataset: ...
    def __getitem__(self, position: int | slice) -> Sample | Dataset:
        if isinstance(position, slice):
            rows = pa.array(range(*position.indices(len(self))), pa.int64())
            return Dataset(self._shards, self._entries.take(rows))
        if isinstance(position, str):
            raise TypeError(f"got the sample {position!r}, wanted a position; dataset.find(id) looks one up by its id")
        if not -len(self) <= position < len(self):
            raise IndexError(f"got sample {position} of a data set of {len(self)}")
        row = position % len(self)
        # Item by item: a slice of the table turned into a list takes four times as long.
        entry = {
            name: column[row].as_py()
            for name, column in zip(self._entries.column_names, self._entries.columns, strict=True)
        }
        return Sample(self._shards, entry)

    def __iter__(self) -> Iterator[Sample]:
        for position in range(len(self)):
            yield self[position]

    def find(self, clip_id: str) -> Sample:
        """The sample of an id; KeyError where there is none."""
        position = pc.index(self._entries["id"], clip_id).as_py()
        if position < 0:
            raise KeyError(f"got the clip {clip_id!r}, which is none of the {len(self)} in {self._shards.uri}")
        return self[position]

    def select(self, ids: Collection[str]) -> Dataset:
        """The part of the data set with these ids, such as a split's; KeyError names one that is not there."""
        chosen = self._entries.filter(pc.field("id").isin(pa.array(sorted(ids), pa.string())))
        if missing := sorted(set(ids) - set(chosen["id"].to_pylist())):
            raise KeyError(f"got {len(missing)} ids that are not in {self._shards.uri}, such as {missing[0]!r}")
        return Dataset(self._shards, chosen)


@dataclass(frozen=True, slots=True)
class SampleTrack:
    """One object of a sample, its masks still run lengths."""

    data: Track
    caption: str | None
    """What the captioner said of this object."""
    height_px: int
    width_px: int
    where: str
    """Shard and clip, for messages."""

    @property
    def id(self) -> int:
        return self.data.id

    @property
    def label(self) -> str:
        return self.data.label

    def mask(self, frame: int) -> Mask:
        """bool [H, W] on one frame; all False where the object is absent. RunError for damaged run lengths."""
        return self._decoded((self.data.masks[frame],))[0]

    @property
    def masks(self) -> NDArray[np.bool_]:
        """bool [T, H, W], decoded anew at each call. RunError for damaged run lengths."""
        return self._decoded(self.data.masks)

    def _decoded(self, counts: Sequence[str | None]) -> NDArray[np.bool_]:
        try:
            return decode_masks(counts, height_px=self.height_px, width_px=self.width_px)
        except ValueError as error:
            raise RunError(f"{self.where}: track {self.id}: {error}; run `vpdata check` on the run") from error


class Sample:
    """One clip with all that is known of it. What was fetched is kept until the sample goes."""

    def __init__(self, shards: Folder, entry: dict[str, int | str]) -> None:
        self._shards = shards
        self._entry = entry
        self.id = str(entry["id"])
        self.num_frames = int(entry["num_frames"])

    def __repr__(self) -> str:
        return f"Sample({self.id!r}, num_frames={self.num_frames})"

    @cached_property
    def record(self) -> Record:
        """Everything but the pixels: one ranged read. RunError where the shard does not hold what the index says."""
        record_offset, record_bytes = self._span(annotations.RECORD)
        masks_offset, masks_bytes = self._span(annotations.MASKS)
        # The two members are neighbours with only a tar header between them.
        data = self._read(record_offset, masks_offset + masks_bytes - record_offset)
        record = annotations.decode(data[:record_bytes], data[masks_offset - record_offset :], where=self._where)
        if record.id != self.id:
            raise RunError(f"{self._where}: the shard holds {record.id} there; run `vpdata check` on the run")
        return record

    @property
    def tracks(self) -> tuple[SampleTrack, ...]:
        """The objects, in the order of their ids."""
        texts = {caption.scope: caption.text for caption in reversed(self.captions)}
        size = self.record.clip.height_px, self.record.clip.width_px
        return tuple(SampleTrack(track, texts.get(track.id), *size, self._where) for track in self.record.tracks or ())

    @property
    def captions(self) -> tuple[Caption, ...]:
        """Of the clip and of its objects."""
        return self.record.captions or ()

    @cached_property
    def mp4(self) -> bytes:
        """The clip's file as the shard holds it: one ranged read, damaged or not; `checked_mp4` is surely whole."""
        return self._read(*self._span(annotations.VIDEO))

    @cached_property
    def checked_mp4(self) -> bytes:
        """`mp4`, compared once with its hash in the index; RunError where it is not what was written."""
        # Not in `mp4`: a hash takes ten times the CPU of reading, and `ClipReader` compares the record's.
        if hashlib.sha256(self.mp4).hexdigest() != self._entry[_MP4_HASH]:
            raise RunError(
                f"{self._where}: the mp4 is damaged: its hash is not the index's; run `vpdata check` on the run"
            )
        return self.mp4

    @cached_property
    def frames(self) -> NDArray[np.uint8]:
        """All frames, uint8 [T, H, W, 3] RGB. RunError as from `read_frames`."""
        return self.read_frames(0, self.num_frames)

    def read_frames(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Frames `start` to `stop` (half-open) as uint8 [T, H, W, 3] RGB.

        One ranged read, of the whole mp4; decodes the window and what lies between it and the key frame before it, at
        most half a second. RunError where the mp4 is damaged, be it outside of the window.
        """
        if not 0 <= start < stop <= self.num_frames:
            raise IndexError(f"{self.id}: got frames {start}:{stop}, wanted a span inside 0:{self.num_frames}")
        mp4 = self.checked_mp4
        try:
            return decode_window(mp4, start, stop).frames
        except RunError as error:
            raise RunError(f"{self._where}: {error}; run `vpdata check` on the run") from error

    @property
    def _where(self) -> str:
        return f"{self._shards.uri}/{self._entry['shard']}: {self.id}"

    def _span(self, suffix: str) -> tuple[int, int]:
        prefix = index.MEMBER_COLUMNS[suffix]
        return int(self._entry[f"{prefix}_offset"]), int(self._entry[f"{prefix}_num_bytes"])

    def _read(self, offset: int, num_bytes: int) -> bytes:
        return self._shards.read_range(str(self._entry["shard"]), offset, num_bytes)
