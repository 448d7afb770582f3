"""Masks as tools write them: a video, images, COCO run lengths in JSON, or label maps in an npz; one at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vpdata.dataset.label_maps import LabelMaps
from vpdata.errors import ConfigError, RejectItem
from vpdata.inpaint.any_length import Frames, Masks
from vpdata.inpaint.fit import Size
from vpdata.inpaint.input_video import MAX_PIXELS, open_video
from vpdata.inpaint.pictures import read_picture
from vpdata.media.masks import decode_mask

_LOSSLESS = (".png", ".bmp", ".tif", ".tiff")
_LOSSY = (".jpg", ".jpeg", ".webp")
_HALF = 127


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskFile:
    """Masks at their own size and number."""

    frames: Callable[[], Iterator[Masks]]
    """bool `[height, width]`; each call begins anew."""
    num_frames: int
    size: Size
    seconds: NDArray[np.float64] | None = None
    """When each is shown; None where that is not said."""
    fps: Fraction | None = None


def open_mask_file(path: Path, *, size_if_empty: Size) -> MaskFile:
    """By kind of file; several objects become their union. ConfigError for one that cannot be read.

    - a folder of numbered images, or one image: in PNG, BMP and TIFF every pixel that is not black is masked, in lossy
      images every pixel that is brighter than half; transparent pixels are refused;
    - `.json`: our `masks.json`, `{"tracks": [{"masks": [RLE, ...]}, ...]}`; or a list with one RLE per frame, or with
      one list of RLEs per frame. RLE is COCO's, `{"size": [height, width], "counts": "..."}`, or null for no mask;
    - `.npz`: integers or bool `[frames, height, width]`, every number but 0 is masked;
    - anything else is a video: pixels brighter than half are masked.
    """
    suffix = path.suffix.lower()
    with _named_errors(path):
        if not path.exists():
            raise ConfigError(f"there is no mask {path}")
        paths = _numbered(path) if path.is_dir() else None
    if paths:
        return _images(paths)
    if suffix in _LOSSLESS + _LOSSY:
        return _images([path])
    if suffix == ".json":
        return _run_lengths(path, size_if_empty)
    if suffix == ".npz":
        return _label_maps(path)
    if suffix == ".npy":
        raise ConfigError(f"got the mask {path}, wanted an .npz, which np.savez_compressed writes of the same array")
    video = open_video(path)
    return MaskFile(
        frames=lambda: (_is_bright(frame) for frame in video.frames()),
        num_frames=video.num_frames,
        size=video.size,
        seconds=np.asarray(video.stamps * float(video.time_base), dtype=np.float64),
        fps=video.average_fps,
    )


def _is_bright(pixels: Frames) -> Masks:
    """Where any channel is brighter than half; NumPy's maximum over channels would take as long as decoding."""
    return cv2.inRange(pixels, (0, 0, 0), (_HALF, _HALF, _HALF)) == 0


def _numbered(folder: Path) -> list[Path]:
    """The folder's images in the order of the last number in their names."""
    by_number: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in _LOSSLESS + _LOSSY or path.name.startswith("."):
            continue
        numbers = re.findall(r"\d+", path.stem)
        if not numbers:
            raise ConfigError(f"the mask {path} has no number in its name; wanted names such as 00001.png")
        if (other := by_number.setdefault(int(numbers[-1]), path)) != path:
            raise ConfigError(f"the masks {other} and {path.name} have the same number {numbers[-1]}")
    if not by_number:
        raise ConfigError(f"got no images in the mask folder {folder}, wanted {', '.join(_LOSSLESS + _LOSSY)}")
    first, last = min(by_number), max(by_number)
    if missing := next((number for number in range(first, last) if number not in by_number), None):
        raise ConfigError(
            f"the mask folder {folder} has no image number {missing}, but {first} to {last}; "
            "give every frame one, a black one where there is no object"
        )
    return [by_number[number] for number in sorted(by_number)]


