"""Turns decoded frames of any kind into upright, square-pixel, progressive BT.709 yuv420p frames of one size."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.filter import Graph
from av.filter.context import FilterContext
from av.video.reformatter import ColorRange, Colorspace, ColorTrc, Interpolation, VideoReformatter
from numpy.typing import NDArray

_BT709 = 1
_BT470BG = 5
BT601 = 6
"""AVColorSpace of standard definition."""
# AVColorSpace to the names of the scale filter.
_MATRICES = {1: "bt709", 4: "fcc", 5: "bt470", 6: "smpte170m", 7: "smpte240m", 9: "bt2020"}
# AVColorPrimaries that reach well beyond BT.709, to the names of the colorspace filter.
_WIDE_PRIMARIES = {9: "bt2020", 11: "smpte431", 12: "smpte432"}
# Bit-exact, so that every CPU gives the same clip. Where the matrix changes, only the way through full chroma rounds
# right, for a third more time: without it grey 126 becomes 124.
_SCALE_FLAGS = "bicubic+full_chroma_int+accurate_rnd+bitexact"
_REPEAT_FLAGS = "neighbor+full_chroma_int+accurate_rnd+bitexact"


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """How the stored frames of a source are to be shown."""

    width_px: int
    """As displayed: after rotation and with square pixels."""
    height_px: int
    stored_width_px: int
    """Of the pixels as they are stored, after rotation: another width, or height, where they are not square."""
    stored_height_px: int
    quarter_turns: int
    """Counter-clockwise turns by 90 degrees that put the stored frame upright, 0 to 3."""
    is_mirrored: bool = False
    """Left and right change places after the turns."""

    @classmethod
    def of(cls, frame: av.VideoFrame, sample_aspect_ratio: Fraction | None) -> Geometry:
        """From the first decoded frame and the stream's pixel aspect ratio (None or 0: square)."""
        stored = width, height = frame.width, frame.height
        if sample_aspect_ratio:
            width = max(1, round(width * sample_aspect_ratio))
        quarter_turns, is_mirrored = _orientation(frame)
        if quarter_turns % 2:
            width, height, stored = height, width, stored[::-1]
        return cls(
            width_px=width,
            height_px=height,
            stored_width_px=stored[0],
            stored_height_px=stored[1],
            quarter_turns=quarter_turns,
            is_mirrored=is_mirrored,
        )


def _orientation(frame: av.VideoFrame) -> tuple[int, bool]:
    """`quarter_turns` and `is_mirrored` from the display matrix, by which (x, y) is shown at (a x + c y, b x + d y)."""
    if "DISPLAYMATRIX" not in frame.side_data:
        return 0, False
    matrix = np.frombuffer(bytes(frame.side_data["DISPLAYMATRIX"]), np.int32)
    a, b, c, d = (int(matrix[index]) for index in (0, 1, 3, 4))
    is_mirrored = a * d - b * c < 0
    angle = math.atan2(-b, -a if is_mirrored else a)
    return round(angle / (math.pi / 2)) % 4, is_mirrored


def output_size(geometry: Geometry, *, short_side_px: int) -> tuple[int, int]:
    """(width, height) of the clip: even, the short side at most as given, never enlarged."""
    scale = min(Fraction(1), Fraction(short_side_px, min(geometry.width_px, geometry.height_px)))
    return _even(geometry.width_px * scale), _even(geometry.height_px * scale)


def is_hdr(frame: av.VideoFrame) -> bool:
    """Whether the frame is coded with the PQ or HLG transfer function."""
    return frame.color_trc in (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)


def matrix_of(frame: av.VideoFrame, *, untagged: int | None = None) -> int:
    """AVColorSpace by which a frame becomes RGB; for an untagged one `untagged`.

    If that is None, BT.601 up to standard definition, else BT.709: so players assume.
    """
    tagged = int(frame.colorspace)
    if tagged in _MATRICES:
        return tagged
    is_sd = frame.width < 1280 and frame.height <= 576
    return untagged or (BT601 if is_sd else _BT709)


