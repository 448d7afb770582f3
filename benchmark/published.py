"""VPBench as it was published, read as it is: CSVs, videos at their own size and rate, label maps."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from benchmark.bench import Bench, Case, Category, Operation, Sampling, Subset, sha256_of
from vpdata.dataset import videopainter_files as files
from vpdata.dataset.label_maps import LabelMaps
from vpdata.errors import ConfigError, RejectItem, RunError
from vpdata.media.normalise import UprightRgb
from vpdata.media.video import StoredFrames, snapped

CSV_OF: dict[Subset, str] = {
    "S": "our_video_inpaint.csv",
    "L": "our_video_inpaint_long.csv",
    "edit-S": "our_video_edit.csv",
    "edit-L": "our_video_edit_long.csv",
}
FILL_COLUMNS = ("video_inpainting_prompt", "image_inpainting_prompt")
EDIT_COLUMNS = ("Original_video_caption", "Edited_video_caption", "Edited_image_caption", "Editing_instruction")
MASK_ID = 1
"""Of the one mask of a video that is written here."""
SAMPLING = Sampling(fps=Fraction(8), height_px=480, width_px=720, num_frames=49)
"""What the published code evaluates at."""
_SPAN_COLUMNS = ("path", "mask_id", "start_frame", "end_frame", "fps")
_MAX_PIXELS = 8192 * 4320
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of a CSV, checked."""

    name: str
    mask_id: int


@dataclass(frozen=True, slots=True)
class PublishedMedia:
    """Videos and label maps below the published `data/`."""

    root: Path
    rows: Mapping[str, _Row]
    """By case id."""

    def video(self, case: Case) -> Path:
        """The whole video that the case is a span of."""
        return self.root / files.video_uri(self.rows[case.id].name)

    def frames(self, case: Case, indices: Sequence[int]) -> NDArray[np.uint8]:
        path = self.video(case)
        wanted = {case.start_frame + index for index in indices}
        found = [frame for number, frame in _frames(path, stop=max(wanted) + 1) if number in wanted]
        if len(found) < len(wanted):
            raise RunError(f"{path}: got {len(found)} of the {len(wanted)} frames up to {max(wanted)}: it ends before")
        if found[0].shape[:2] != (case.height_px, case.width_px):
            got = f"{found[0].shape[1]}x{found[0].shape[0]}"
            raise RunError(f"{path}: got a video of {got} px, wanted {case.width_px}x{case.height_px} as its masks")
        return np.stack(found)

    def masks(self, case: Case, indices: Sequence[int]) -> NDArray[np.bool_]:
        row = self.rows[case.id]
        wanted = {case.start_frame + index for index in indices}
        first, stop = min(wanted), max(wanted) + 1
        try:
            maps = enumerate(LabelMaps(self.root / files.masks_uri(row.name)).read(first, stop), start=first)
            return np.stack([labels == row.mask_id for number, labels in maps if number in wanted])
        except RejectItem as error:
            raise RunError(f"{self.root}/{files.masks_uri(row.name)}: {error.detail}") from error
        except OSError as error:
            raise RunError(f"cannot read {self.root}/{files.masks_uri(row.name)}: {error.strerror}") from error


def open_published(root: str | Path, *, sampling: Sampling = SAMPLING) -> Bench:
    """The cases of all four CSVs that are there. `root` is the folder `data/` of the published code.

    Every file is read once, for its hash. ConfigError where there is none, and with the names of all files that are
    missing: an average over fewer cases would not be that of the benchmark.
    """
    root = Path(root)
    found: dict[Subset, Path] = {subset: root / name for subset, name in CSV_OF.items() if (root / name).is_file()}
    if not found:
        raise ConfigError(f"{root}: got none of {', '.join(CSV_OF.values())}; wanted the published folder data/")
    cases: dict[str, Case] = {}
    rows: dict[str, _Row] = {}
    missing: list[str] = []
    # Several masks and spans share a video.
    hash_of = cache(sha256_of)
    for subset, path in found.items():
        for where, data in _lines(path):
            row = _row(data, where)
            try:
                video, masks = (files.existing(root, uri(row.name)) for uri in (files.video_uri, files.masks_uri))
                maps = LabelMaps(masks)
            except RejectItem as error:
                missing.append(f"{where}: {error.detail}")
                continue
            case = replace(
                _case(subset, row, data, maps, where), sha256=hash_of((video,)), mask_sha256=hash_of((masks,))
            )
            if cases.get(case.id, case) != case:
                raise ConfigError(f"{where}: the case is listed before as another: {row.name}, mask {row.mask_id}")
            cases[case.id], rows[case.id] = case, row
    if missing:
        shown = "; ".join(missing[:5])
        raise ConfigError(f"{root}: {len(missing)} rows cannot be used, wanted all: {shown}")
    return Bench(
        name="published",
        cases=tuple(cases[name] for name in sorted(cases)),
        sampling=sampling,
        media=PublishedMedia(root, rows),
    )


