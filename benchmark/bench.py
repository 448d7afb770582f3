"""A benchmark: cases with their frames and masks, whatever the layout that they are stored in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec
import numpy as np
import pyarrow as pa
import yaml
from numpy.typing import NDArray

from vpdata import codec
from vpdata.config import fill
from vpdata.dataset.run import check_version, read_table
from vpdata.errors import RunError
from vpdata.inpaint.fit import Size, scale_frames, scale_masks
from vpdata.media.clips import ClipReader
from vpdata.media.masks import Mask, decode_mask
from vpdata.records import is_valid_id
from vpdata.storage import Folder

Subset = Literal["S", "L", "edit-S", "edit-L", "davis"]
Category = Literal["object", "human", "animal", "landscape", "multi", "any"]
"""Of what is under a mask; "any" in layouts of others, which do not say."""
Operation = Literal["add", "remove", "swap", "change"]

FACTS, CASES = "bench.yaml", "cases.parquet"
EXPORT = "export"
"""Folder of the same in the published layout."""
SPLIT = "split.parquet"
"""The split that was written with it, so that another run can be held apart from it too."""
LONG: tuple[Subset, ...] = ("L", "edit-L")
"""Subsets whose cases are used at their whole length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One video with one region to fill or to edit."""

    id: str
    """Lower-case letters, digits and hyphens; unique in the benchmark."""
    subset: Subset
    category: Category
    clip_id: str
    """The clip of the run; for a long case `vpdata.records.clip_id` of the span that was cut again."""
    start_frame: int = 0
    """Frame of that clip, or of a published video, which is frame 0 here."""
    video_id: str
    num_frames: int
    """As stored, and so are rate and size."""
    fps: Fraction
    width_px: int
    height_px: int
    sha256: str | None = None
    """Of the mp4, 64 hex digits; in layouts of others `sha256_of` the video's files."""
    mask_sha256: str | None = None
    """Of the mask's file, alike; None where the mask is drawn."""
    tracks: tuple[int, ...] = ()
    """Ids of the tracks that the mask is the union of; () for a region of no object."""
    caption: str
    """Of the whole video as it is."""
    object_caption: str
    """Of what is under the mask; "" for a drawn region of the background, of which nobody has said what is there."""
    operation: Operation | None = None
    """Of an edit; None in layouts of others, which do not say."""
    instruction: str | None = None
    """Of an edit, and so are the next two; None for filling."""
    target_caption: str | None = None
    """Of the whole video as it should be."""
    target_object: str | None = None
    """Of what should be under the mask."""

    @property
    def is_edit(self) -> bool:
        """Whether what is under the mask is to become something else, so that nothing tells what is true there."""
        return self.instruction is not None

    @property
    def prompt(self) -> str:
        """What a method is told of the whole video."""
        return self.caption if self.target_caption is None else self.target_caption

    @property
    def object_prompt(self) -> str:
        """What should be seen in the masked region; "" where no words are about it."""
        return self.object_caption if self.target_object is None else self.target_object

    @property
    def region_prompt(self) -> str:
        """What a method is told of the masked region: where no words are about it, those about the whole video."""
        return self.object_prompt.strip() or self.prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Which frames of a case are used, and at what size: the same for every method and every metric."""

    fps: Fraction | None = None
    """Frames a second, picked by time; never more than are stored. None: as stored."""
    height_px: int | None = None
    """None: as stored, and so is the width."""
    width_px: int | None = None
    num_frames: int | None = 49
    """Most frames of a short case, from its start; None: all. Long cases keep their whole length."""

    def __post_init__(self) -> None:
        if (self.height_px is None) != (self.width_px is None):
            raise ValueError(f"got height_px {self.height_px} and width_px {self.width_px}, wanted both or neither")
        for name in ("fps", "height_px", "width_px", "num_frames"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"got {name} {value}, wanted more than 0")

    def frames_of(self, case: Case) -> tuple[int, ...]:
        """Indices of the stored frames that are used: the nearest in time, half way the later one, none twice."""
        step = max(Fraction(1), case.fps / self.fps) if self.fps else Fraction(1)
        limit = None if case.subset in LONG else self.num_frames
        num_frames = int((case.num_frames - 1) / step) + 1
        num_frames = num_frames if limit is None else min(num_frames, limit)
        return tuple(int(index * step + Fraction(1, 2)) for index in range(num_frames))

    def fps_of(self, case: Case) -> Fraction:
        """Rate of the frames that are used."""
        return min(case.fps, self.fps) if self.fps else case.fps


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """A case as methods get it and metrics compare it."""

    frames: NDArray[np.uint8]
    """uint8 [T, H, W, 3] RGB, with what lies under the mask."""
    masks: NDArray[np.bool_]
    """bool [T, H, W]: True is to be filled."""
    fps: Fraction


class Media(Protocol):
    """Frames and masks of cases in one layout, RunError or StorageError where they cannot be read. Picklable."""

    def frames(self, case: Case, indices: Sequence[int]) -> NDArray[np.uint8]:
        """uint8 [N, H, W, 3] RGB of stored frames, rising indices."""
        ...

    def masks(self, case: Case, indices: Sequence[int]) -> NDArray[np.bool_]:
        """bool [N, H, W] at the stored size."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Cases in the order of their ids, and how they are read. Picklable."""

    name: str
    cases: tuple[Case, ...]
    sampling: Sampling = field(default_factory=Sampling)
    media: Media

    def case(self, case_id: str) -> Case:
        """The case of an id; KeyError where there is none."""
        for case in self.cases:
            if case.id == case_id:
                return case
        raise KeyError(f"got the case {case_id!r}, which is none of the {len(self.cases)} of {self.name}")

    def frames(self, case: Case) -> NDArray[np.uint8]:
        """All stored frames, uint8 [T, H, W, 3] RGB. Errors as of `Media`."""
        return self.media.frames(case, range(case.num_frames))

    def masks(self, case: Case) -> NDArray[np.bool_]:
        """The mask on all stored frames, bool [T, H, W]. Errors as of `Media`."""
        return self.media.masks(case, range(case.num_frames))

    def shape(self, case: Case) -> tuple[int, int, int]:
        """Frames, height and width of what `sampled` gives, without reading it."""
        sampling = self.sampling
        num_frames = len(sampling.frames_of(case))
        return num_frames, sampling.height_px or case.height_px, sampling.width_px or case.width_px

    def sampled(self, case: Case) -> Sampled:
        """What a method gets of the case, and what its result is compared with. Errors as of `Media`."""
        indices = self.sampling.frames_of(case)
        frames, masks = self.media.frames(case, indices), self.media.masks(case, indices)
        if self.sampling.height_px is not None and self.sampling.width_px is not None:
            size = Size(height_px=self.sampling.height_px, width_px=self.sampling.width_px)
            frames, masks = scale_frames(frames, size), scale_masks(masks, size)
        return Sampled(frames=frames, masks=masks, fps=self.sampling.fps_of(case))


