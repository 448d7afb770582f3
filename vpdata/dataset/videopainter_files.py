"""The published VPData layout as files: which rows its CSVs hold, and where a row's video and masks lie."""

from __future__ import annotations

import csv
import hashlib
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from vpdata.dataset.videopainter_sources import SOURCES_CSV, Origin, read_origins
from vpdata.errors import ConfigError, Reason, RejectItem
from vpdata.records import Reject, Source, video_id

_log = logging.getLogger(__name__)

COLUMNS = ("path", "start_frame", "end_frame", "fps", "mask_id", "caption")
TRAIN_CSV = "pexels_videovo_train_dataset.csv"
TEST_CSV = "pexels_videovo_test_dataset.csv"
_CSV_GLOB = "pexels_videovo_*_dataset.csv"
_TRAIN_PREFIX = "pexels_videovo_train"
_BENCH_GLOB = "our_video_*.csv"
"""Cases of the published benchmark."""
# Twelve digits, then `.0` for Videvo or `_<id>` for Pexels. Nothing else may become part of a path.
NAME = re.compile(r"[0-9]{12}(\.0|(_[A-Za-z0-9-]+)+)\.mp4")


@dataclass(slots=True, kw_only=True)
class Span:
    """The rows that share a clip: they differ only in their mask."""

    start: int
    stop: int
    """Frames of the source video, half-open."""
    caption: str
    mask_ids: list[int] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Rows:
    """What all CSVs of a folder say."""

    spans: dict[str, dict[tuple[int, int], Span]] = field(default_factory=dict)
    """By the video's name, then by the frames."""
    rejects: list[Reject] = field(default_factory=list)
    origins: Mapping[str, Origin] = field(default_factory=dict)
    """By the video's name, where `sources.csv` has a line of it."""
    held_out: set[str] = field(default_factory=set)
    """Names of the videos in all CSVs but those of training, and in those of the benchmark."""
    sha256: str = ""
    """Of the names and hashes of the CSVs that rows and origins are from, 64 hex digits."""

    def origin(self, name: str) -> Origin:
        """Of a video: it is its own source where nothing else is known."""
        uri = video_uri(name) if NAME.fullmatch(name) else name[:200]
        return self.origins.get(name) or Origin(source=Source(id=video_id(uri), uri=uri))