class Normaliser:
    """A filter graph that follows the frames: it is made anew where their format changes."""

    def __init__(
        self, geometry: Geometry, *, width_px: int, height_px: int, untagged_matrix: int | None = None
    ) -> None:
        """`untagged_matrix`: as for `matrix_of`."""
        self._geometry, self._width_px, self._height_px = geometry, width_px, height_px
        self._untagged_matrix = untagged_matrix
        self._format: _Format | None = None
        self._graph: Graph | None = None

    def push(self, frame: av.VideoFrame) -> Iterator[av.VideoFrame]:
        """The frames that are ready after this one; de-interlacing lags by a frame."""
        format_ = _Format.of(
            frame,
            was_interlaced=self._format is not None and self._format.is_interlaced,
            untagged_matrix=self._untagged_matrix,
        )
        if format_ != self._format:
            yield from self.flush()
            self._format = format_
            filters = self._filters(format_)
            self._graph = _graph(frame, format_, filters) if filters else None
        if self._graph is None:
            yield frame
            return
        self._graph.vpush(frame)
        yield from self._ready()

    def flush(self) -> Iterator[av.VideoFrame]:
        """The frames still inside."""
        if self._graph is not None:
            self._graph.vpush(None)
            yield from self._ready()

    def _ready(self) -> Iterator[av.VideoFrame]:
        assert self._graph is not None
        while True:
            try:
                yield self._graph.vpull()
            except (BlockingIOError, EOFError):
                return

    def _filters(self, format_: _Format) -> list[tuple[str, str]]:
        """(name, arguments) of the filters that this kind of frame needs; none for a frame that is fine as it is."""
        turns, size = self._geometry.quarter_turns, (self._width_px, self._height_px)
        filters = self._upright_filters(format_)
        stored = (format_.width_px, format_.height_px) if turns % 2 == 0 else (format_.height_px, format_.width_px)
        shown = (self._geometry.width_px, self._geometry.height_px)
        if stored == shown and size == (shown[0] & ~1, shown[1] & ~1) and size != shown:
            filters.append(("crop", f"{size[0]}:{size[1]}:0:0"))
            stored = size
        if stored != size or not format_.is_final:
            filters += _colour_filters(format_, width_px=size[0], height_px=size[1])
        return filters

    def _upright_filters(self, format_: _Format) -> list[tuple[str, str]]:
        filters = [("bwdif", "mode=send_frame:deint=interlaced")] if format_.is_interlaced else []
        turns = {
            0: [],
            1: [("transpose", "cclock")],
            2: [("hflip", ""), ("vflip", "")],
            3: [("transpose", "clock")],
        }
        mirror = [("hflip", "")] if self._geometry.is_mirrored else []
        return filters + turns[self._geometry.quarter_turns] + mirror


class UprightRgb(Normaliser):
    """Upright progressive rgb24 of the pixels as they are stored: any size, any aspect of a pixel, their own gamut.

    A colour sample is repeated for its pixels: averaged again by `yuv_from_rgb` it is what it was.
    """

    def __init__(self, first: av.VideoFrame, *, untagged_matrix: int | None = None) -> None:
        geometry = Geometry.of(first, None)
        super().__init__(
            geometry, width_px=geometry.width_px, height_px=geometry.height_px, untagged_matrix=untagged_matrix
        )

    def _filters(self, format_: _Format) -> list[tuple[str, str]]:
        matrix = f"in_color_matrix={_MATRICES[format_.assumed_matrix]}"
        in_range = "full" if format_.is_full_range else "limited"
        scale = f"{self._width_px}:{self._height_px}:flags={_REPEAT_FLAGS}:{matrix}:in_range={in_range}"
        return [*self._upright_filters(format_), ("scale", f"{scale}:out_range=full"), ("format", "rgb24")]


