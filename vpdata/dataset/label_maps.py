"""The published `all_masks.npz`: an integer label map per frame under the key `arr_0`, read and written frame by frame.

A whole 1080p video's label maps would not fit in memory, so neither side builds the array.
"""

from __future__ import annotations

import errno
import lzma
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from vpdata.errors import Reason, RejectItem

_MEMBER = "arr_0.npy"
_HEADER_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}

_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError),
    *(ValueError, TypeError, LookupError, SyntaxError, tokenize.TokenError),
)
"""What zipfile (RuntimeError: encrypted, or of an unknown method) and numpy's reader of headers raise for bad bytes."""
_MAX_LABEL = 2**31
LabelMap = NDArray[np.integer]
"""Integer [H, W]: 0 is background, every other number an object's id."""


def write_label_maps(path: Path, maps: Iterable[LabelMap], *, shape: tuple[int, int, int], dtype: np.dtype) -> None:
    """Write maps of `shape` (T, H, W), which `numpy.load(path)["arr_0"]` gives back; equal maps give equal bytes."""
    # A ZipInfo made by hand carries 1980 as its date, not now.
    info = zipfile.ZipInfo(_MEMBER)
    info.compress_type = zipfile.ZIP_DEFLATED
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    with zipfile.ZipFile(path, "w") as archive, archive.open(info, "w", force_zip64=True) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for one in maps:
            file.write(np.ascontiguousarray(one, dtype=dtype).tobytes())


class LabelMaps:
    """A file of label maps that nobody vouches for: nothing is unpickled, and one frame is held at a time."""

    def __init__(self, path: Path) -> None:
        """RejectItem where the file holds no label maps; OSError where the disk fails."""
        self._path = path
        with self._opened() as (_, shape, _):
            self.num_frames, self.height_px, self.width_px = shape

    def read(self, start: int, stop: int) -> Iterator[LabelMap]:
        """The label maps of the frames `start` to `stop`, half-open; whole numbers stored as floats are integers too.

        RejectItem where the file is damaged, or holds other numbers.
        """
        with self._opened() as (file, (_, height, width), dtype):
            num_bytes = height * width * dtype.itemsize
            file.seek(start * num_bytes, 1)
            for _ in range(start, stop):
                data = file.read(num_bytes)
                if len(data) != num_bytes:
                    raise EOFError("it ends before the last frame of its header")
                yield _whole(np.frombuffer(data, dtype=dtype).reshape(height, width))

    def verify(self) -> None:
        """Read all frames: a zip tells by the sum at its end whether its bytes are what was written.

        RejectItem where they are not. 150 frames of 1080p take a core 0.2 s as uint8 and 1.7 s as int64.
        """
        with self._opened() as (file, (num_frames, height, width), dtype):
            num_bytes = height * width * dtype.itemsize
            if any(len(file.read(num_bytes)) != num_bytes for _ in range(num_frames)) or file.read(1):
                raise EOFError("its length is not that of its header")

    @contextmanager
    def _opened(self) -> Iterator[tuple[IO[bytes], tuple[int, int, int], np.dtype]]:
        try:
            with zipfile.ZipFile(self._path) as archive, archive.open(_member(archive)) as file:
                read_header = _HEADER_READERS[np.lib.format.read_magic(file)]
                shape, is_fortran, dtype = read_header(file)
                if len(shape) != 3 or min(shape) < 1 or is_fortran or dtype.kind not in "iubf":
                    raise ValueError(f"{dtype} {shape} is not numbers [frames, height, width]")
                yield file, shape, dtype
        except _DAMAGE as error:
            raise self._rejected(error) from error
        except OSError as error:
            # Bad bytes too: bzip2's error has no number, and a wrong offset asks for a seek that is invalid.
            if error.errno not in (None, errno.EINVAL):
                raise
            raise self._rejected(error) from error

    def _rejected(self, error: Exception) -> RejectItem:
        return RejectItem(
            Reason.BAD_ANNOTATION,
            f"{self._path.name} cannot be read: {error}",
            got=type(error).__name__,
            wanted="label maps under the key arr_0, or one array",
        )


def _whole(values: NDArray) -> LabelMap:
    if values.dtype.kind != "f":
        return values
    if not np.isfinite(values).all() or float(np.abs(values).max()) >= _MAX_LABEL or (values != np.rint(values)).any():
        raise ValueError(f"{values.dtype} that are not whole numbers")
    return values.astype(np.int32)


def _member(archive: zipfile.ZipFile) -> str:
    """`arr_0`, or the only array, whatever its name."""
    names = archive.namelist()
    return names[0] if len(names) == 1 else _MEMBER
