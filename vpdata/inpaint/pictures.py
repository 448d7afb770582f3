"""Picture files of the user. Their size is looked at before they are decoded: 100 kB of PNG may become gigabytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from vpdata.errors import ConfigError


def read_picture(path: Path, flags: int, *, max_pixels: int) -> NDArray[Any]:
    """As OpenCV decodes it by its `flags`: `[H, W]` or `[H, W, C]`, BGR. ConfigError where it is too large or none."""
    no_picture = f"{path} is no picture that can be read, wanted such as a PNG or JPEG"
    try:
        with Image.open(path) as header:
            width, height = header.size
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except Image.DecompressionBombError as error:
        raise ConfigError(f"{path} has too many pixels, wanted at most {max_pixels}") from error
    except (OSError, ValueError) as error:
        # What has no errno is of Pillow, about what is in the file; OpenCV reads some kinds that Pillow does not.
        if isinstance(error, UnidentifiedImageError) and cv2.haveImageReader(str(path)):
            raise ConfigError(
                f"{path} is damaged, or of a kind whose size cannot be told before it is decoded; write it as 8-bit PNG"
            ) from error
        if isinstance(error, OSError) and error.errno is not None:
            raise ConfigError(f"cannot read the picture {path}: {error.strerror}") from error
        raise ConfigError(no_picture) from error
    if width * height > max_pixels:
        raise ConfigError(f"{path} has {width} x {height} pixels, wanted at most {max_pixels}")
    try:
        picture = cv2.imdecode(data, flags)
    except cv2.error as error:
        raise ConfigError(no_picture) from error
    if picture is None:
        raise ConfigError(no_picture)
    return picture