def read_rows(root: Path) -> Rows:
    """The rows of every `pexels_videovo_*_dataset.csv` in the folder, and what `sources.csv` says of their videos.

    Of `our_video_*.csv` only the names are read. ConfigError where there is no CSV of the first form, or where
    `sources.csv` holds a bad line.
    """
    paths = sorted(root.glob(_CSV_GLOB))
    if not paths:
        raise ConfigError(f"{root}: got no {_CSV_GLOB}, wanted the folder `data/` of the VideoPainter layout")
    rows = Rows(origins=read_origins(root), sha256=_sha256([*paths, *root.glob(SOURCES_CSV)]))
    for path in [*paths, *sorted(root.glob(_BENCH_GLOB))]:
        try:
            if path in paths:
                _read_csv(path, rows)
            else:
                _read_bench(path, rows)
        except (csv.Error, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: got no readable CSV ({error}), wanted UTF-8 with commas") from error
    return rows


def _sha256(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def _read_csv(path: Path, rows: Rows) -> None:
    with path.open(newline="", encoding="utf-8") as file:
        table = csv.DictReader(file)
        if missing := set(COLUMNS) - set(table.fieldnames or ()):
            raise ConfigError(f"{path}: got no column {', '.join(sorted(missing))}; wanted {', '.join(COLUMNS)}")
        for row in table:
            _add(rows, row, where=f"{path.name}:{table.line_num}")
            if not path.name.startswith(_TRAIN_PREFIX) and NAME.fullmatch(name := row["path"] or ""):
                rows.held_out.add(name)


def _read_bench(path: Path, rows: Rows) -> None:
    with path.open(newline="", encoding="utf-8") as file:
        table = csv.DictReader(file)
        if "path" not in (table.fieldnames or ()):
            raise ConfigError(f"{path}: got no column path, by which the videos of the benchmark are held out")
        names = {(row["path"] or "").rpartition("/")[2] for row in table}
    if others := sorted(name for name in names if not NAME.fullmatch(name)):
        what = "%s: %d paths name no video of this layout, so nothing is held out for them; the first is %r"
        _log.warning(what, path, len(others), others[0][:200])
    rows.held_out |= names.difference(others)


def _add(rows: Rows, row: dict[str, str | None], *, where: str) -> None:
    name = row["path"] or ""
    try:
        if not NAME.fullmatch(name):
            raise RejectItem(
                Reason.BLOCKED_ADDRESS, f"{where}: the path is not allowed", got=name[:200], wanted="12 digits .. .mp4"
            )
        start, stop, mask_id = (_whole_number(row, column) for column in ("start_frame", "end_frame", "mask_id"))
        if not 0 <= start < stop or mask_id < 1:
            detail = f"{where}: frames {start} to {stop} of mask {mask_id} are none"
            raise RejectItem(Reason.BAD_ANNOTATION, detail, wanted="0 <= start_frame < end_frame, mask_id from 1 on")
        caption = (row["caption"] or "").strip()
        if not caption:
            raise RejectItem(Reason.CAPTION_FAILED, f"{where}: the row has no caption", wanted="a caption")
    except ValueError as error:
        why = RejectItem(Reason.BAD_ANNOTATION, f"{where}: {error}", wanted="whole numbers")
        rows.rejects.append(reject(rows.origin(name), why))
    except RejectItem as error:
        rows.rejects.append(reject(rows.origin(name), error))
    else:
        span = rows.spans.setdefault(name, {}).setdefault((start, stop), Span(start=start, stop=stop, caption=caption))
        if mask_id not in span.mask_ids:
            span.mask_ids.append(mask_id)


def _whole_number(row: dict[str, str | None], column: str) -> int:
    """Pandas writes a whole column as floats where one value was missing."""
    value = float(row[column] or "")
    if not value.is_integer() or abs(value) > 1e9:
        raise ValueError(f"got {column} {row[column]}")
    return int(value)


def video_uri(name: str) -> str:
    """Path of a video below the layout's folder; its canonical uri."""
    source = "videovo" if name.endswith(".0.mp4") else "pexels/pexels"
    return f"{source}/raw_video/{name[:9]}/{name}"


def masks_uri(name: str) -> str:
    """Path of a video's label maps below the layout's folder."""
    source = "videovo" if name.endswith(".0.mp4") else "pexels"
    return f"video_inpainting/{source}/{name.partition('.')[0]}/all_masks.npz"


def existing(root: Path, uri: str) -> Path:
    """Local path of a file of the layout. RejectItem where it is missing or a link leads out of the folder."""
    path = (root / uri).resolve()
    if not path.is_relative_to(root.resolve()):
        raise RejectItem(Reason.BLOCKED_ADDRESS, f"{uri} leads out of the folder", wanted=f"a file in {root.name}")
    if not path.is_file():
        raise RejectItem(Reason.SOURCE_GONE, f"{uri} is not there", wanted="a file for every row")
    return path


def reject(
    origin: Origin, why: RejectItem, *, span: Span | None = None, fps: Fraction | None = None, track: int | None = None
) -> Reject:
    """The row that says why a video, a span of it or one track of the span was dropped."""
    times = (origin.time_s(span.start, fps), origin.time_s(span.stop, fps)) if span and fps else (None, None)
    return Reject(
        id=origin.source.id,
        stage="cut",
        reason=why.reason,
        detail=why.detail,
        got=why.got,
        wanted=why.wanted,
        video_id=origin.source.id,
        uri=origin.source.uri,
        start_s=times[0],
        stop_s=times[1],
        track=track,
    )
