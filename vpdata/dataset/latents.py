"""Encoded latents on disk: which windows of which clips lie where, and how they are written and read."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import pyarrow as pa
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor

from vpdata import __version__, codec
from vpdata.config import fill
from vpdata.dataset import layout
from vpdata.dataset.run import check_version, in_order, parquet_bytes, read_table
from vpdata.dataset.shards import Member, TarWriter
from vpdata.dataset.tensor_files import tensor_bytes, tensor_views
from vpdata.errors import RunError
from vpdata.storage import Folder

BoolArray = NDArray[np.bool_]
WindowName = Literal["first", "last", "target", "source"]
CLIP_TEXT = "clip"
"""Name of the clip's caption among the texts; an object's is its track's id."""
_TEXT_MEMBER = "text.safetensors"
_ROWS_PER_GROUP = 4096
_ALIGNMENT = 16
"""Bytes; torch refuses views whose start does not divide by the size of their items."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentFacts:
    """What latents were made with, as far as a reader must know it."""

    fingerprint: str
    """Of the VAE and the text encoder: 16 hex digits, see `vpdata.backbones.loading.fingerprint`."""
    family: str
    latent_channels: int
    stride_t: int
    """Video frames per latent frame, the first of which stands alone."""
    stride_px: int
    """Pixels per latent cell, in height and width."""
    text_dim: int
    takes_first_frame: bool
    """Whether a window carries its first frame, as an image-to-video backbone wants it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedWindow:
    """One window of a clip, encoded by one call of the VAE."""

    clip_id: str
    video_id: str
    name: WindowName
    start_frame: int
    """Of the clip; the others are those nearest in time at `fps`."""
    fps: Fraction
    """Frame rate of the window."""
    num_frames: int
    """4k + 1 for a VAE that joins 4 frames."""
    height_px: int
    width_px: int
    num_variants: int
    """Masks that were drawn; the lists below have one entry for each."""
    hole_fracs: tuple[float, ...]
    """Share of the window's pixels in the hole."""
    variant_kinds: tuple[str, ...]
    """Kind of the mask, as `vpdata.media.mask_mix` names it."""
    variant_tracks: tuple[tuple[int, ...], ...]
    """Ids of the tracks it was made of, rising."""
    pair: WindowName | None = None
    """The other window of an ID pair: "target" or "source"; their variants k show the same track."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentWindow(EncodedWindow):
    """One row of the index."""

    shard: str
    """Name of its tar; of several folders opened as one, behind its folder's number: `1/latents-000000.tar`."""
    offset: int
    """Of the window's member in the shard."""
    num_bytes: int
    text_offset: int
    """Of the clip's texts, in the same shard."""
    text_num_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedClip:
    """What encoding leaves of a clip: a row of the part."""

    id: str
    windows: tuple[EncodedWindow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenFrame:
    """The first frame of a window for an image-to-video backbone, as its codec encodes it; no batch axis."""

    latents: Tensor
    """[C', F', h, w]"""
    image_tokens: Tensor | None = None
    """[257, D] (Wan 2.1)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentSample:
    """One window as it was encoded. Tensors are bfloat16 views of one buffer."""

    video: Tensor
    """[C, F', h, w]"""
    masked: list[Tensor]
    """Per variant [C, F', h, w]: the video with its hole grey; empty for the source of an ID pair."""
    texts: dict[str, Tensor]
    """[L, D] per caption: `CLIP_TEXT` and ids of tracks."""
    first_frame: GivenFrame | None
    size: tuple[int, int, int]
    """Latent frames, and height and width in pixels: the shape of a union."""
    packed_unions: list[Tensor] = field(repr=False)
    """Per variant the bits of its union as uint8."""

    def union(self, variant: int) -> BoolArray:
        """bool [F', H, W]: the hole in pixels, over the frames behind each latent frame."""
        bits = np.unpackbits(self.packed_unions[variant].numpy(), count=int(np.prod(self.size)))
        return bits.view(np.bool_).reshape(self.size)

    @property
    def unions(self) -> list[BoolArray]:
        """Of all variants, unpacked at each call."""
        return [self.union(variant) for variant in range(len(self.packed_unions))]


def window_member(
    *, video: Tensor, masked: Sequence[Tensor], unions: Sequence[BoolArray], first_frame: GivenFrame | None
) -> bytes:
    """The file of a window; shapes as in `LatentSample`."""
    tensors = {"video": video.to(torch.bfloat16)}
    tensors |= {f"masked.{variant}": one.to(torch.bfloat16) for variant, one in enumerate(masked)}
    tensors |= {f"unions.{variant}": torch.from_numpy(np.packbits(one)) for variant, one in enumerate(unions)}
    if first_frame is not None:
        tensors["first_frame.latents"] = first_frame.latents.to(torch.bfloat16)
        if first_frame.image_tokens is not None:
            tensors["first_frame.image_tokens"] = first_frame.image_tokens.to(torch.bfloat16)
    return tensor_bytes(tensors)


def clip_members(windows: Mapping[WindowName, bytes], texts: Mapping[str, Tensor]) -> dict[str, bytes]:
    """Suffix to content of all members of a clip: its windows, and `texts` ([L, D] each)."""
    text = tensor_bytes({name: one.to(torch.bfloat16) for name, one in texts.items()})
    return {f"{name}.safetensors": content for name, content in windows.items()} | {_TEXT_MEMBER: text}


def write_index(root: Folder, part: str, clips: Sequence[EncodedClip], members: Sequence[Member]) -> None:
    """The index of one shard, whose tar is whole."""
    places = {(member.clip_id, member.suffix): member for member in members}
    rows = []
    for clip in clips:
        text = places[clip.id, _TEXT_MEMBER]
        for window in clip.windows:
            member = places[clip.id, f"{window.name}.safetensors"]
            facts = {item.name: getattr(window, item.name) for item in dataclasses.fields(EncodedWindow)}
            row = LatentWindow(
                **facts,
                shard=layout.tar_file(part),
                offset=member.offset,
                num_bytes=member.num_bytes,
                text_offset=text.offset,
                text_num_bytes=text.num_bytes,
            )
            rows.append(row)
    table = codec.to_table(rows, LatentWindow)
    content = parquet_bytes(table, rows_per_group=_ROWS_PER_GROUP)
    root.child(layout.INDEX).write(layout.records_file(part), content)


def write_facts(root: Folder, facts: LatentFacts, *, num_shards: int, config: Mapping[str, Any]) -> None:
    """The file that makes a folder one of latents; `config` is kept as it is."""
    content = {"vpdata_version": __version__, "num_shards": num_shards, "facts": dataclasses.asdict(facts)}
    text = yaml.safe_dump(content | {"config": dict(config)}, sort_keys=False, allow_unicode=True)
    root.write(layout.LATENTS_CONFIG, text.encode())


def write_latents(
    uri: str | Path,
    facts: LatentFacts,
    clips: Sequence[tuple[EncodedClip, Mapping[str, bytes]]],
    *,
    clips_per_shard: int = 32,
) -> None:
    """A whole folder of latents at once, from clips and what `clip_members` gave for each."""
    root = Folder(uri)
    firsts = range(0, len(clips), clips_per_shard)
    for shard, first in enumerate(firsts):
        part, members = layout.latents_part(shard), []
        chosen = clips[first : first + clips_per_shard]
        with root.child(layout.SHARDS).writing(layout.tar_file(part)) as path, path.open("wb") as file:
            tar = TarWriter(file)
            for clip, contents in chosen:
                members += [tar.add(clip.id, suffix, contents[suffix]) for suffix in sorted(contents)]
            tar.finish()
        write_index(root, part, [clip for clip, _ in chosen], members)
    write_facts(root, facts, num_shards=len(firsts), config={})


def open_latents(uri: str | Path, *, fingerprint: str | None = None) -> LatentDataset:
    """The latents in a folder, local or on any store of `Folder`; reads only the index.

    RunError where there are none, where encoding has not finished, or where they were made with a VAE or a text encoder
    of another `fingerprint`.
    """
    root = Folder(uri)
    facts, num_shards = _read_config(root)
    if fingerprint not in (None, facts.fingerprint):
        raise RunError(
            f"{uri}: got latents of the fingerprint {facts.fingerprint}, wanted {fingerprint}: they were made with the "
            "VAE or the text encoder of another backbone; give that backbone, or encode again"
        )
    folder = root.child(layout.INDEX)
    names = folder.names(".parquet")
    if len(names) != num_shards:
        raise RunError(
            f"{uri}: got the index of {len(names)} shards, wanted {num_shards}; run the same `vpdata encode` again"
        )
    tables = list(in_order(partial(_read_index, folder), names))
    table = pa.concat_tables(tables) if tables else codec.schema_of(LatentWindow).empty_table()
    return LatentDataset([root.child(layout.SHARDS)], facts, table)


def read_facts(uri: str | Path) -> LatentFacts:
    """What the latents in a folder were made with; RunError where there are none."""
    return _read_config(Folder(uri))[0]


def _read_config(root: Folder) -> tuple[LatentFacts, int]:
    """What they were made with, and the number of shards."""
    if not root.exists(layout.LATENTS_CONFIG):
        raise RunError(
            f"{root.uri} holds no {layout.LATENTS_CONFIG}; give the folder that `vpdata encode --output` wrote"
        )
    config = yaml.safe_load(root.read(layout.LATENTS_CONFIG))
    facts = fill(LatentFacts, config["facts"], where=f"{root.uri}/{layout.LATENTS_CONFIG}: facts")
    return facts, config["num_shards"]


def _read_index(folder: Folder, name: str) -> pa.Table:
    table = read_table(folder, name, remedy="remove it and run the same `vpdata encode` again")
    check_version(table.schema, where=f"{folder.uri}/{name}")
    return table.replace_schema_metadata()


class Windows(Sequence[LatentWindow]):
    """Rows of the index, made when they are asked for: a million of them as objects take a gigabyte."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __len__(self) -> int:
        return self.table.num_rows

    @overload
    def __getitem__(self, position: int) -> LatentWindow: ...
    @overload
    def __getitem__(self, position: slice) -> Windows: ...
    def __getitem__(self, position: int | slice) -> LatentWindow | Windows:
        if isinstance(position, slice):
            return Windows(self.table.take(pa.array(range(*position.indices(len(self))), pa.int64())))
        if not -len(self) <= position < len(self):
            raise IndexError(f"got window {position} of {len(self)}")
        return next(codec.from_table(self.table.slice(position % len(self), 1), LatentWindow))

    def __iter__(self) -> Iterator[LatentWindow]:
        return codec.from_table(self.table, LatentWindow)


class LatentDataset:
    """Windows in the order of their clips' ids, fetched when they are asked for. Picklable."""

    def __init__(self, shards: Sequence[Folder], facts: LatentFacts, table: pa.Table) -> None:
        """`shards`: where the tars lie; of more than one folder, see `LatentWindow.shard`."""
        self.shards = tuple(shards)
        self.facts = facts
        self.windows = Windows(table.combine_chunks())

    @property
    def fingerprint(self) -> str:
        return self.facts.fingerprint

    def read(self, window: LatentWindow) -> LatentSample:
        """All of a window: one ranged read for its tensors and one for its clip's texts.

        RunError where the shard does not hold what the index says.
        """
        # One array for both: from 4 MB on numpy asks for huge pages, which halves the CPU of filling fresh memory.
        texts_start = -(-window.num_bytes // _ALIGNMENT) * _ALIGNMENT
        memory = np.empty(texts_start + window.text_num_bytes, dtype=np.uint8).data
        tensors = self._read(window, window.offset, memory[: window.num_bytes])
        texts = self._read(window, window.text_offset, memory[texts_start:])
        num_masked = sum(name.startswith("masked.") for name in tensors)
        num_unions = sum(name.startswith("unions.") for name in tensors)
        if "video" not in tensors or num_unions != window.num_variants or num_masked not in (0, num_unions):
            raise RunError(f"{self._where(window)}: got the tensors {sorted(tensors)}, which are not those of a window")
        given = None
        if "first_frame.latents" in tensors:
            tokens = tensors.get("first_frame.image_tokens")
            given = GivenFrame(latents=tensors["first_frame.latents"], image_tokens=tokens)
        return LatentSample(
            video=tensors["video"],
            masked=[tensors[f"masked.{variant}"] for variant in range(num_masked)],
            texts=texts,
            first_frame=given,
            size=(tensors["video"].shape[1], window.height_px, window.width_px),
            packed_unions=[tensors[f"unions.{variant}"] for variant in range(num_unions)],
        )

    def _read(self, window: LatentWindow, offset: int, memory: memoryview) -> dict[str, Tensor]:
        folder, tar = self._place(window)
        folder.read_into(tar, offset, memory)
        return tensor_views(memory, where=self._where(window))

    def _where(self, window: LatentWindow) -> str:
        folder, tar = self._place(window)
        return f"{folder.uri}/{tar}: {window.clip_id} {window.name}"

    def _place(self, window: LatentWindow) -> tuple[Folder, str]:
        number, _, tar = window.shard.rpartition("/")
        return self.shards[int(number or 0)], tar