def _lines(path: Path) -> Iterator[tuple[str, Mapping[str, str]]]:
    columns = (*_SPAN_COLUMNS, *(EDIT_COLUMNS if "edit" in path.name else FILL_COLUMNS))
    try:
        with path.open(newline="", encoding="utf-8") as file:
            table = csv.DictReader(file)
            if lacking := [column for column in columns if column not in (table.fieldnames or ())]:
                raise ConfigError(f"{path}: got no column {', '.join(lacking)}; wanted {', '.join(columns)}")
            for data in table:
                yield f"{path.name}:{table.line_num}", {name: value or "" for name, value in data.items() if name}
    except (csv.Error, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: got no readable CSV ({error}), wanted UTF-8 with commas") from error


def _row(data: Mapping[str, str], where: str) -> _Row:
    if not files.NAME.fullmatch(data["path"]):
        raise ConfigError(f"{where}: got the path {data['path'][:200]!r}, wanted 12 digits .. .mp4")
    return _Row(data["path"], _whole(data, "mask_id", where))


def _case(subset: Subset, row: _Row, data: Mapping[str, str], maps: LabelMaps, where: str) -> Case:
    start, end = _whole(data, "start_frame", where), _whole(data, "end_frame", where, lowest=-maps.num_frames)
    # The published code slices, so an end may lie behind the last frame, or count from it.
    stop = slice(start, end).indices(maps.num_frames)[1]
    if start >= stop:
        raise ConfigError(f"{where}: got frames {start} to {end}, wanted a span of the {maps.num_frames} label maps")
    if stop != end:
        _log.warning(
            "%s: of %d label maps the frames %d to %d are %d to %d", where, maps.num_frames, start, end, start, stop
        )
    try:
        fps = snapped(Fraction(data["fps"]).limit_denominator(1001))
    except (ValueError, ZeroDivisionError) as error:
        raise ConfigError(f"{where}: got fps {data['fps']!r}, wanted a number") from error
    stem = row.name.removesuffix(".mp4").replace(".", "-").replace("_", "-").lower()
    is_edit = "edit" in subset
    original, edited, region, instruction = (data.get(column, "") for column in EDIT_COLUMNS)
    return Case(
        id=f"{subset.lower()}-{stem}-{start}-{row.mask_id}",
        subset=subset,
        category=cast(Category, data.get("category") or "any"),
        clip_id=f"{stem}-{start}-{stop}",
        start_frame=start,
        video_id=stem,
        num_frames=stop - start,
        fps=fps,
        width_px=maps.width_px,
        height_px=maps.height_px,
        tracks=(row.mask_id,),
        caption=original if is_edit else data[FILL_COLUMNS[0]],
        # Of an edit the layout says only what should be under the mask.
        object_caption="" if is_edit else data[FILL_COLUMNS[1]],
        operation=cast(Operation, data.get("operation") or None),
        instruction=instruction if is_edit else None,
        target_caption=edited if is_edit else None,
        target_object=region if is_edit else None,
    )


def _whole(data: Mapping[str, str], column: str, where: str, *, lowest: int = 0) -> int:
    try:
        value = float(data[column])
        if not value.is_integer() or not lowest <= value < 1e9:
            raise ValueError
    except ValueError as error:
        raise ConfigError(f"{where}: got {column} {data[column]!r}, wanted a whole number from {lowest} on") from error
    return int(value)


def _frames(path: Path, *, stop: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Number and uint8 [H, W, 3] RGB of each frame before `stop`, as stored and upright."""
    source = StoredFrames(path, max_pixels=_MAX_PIXELS)
    upright: UprightRgb | None = None
    number = 0
    try:
        for frame in source:
            upright = upright or UprightRgb(frame)
            for rgb in upright.push(frame):
                yield number, np.asarray(rgb.to_ndarray(), dtype=np.uint8)
                number += 1
            if number >= stop:
                return
        for rgb in upright.flush() if upright else ():
            yield number, np.asarray(rgb.to_ndarray(), dtype=np.uint8)
            number += 1
    except RejectItem as error:
        raise RunError(f"{path}: {error.detail}") from error
    if source.damage:
        raise RunError(f"{path}: {source.damage} after frame {number - 1}")
