"""Where the items of a part come from, and how their media are opened."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from vpdata.dataset import annotations, layout
from vpdata.dataset.reader import Dataset
from vpdata.dataset.run import Run, read_rows, read_table
from vpdata.dataset.shards import Member
from vpdata.engine.prefetch import OpenMedia
from vpdata.records import Record, Source
from vpdata.stages.base import Item
from vpdata.storage import Folder

if TYPE_CHECKING:
    from vpdata.sources import Input

_SIGN_OF_LIFE_S = 0.2


class Intake(Protocol):
    """What a stage works on, part by part. Picklable."""

    def items(self, part: str) -> Sequence[Item]:
        """The items of a part, in their order."""
        ...

    def open_media(self, part: str, items: Sequence[Item], alive: Callable[[], None]) -> OpenMedia:
        """What opens the media of those items; it calls `alive` while it waits for others."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FromSources:
    """The frozen source list, for the first stage."""

    run: Run
    source: Input

    def items(self, part: str) -> Sequence[Source]:
        return list(read_rows(self.run.stage_folder("source"), layout.records_file(part), Source))

    def open_media(self, part: str, items: Sequence[Item], alive: Callable[[], None]) -> OpenMedia:
        """Opens the file of a source; a download has limits of its own, so it does not count as the item's time."""

        @contextmanager
        def open_source(item: Item) -> Iterator[Path]:
            assert isinstance(item, Source)
            with ExitStack() as stack:
                with _signs_of_life(alive):
                    path = stack.enter_context(self.source.local_file(item))
                yield path

        return open_source


@dataclass(frozen=True, slots=True, kw_only=True)
class FromStage:
    """What the stage before let through, for all others of a build."""

    run: Run
    previous: str
    clips_per_part: int

    def items(self, part: str) -> Sequence[Record]:
        folder = self.run.stage_folder(self.previous)
        if self.previous != "cut":
            return list(read_rows(folder, layout.records_file(part), Record))
        whole = layout.whole_part_of(part)
        records = list(read_rows(folder, layout.records_file(whole), Record))
        if whole == part:
            return records
        first = int(part.removeprefix(f"{whole}-")) * self.clips_per_part
        return records[first : first + self.clips_per_part]

    def open_media(self, part: str, items: Sequence[Item], alive: Callable[[], None]) -> OpenMedia:
        """Opens the mp4 of a record of this part by one ranged read."""
        folder, whole = self.run.stage_folder("cut"), layout.whole_part_of(part)
        ids = {record.id for record in items}
        rows = read_rows(folder, layout.members_file(whole), Member, ids=ids, id_column="clip_id") if ids else ()
        members = {row.clip_id: row for row in rows if row.suffix == annotations.VIDEO}

        @contextmanager
        def open_clip(item: Item) -> Iterator[bytes]:
            member = members[item.id]
            yield folder.read_range(layout.tar_file(whole), member.offset, member.num_bytes)

        return open_clip


@dataclass(frozen=True, slots=True, kw_only=True)
class FromShards:
    """Clips of a finished data set: each part is a list of rows of its index."""

    shards: Folder
    parts: Folder

    def items(self, part: str) -> Sequence[Record]:
        return [sample.record for sample in self._samples(part)]

    def open_media(self, part: str, items: Sequence[Item], alive: Callable[[], None]) -> OpenMedia:
        """Opens the mp4 of a clip by one ranged read."""
        samples = self._samples(part)

        @contextmanager
        def open_clip(item: Item) -> Iterator[bytes]:
            yield samples.find(item.id).mp4

        return open_clip

    def _samples(self, part: str) -> Dataset:
        return Dataset(self.shards, read_table(self.parts, layout.records_file(part)))


@contextmanager
def _signs_of_life(alive: Callable[[], None]) -> Iterator[None]:
    is_over = threading.Event()

    def tell() -> None:
        while not is_over.wait(_SIGN_OF_LIFE_S):
            alive()

    thread = threading.Thread(target=tell, name="signs-of-life", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