def yuv_from_rgb(rgb: NDArray[np.uint8], *, pixel_format: str, matrix: int) -> av.VideoFrame:
    """A limited-range frame of uint8 [H, W, 3]; `matrix` as `matrix_of` gives it.

    The way back from `UprightRgb`. On saturated test patterns there and back is 43 dB for colour and 46 dB for luma,
    where bicubic is 31 and 42.
    """
    return av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
        format=pixel_format,
        # The two BT.601 matrices are one, and only one of them has a name here.
        dst_colorspace=Colorspace(_BT470BG if matrix == BT601 else matrix),
        dst_color_range=ColorRange.MPEG,
        interpolation=Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.BITEXACT,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Format:
    """All of a frame that decides how it must be filtered."""

    width_px: int
    height_px: int
    pixel_format: str
    assumed_matrix: int
    primaries: int
    is_full_range: bool
    is_interlaced: bool

    @classmethod
    def of(cls, frame: av.VideoFrame, *, was_interlaced: bool, untagged_matrix: int | None) -> _Format:
        name = frame.format.name
        return cls(
            width_px=frame.width,
            height_px=frame.height,
            pixel_format=name,
            assumed_matrix=matrix_of(frame, untagged=untagged_matrix),
            primaries=frame.color_primaries,
            is_full_range=frame.color_range == ColorRange.JPEG or name.startswith("yuvj"),
            # Sticky: film on television alternates between both kinds, and the filter passes progressive frames on.
            is_interlaced=was_interlaced or frame.interlaced_frame,
        )

    @property
    def is_final(self) -> bool:
        return (
            self.pixel_format == "yuv420p"
            and not self.is_full_range
            and self.assumed_matrix == _BT709
            and self.primaries not in _WIDE_PRIMARIES
        )


def _colour_filters(format_: _Format, *, width_px: int, height_px: int) -> list[tuple[str, str]]:
    in_range = "full" if format_.is_full_range else "limited"
    matrix = _MATRICES[format_.assumed_matrix]
    scale = f"{width_px}:{height_px}:flags={_SCALE_FLAGS}:in_color_matrix={matrix}:in_range={in_range}"
    if format_.primaries not in _WIDE_PRIMARIES:
        return [("scale", f"{scale}:out_color_matrix=bt709:out_range=limited"), ("format", "yuv420p")]
    # The gamut is mapped with 10 bits and at the clip's size.
    return [
        ("scale", f"{scale}:out_color_matrix=bt2020:out_range=limited"),
        ("format", "yuv420p10le"),
        (
            "colorspace",
            f"all=bt709:range=tv:ispace=bt2020nc:iprimaries={_WIDE_PRIMARIES[format_.primaries]}:itrc=bt709:irange=tv",
        ),
        ("format", "yuv420p"),
    ]


def _graph(frame: av.VideoFrame, format_: _Format, filters: list[tuple[str, str]]) -> Graph:
    graph = Graph()
    graph.threads = 1
    nodes: list[FilterContext] = [
        graph.add_buffer(
            width=format_.width_px, height=format_.height_px, format=frame.format, time_base=frame.time_base
        )
    ]
    nodes += [graph.add(name, arguments) for name, arguments in filters]
    nodes.append(graph.add("buffersink"))
    graph.link_nodes(*nodes).configure()
    return graph


def _even(size: Fraction) -> int:
    return max(2, round(size) & ~1)


class Thumbnails:
    """Small copies of frames as arrays, all of one size."""

    def __init__(self, width_px: int, height_px: int, *, is_bgr: bool = False, is_smooth: bool = True) -> None:
        self._size = width_px, height_px
        self._format = "bgr24" if is_bgr else "rgb24"
        # One reformatter keeps its tables. Averaging costs twice the time of picking pixels, exactness a tenth.
        self._reformatter = VideoReformatter()
        scaler = Interpolation.AREA if is_smooth else Interpolation.FAST_BILINEAR
        self._interpolation = scaler | Interpolation.ACCURATE_RND | Interpolation.BITEXACT

    def of(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        """uint8 [H, W, 3] RGB or BGR of a normalised frame."""
        small = self._reformatter.reformat(
            frame,
            *self._size,
            self._format,
            src_colorspace=Colorspace.ITU709,
            interpolation=self._interpolation,
            threads=1,
        )
        return small.to_ndarray()  # pyright: ignore[reportReturnType]
