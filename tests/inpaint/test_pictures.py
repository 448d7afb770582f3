import struct
import zlib

import cv2
import numpy as np
import pytest

from tests.inpaint.footage import HEIGHT, WIDTH
from vpdata.errors import ConfigError
from vpdata.inpaint.first_frame import read_image
from vpdata.inpaint.fit import Size
from vpdata.inpaint.mask_files import open_mask_file


def png(width: int, height: int) -> bytes:
    """A black picture of one bit a pixel, without more than its first lines."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    lines = zlib.compress(bytes(1 + width // 8))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", lines) + chunk(b"IEND", b"")


def read_mask(path):
    return open_mask_file(path, size_if_empty=Size(height_px=HEIGHT, width_px=WIDTH))


@pytest.mark.parametrize("read", [read_image, read_mask])
@pytest.mark.parametrize(
    ("width", "height", "wanted"),
    [(9000, 9000, "9000 x 9000"), (40_000, 40_000, "too many"), (2_000_000, 2, "no picture")],
)
def test_picture_is_not_decoded_where_it_is_too_large(width, height, wanted, read, tmp_path, monkeypatch):
    """OpenCV raises an error of its own for the last two."""
    path = tmp_path / "large.png"
    path.write_bytes(png(width, height))
    decode = cv2.imdecode

    def checked(*arguments):
        assert wanted == "no picture", "it was decoded"
        return decode(*arguments)

    monkeypatch.setattr(cv2, "imdecode", checked)
    with pytest.raises(ConfigError, match=rf"large.png (has|is) {wanted}"):
        read(path)


@pytest.mark.parametrize("read", [read_image, read_mask])
def test_picture_that_cannot_be_read_is_named(read, tmp_path):
    whole = cv2.imencode(".png", np.zeros((48, 64), np.uint8))[1].tobytes()
    jpeg = cv2.imencode(".jpg", np.zeros((48, 64), np.uint8))[1].tobytes()
    for name, data in (
        ("text.png", b"no picture"),
        ("empty.png", b""),
        ("cut.png", whole[:20]),
        ("cut.jpg", jpeg[: len(jpeg) // 2]),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ConfigError, match=rf"{name} is no picture that can be read"):
            read(tmp_path / name)


@pytest.mark.parametrize("read", [read_image, read_mask])
@pytest.mark.parametrize(("dtype", "channels"), [(np.float64, 1), (np.float32, 3), (np.float32, 4)])
def test_picture_that_opencv_alone_can_read_is_refused_with_what_to_write_instead(dtype, channels, read, tmp_path):
    path = tmp_path / "mask.tif"
    cv2.imwrite(str(path), np.zeros((48, 64, channels), dtype))
    with pytest.raises(ConfigError, match=r"mask.tif is .* cannot be told before it is decoded; write it as 8-bit PNG"):
        read(path)
