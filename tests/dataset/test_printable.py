"""Labels and licences from outside steer no terminal and hide in no page."""

from __future__ import annotations

from dataclasses import replace

from vpdata import codec
from vpdata.cli import main
from vpdata.dataset import layout
from vpdata.dataset.card import write_card
from vpdata.dataset.printable import printable
from vpdata.dataset.run import Run, parquet_bytes, read_rows
from vpdata.dataset.shards import PackEntry, write_shard
from vpdata.records import Record

STEERING = "a\x1b[31m\n\0\u202eb"
SHOWN = r"a\x1b[31m\n\x00\u202eb"


def steer(record: Record) -> Record:
    video = replace(record.clip.video, licence=STEERING)
    tracks = tuple(replace(track, label=STEERING) for track in record.tracks or ())
    return replace(record, clip=replace(record.clip, video=video), tracks=tracks)


def pack_steering(run: Run) -> None:
    """Every clip with a licence and labels that would steer a terminal."""
    folder = run.stage_folder("filter")
    for part in run.parts("filter"):
        name = layout.records_file(part)
        records = [steer(record) for record in read_rows(folder, name, Record)]
        folder.write(name, parquet_bytes(codec.to_table(records, Record)))
    plan = list(read_rows(run.folder, layout.PACK_PLAN, PackEntry))
    for shard in {entry.shard for entry in plan}:
        write_shard(run, [entry for entry in plan if entry.shard == shard], shard=shard)


def test_writing_of_any_language_stays_as_it_is():
    assert printable("Straße, 猫, собака, 🐈 and a\tb") == r"Straße, 猫, собака, 🐈 and a\tb"


def test_no_control_character_reaches_a_terminal_or_the_card(run, capsys):
    pack_steering(run)
    write_card(run)
    assert main(["stats", run.folder.uri]) == 0
    assert main(["inspect", run.folder.uri]) == 0
    printed, card = capsys.readouterr().out, run.folder.read(layout.CARD).decode()
    assert f"labels: {SHOWN} 10" in printed
    assert f"licences: {SHOWN} 5" in printed
    assert printed.count(f"  2.00 s  {SHOWN}  {SHOWN}\n") == 5
    assert r"| a\\x1b\[31m \\x00\\u202eb | 5 |" in card
    assert all(sign.isprintable() or sign == "\n" for sign in printed + card)
