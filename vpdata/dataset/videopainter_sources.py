"""`sources.csv` beside an export: from which video each of its files was cut, when in it, and whose that video is."""

from __future__ import annotations

import csv
import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import msgspec

from vpdata import codec
from vpdata.errors import ConfigError
from vpdata.records import MAX_VIDEO_ID_CHARS, Clip, Source, Video, is_valid_id

SOURCES_CSV = "sources.csv"
_FIELDS = tuple(field.name for field in dataclasses.fields(Video))
COLUMNS = ("path", "start_s", *_FIELDS)
"""The file in the layout; where its first frame lies in the source; all that is known of the source."""
_COUNTS = ("size_bytes", "width_px", "height_px", "num_frames")
_TEXTS_OR_NONE = ("licence", "attribution", "caption")
_FPS = re.compile(r"[0-9]{1,9}(/[0-9]{1,9})?")
"""Of 1e999999999 a Fraction would never be done."""
_MAX_COUNT, _MAX_S = 2**53, 1e5
_OPTIONAL = "as `vpdata export` writes it; the file is optional: move it away, then each file is its own source"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a video file of the layout was cut from."""

    source: Source
    start_s: float = 0.0
    """Its first frame, in the source."""
    video: Video | None = None
    """The source as it was found; None: the file is the source."""

    def time_s(self, frame: int, fps: Fraction) -> float:
        """Of a frame of the file, in the source."""
        return self.start_s + float(frame / fps)


def row_of(name: str, clip: Clip) -> tuple[str | int | float | None, ...]:
    """The line of a clip that is exported under this name, in the order of `COLUMNS`."""
    video = codec.to_builtins(clip.video)
    return (name, clip.start_s, *(video[field] for field in _FIELDS))


def read_origins(root: Path) -> dict[str, Origin]:
    """By the file's name; {} where the folder has no `sources.csv`, as the published one. ConfigError names a bad line.

    Nobody vouches for the file: of one id all lines must say the same.
    """
    path = root / SOURCES_CSV
    if not path.is_file():
        return {}
    origins: dict[str, Origin] = {}
    videos: dict[str, Video | None] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            table = csv.DictReader(file, restval="")
            if missing := set(COLUMNS) - set(table.fieldnames or ()):
                raise ConfigError(
                    f"{path}: got no column {', '.join(sorted(missing))}; wanted {', '.join(COLUMNS)}, {_OPTIONAL}"
                )
            for row in table:
                where = f"{path}:{table.line_num}"
                origin = _origin(row, where)
                if videos.setdefault(origin.source.id, origin.video) != origin.video:
                    raise ConfigError(f"{where}: the video {origin.source.id} is described before as another")
                if origins.setdefault(row["path"], origin) != origin:
                    raise ConfigError(f"{where}: {row['path']!r} is listed before as cut from elsewhere")
    except (csv.Error, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: got no readable CSV ({error}), wanted UTF-8 with commas, {_OPTIONAL}") from error
    return origins


def _origin(row: Mapping[str, str], where: str) -> Origin:
    try:
        facts: dict[str, object] = {name: row[name] for name in _FIELDS}
        facts |= {name: int(row[name]) for name in _COUNTS} | {"duration_s": float(row["duration_s"])}
        facts |= {name: row[name] or None for name in _TEXTS_OR_NONE}
        if not _FPS.fullmatch(row["fps"]):
            raise ValueError(f"got fps {row['fps'][:40]!r}")
        video, start_s = codec.from_builtins(facts, Video), float(row["start_s"])
    except (ValueError, msgspec.ValidationError) as error:
        raise ConfigError(f"{where}: {error}; wanted a line as `vpdata export` writes it") from error
    wanted = {
        f"an id of lower-case letters, digits and hyphens, at most {MAX_VIDEO_ID_CHARS}": (
            is_valid_id(video.id) and len(video.id) <= MAX_VIDEO_ID_CHARS
        ),
        "a uri": bool(video.uri) and "\0" not in video.uri,
        "counts above 0": all(0 < getattr(video, name) < _MAX_COUNT for name in _COUNTS),
        "fps above 0": video.fps > 0,
        "seconds from 0 on": 0 <= start_s < _MAX_S and 0 < video.duration_s < _MAX_S,
        "a content_hash of 64 hex digits": re.fullmatch("[0-9a-f]{64}", video.content_hash) is not None,
    }
    if unmet := [what for what, is_met in wanted.items() if not is_met]:
        raise ConfigError(f"{where}: got {str(dict(row))[:500]}, wanted {'; '.join(unmet)}")
    source = Source(**{field.name: getattr(video, field.name) for field in dataclasses.fields(Source)})
    return Origin(source=source, start_s=start_s, video=video)