@dataclass(frozen=True, slots=True, kw_only=True)
class _MaskFile:
    """Content of `masks/<case id>.json`."""

    size: tuple[int, int]
    """Height, width."""
    counts: tuple[str | None, ...]
    """Per stored frame a compressed COCO RLE; None where nothing is masked."""


@dataclass(frozen=True, slots=True)
class FolderMedia:
    """`videos/<case id>.mp4` and `masks/<case id>.json` of a benchmark's folder."""

    folder: Folder

    def frames(self, case: Case, indices: Sequence[int]) -> NDArray[np.uint8]:
        try:
            reader = ClipReader(self.folder.read(video_file(case.id)), sha256=case.sha256)
            return reader.read(indices)
        except (IndexError, RunError) as error:
            raise RunError(f"{self.folder.uri}/{video_file(case.id)}: {error}; make the benchmark again") from error

    def masks(self, case: Case, indices: Sequence[int]) -> NDArray[np.bool_]:
        return np.stack(list(self.each_mask(case, indices)))

    def each_mask(self, case: Case, indices: Sequence[int]) -> Iterator[Mask]:
        """As `masks`, one at a time."""
        name = mask_file(case.id)
        data = self.folder.read(name)
        try:
            if case.mask_sha256 not in (None, hashlib.sha256(data).hexdigest()):
                raise ValueError("it has other bytes than were written")
            stored = codec.from_json(data, _MaskFile)
            if (stored.size, len(stored.counts)) != ((case.height_px, case.width_px), case.num_frames):
                raise ValueError(
                    f"got {len(stored.counts)} masks of {stored.size[1]}x{stored.size[0]} px, wanted "
                    f"{case.num_frames} of {case.width_px}x{case.height_px}"
                )
            for index in indices:
                yield decode_mask(stored.counts[index], height_px=case.height_px, width_px=case.width_px)
        except (msgspec.MsgspecError, ValueError) as error:
            raise RunError(f"{self.folder.uri}/{name}: {error}; make the benchmark again") from error


