"""Writes the golden files beside it: `python -m tests.golden.make`. They hold the format that readers rely on.

A difference is either a fault, or a new version of the format: then raise `SCHEMA_VERSION`, say in CHANGELOG.md how to
convert, and make them again.
"""

from __future__ import annotations

from pathlib import Path

from tests.runs import make_footage, make_record
from vpdata.codec import schema_of
from vpdata.dataset import annotations, index
from vpdata.records import Record, Reject

FOLDER = Path(__file__).parent


def golden_files() -> dict[str, bytes]:
    """Name to content. The mp4 is a stand-in, since encoders differ from machine to machine."""
    record = make_record(7, mp4=b"not a real mp4", footage=make_footage(7))
    files = {f"sample.{suffix}": content for suffix, content in annotations.encode(record).items()}
    schemas = {"index": index.SCHEMA, "record": schema_of(Record), "reject": schema_of(Reject)}
    return files | {f"{name}.schema.txt": f"{schema.remove_metadata()}\n".encode() for name, schema in schemas.items()}


if __name__ == "__main__":
    for name, content in golden_files().items():
        (FOLDER / name).write_bytes(content)
