"""Two workers at one part: a node that was taken for dead comes back and writes beside the one that took over."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.tiny_stages import make_record
from vpdata.dataset import lease
from vpdata.dataset.lease import LeaseProof
from vpdata.dataset.run import read_rows
from vpdata.dataset.shards import Member
from vpdata.engine.part_output import PartOutput, num_durable
from vpdata.records import Record, Source
from vpdata.storage import Folder

SOURCES = [Source(id=f"v{number:02d}", uri=f"v{number:02d}.mp4") for number in range(10)]
PART = "part-00000"


@pytest.fixture
def proof(tmp_path: Path) -> Iterator[LeaseProof]:
    """Workers of one build hold one lease."""
    with lease.hold(Folder(tmp_path)) as proof:
        yield proof


def add(output: PartOutput, stop: int, *, mp4: str = "") -> None:
    """The items from the first unfinished one to `stop`, as one piece; the later, the longer their mp4."""
    for number in range(output.num_items, stop):
        content = f"{mp4}{number}".encode() * 300 * (number + 1)
        output.add(make_record(SOURCES[number], 0, content), {"mp4": content})
        output.finish_items(number + 1)
    output.flush()


def committed(folder: Folder, proof: LeaseProof) -> dict[str, bytes]:
    """A third worker ends the part: video to the mp4 that the part's tar holds where its index says, in order."""
    with PartOutput(folder, PART, proof) as output:
        add(output, len(SOURCES))
        assert output.commit().num_records == len(SOURCES)
    tar = folder.read(f"{PART}.tar")
    members = {member.clip_id: member for member in read_rows(folder, f"{PART}.members.parquet", Member)}
    records = list(read_rows(folder, f"{PART}.parquet", Record))
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        assert opened.getnames() == [f"{record.id}.mp4" for record in records]
    places = {record.clip.video.id: members[record.id] for record in records}
    return {video: tar[place.offset : place.offset + place.num_bytes] for video, place in places.items()}


def test_items_of_two_workers_are_neither_lost_nor_doubled(tmp_path: Path, proof: LeaseProof) -> None:
    folder = Folder(tmp_path / "1-cut")
    with PartOutput(folder, PART, proof) as returned, PartOutput(folder, PART, proof) as successor:
        add(returned, 5)
        add(successor, 3)
        add(returned, 8)
    with PartOutput(folder, PART, proof) as found:
        assert found.num_durable == num_durable(folder, PART) == 8
    clips = committed(folder, proof)
    assert clips == {source.id: f"{n}".encode() * 300 * (n + 1) for n, source in enumerate(SOURCES)}
    assert not list((tmp_path / "1-cut/progress").iterdir())


def test_pieces_of_unequal_bytes_join(tmp_path: Path, proof: LeaseProof) -> None:
    """Encodings of the same items of which each is longer: what follows the last of them fits behind any."""
    folder = Folder(tmp_path / "1-cut")
    for length in range(5):
        with PartOutput(folder, PART, proof) as output:
            add(output, 4, mp4="x" * length)
            if length < 4:
                # The next worker does not see it.
                (tmp_path / "1-cut/progress").rename(tmp_path / f"progress-{length}")
            else:
                add(output, 6)
    for path in tmp_path.glob("progress-*/*"):
        path.rename(tmp_path / "1-cut/progress" / path.name)
    clips = committed(folder, proof)
    assert list(clips) == [source.id for source in SOURCES]
    for number, clip in enumerate(clips.values()):
        pattern = f"(x*{number}){{{300 * (number + 1)}}}"
        assert re.fullmatch(pattern, clip.decode())