def open_bench(uri: str | Path) -> Bench:
    """A benchmark that `python -m benchmark make` wrote. RunError where the folder is none."""
    folder = Folder(uri)
    facts = _facts(folder)
    return Bench(
        name=str(facts["name"]),
        cases=_cases(folder),
        sampling=fill(Sampling, facts["sampling"], where=f"{folder.uri}/{FACTS}: sampling"),
        media=FolderMedia(folder),
    )


def _facts(folder: Folder) -> Mapping[str, Any]:
    """What `bench.yaml` says."""
    if not folder.exists(FACTS):
        raise RunError(f"{folder.uri} is no benchmark: it holds no {FACTS}; run `python -m benchmark make` first")
    try:
        facts = yaml.safe_load(folder.read(FACTS))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RunError(f"{folder.uri}/{FACTS} is damaged: {error}; make the benchmark again") from error
    if not isinstance(facts, dict) or "sampling" not in facts or not is_valid_id(str(facts.get("name", ""))):
        raise RunError(
            f"{folder.uri}/{FACTS} is damaged: wanted a name of lower-case letters, digits and hyphens, and sampling; "
            "make the benchmark again"
        )
    return facts


def _cases(folder: Folder) -> tuple[Case, ...]:
    where = f"{folder.uri}/{CASES}"
    table = read_table(folder, CASES, remedy="make the benchmark again")
    check_version(table.schema, where=where)
    try:
        cases = tuple(codec.from_table(table, Case))
    except msgspec.MsgspecError as error:
        raise RunError(f"{where} is damaged: {error}; make the benchmark again") from error
    for case in cases:
        # Ids become names of files.
        if not is_valid_id(case.id) or case.sha256 is None or case.mask_sha256 is None:
            raise RunError(
                f"{where}: the case {case.id!r} has no hash of its video or its mask, or an id of other signs than "
                "lower-case letters, digits and hyphens; make the benchmark again"
            )
    return cases


def cases_table(cases: Sequence[Case]) -> pa.Table:
    """Content of `cases.parquet`, in the order of the ids."""
    rows = sorted(cases, key=lambda case: case.id)
    return codec.to_table(rows, Case)


def sha256_of(files: Iterable[Path]) -> str:
    """64 hex digits of the SHA-256 of files, in their order. RunError where one cannot be read."""
    digest = hashlib.sha256()
    for path in files:
        try:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise RunError(f"cannot read {path}: {error.strerror}") from error
    return digest.hexdigest()


def mask_json(counts: Sequence[str | None], *, height_px: int, width_px: int) -> bytes:
    """Content of a mask file."""
    return codec.to_json(_MaskFile(size=(height_px, width_px), counts=tuple(counts)))


def video_file(case_id: str) -> str:
    return f"videos/{case_id}.mp4"


def mask_file(case_id: str) -> str:
    return f"masks/{case_id}.json"