def _images(paths: Sequence[Path]) -> MaskFile:
    height, width = _image(paths[0]).shape

    def frames() -> Iterator[Masks]:
        for path in paths:
            mask = _image(path)
            if mask.shape != (height, width):
                raise ConfigError(f"the mask {path} is {mask.shape[1]} x {mask.shape[0]} px, {paths[0].name} is not")
            yield mask

    return MaskFile(frames=frames, num_frames=len(paths), size=Size(height_px=height, width_px=width))


def _image(path: Path) -> Masks:
    pixels = read_picture(path, cv2.IMREAD_UNCHANGED, max_pixels=MAX_PIXELS)
    if pixels.ndim == 3:
        if pixels.shape[2] == 4 and (pixels[..., 3] < np.iinfo(pixels.dtype).max).any():
            raise ConfigError(
                f"the mask {path} has transparent pixels, which may mean the object or what is around it; give the "
                "object in white on black"
            )
        pixels = pixels[..., :3].max(axis=2)
    return pixels > (0 if path.suffix.lower() in _LOSSLESS else _HALF)


def _run_lengths(path: Path, size_if_empty: Size) -> MaskFile:
    try:
        with _named_errors(path):
            text = path.read_text(encoding="utf-8")
        per_frame = _by_frame(json.loads(text))
        sizes = {tuple(map(int, one["size"])) for frame in per_frame for one in frame}
        if len(sizes) > 1:
            raise ValueError(f"it has masks of several sizes: {sorted(sizes)[:3]}")
        height, width = next(iter(sizes), (size_if_empty.height_px, size_if_empty.width_px))
        if min(height, width) < 1:
            raise ValueError(f"its masks have the size {[height, width]}")
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ConfigError(f"the mask {path} cannot be read: {error!r}; wanted COCO run lengths per frame") from error

    def frames() -> Iterator[Masks]:
        for index, frame in enumerate(per_frame):
            mask = np.zeros((height, width), dtype=np.bool_)
            for one in frame:
                try:
                    mask |= decode_mask(one["counts"], height_px=height, width_px=width)
                except (ValueError, TypeError) as error:
                    raise ConfigError(f"the mask {path} is damaged at frame {index}: {error}") from error
            yield mask

    return MaskFile(frames=frames, num_frames=len(per_frame), size=Size(height_px=height, width_px=width))


def _by_frame(data: Any) -> list[list[dict[str, Any]]]:
    """Per frame the run lengths of its objects."""
    if isinstance(data, dict):
        tracks = [track["masks"] for track in data["tracks"]]
        if not tracks:
            raise ValueError("it holds no track")
        if len({len(track) for track in tracks}) != 1:
            raise ValueError("its tracks are not equally long")
        rows = [list(objects) for objects in zip(*tracks, strict=True)]
    else:
        rows = [row if isinstance(row, list) else [row] for row in data]
    if not rows:
        raise ValueError("it holds no mask")
    rows = [[one for one in row if one is not None] for row in rows]
    if odd := next((one for row in rows for one in row if not isinstance(one["counts"], str)), None):
        raise ValueError(f"got counts {str(odd['counts'])[:40]}, wanted compressed run lengths, a text")
    return rows


def _label_maps(path: Path) -> MaskFile:
    with _named_errors(path):
        maps = LabelMaps(path)

    def frames() -> Iterator[Masks]:
        with _named_errors(path):
            for labels in maps.read(0, maps.num_frames):
                yield labels != 0

    size = Size(height_px=maps.height_px, width_px=maps.width_px)
    return MaskFile(frames=frames, num_frames=maps.num_frames, size=size)


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except RejectItem as error:
        raise ConfigError(f"the mask {path}: {error.detail}; wanted {error.wanted}") from error
    except OSError as error:
        raise ConfigError(f"cannot read the mask {path}: {error.strerror or error}") from error
