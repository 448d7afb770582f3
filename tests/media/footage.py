"""Videos that the tests of reading write, and how what was read is told apart."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from vpdata.errors import Reason, RejectItem
from vpdata.media.video import FrameReader, VideoInfo, probe

WIDTH_PX, HEIGHT_PX, NUM_FRAMES = 96, 64, 25
# Else x264 takes noise for a scene cut at every frame, and codes still pictures without B-frames.
PLAIN_GOP = {"sc_threshold": "0", "b_strategy": "0"}
LOSSLESS = {"qp": "0", "preset": "ultrafast"}


def grey_ramp(num_frames: int = NUM_FRAMES, *, step: int = 8) -> np.ndarray:
    """uint8 [T, 64, 96, 3]: frame k is a plain grey of its own, `step` levels from the next."""
    return np.stack([np.full((HEIGHT_PX, WIDTH_PX, 3), 20 + step * index, np.uint8) for index in range(num_frames)])


def quadrants() -> np.ndarray:
    """uint8 [64, 96, 3]: red, green, blue and white quadrants, from the top left in reading order."""
    image = np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    colours = [(200, 20, 20), (20, 200, 20), (20, 20, 200), (220, 220, 220)]
    for index, colour in enumerate(colours):
        y, x = divmod(index, 2)
        image[y * 32 : y * 32 + 32, x * 48 : x * 48 + 48] = colour
    return image


def write_video(
    path: Path,
    images: np.ndarray,
    *,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    options: dict[str, str] | None = None,
    times_s: list[float] | None = None,
    aspect: Fraction | None = None,
    rotation: int = 0,
    colour: tuple[int, int, int, int] = (1, 1, 1, 1),
    planes: np.ndarray | None = None,
) -> Path:
    """Encode RGB images, or yuv444p `planes` instead of each; `colour` is primaries, transfer, matrix and range."""
    with av.open(str(path), "w", options={"movflags": "+faststart"} if path.suffix == ".mp4" else {}) as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.height, stream.width, stream.pix_fmt = *images.shape[1:3], pixel_format
        context = stream.codec_context
        context.bit_rate = 0 if codec == "libx264" else 8_000_000
        if times_s:
            context.time_base = Fraction(1, 1000)
        if aspect:
            context.sample_aspect_ratio = aspect
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = colour
        if rotation:
            stream.set_display_rotation(rotation)
        for index, image in enumerate(images):
            if planes is not None:
                frame = av.VideoFrame.from_ndarray(planes, format="yuv444p").reformat(format=pixel_format)
            else:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24").reformat(
                    format=pixel_format, dst_colorspace=colour[2], dst_color_range=colour[3]
                )
            if times_s:
                frame.pts, frame.time_base = round(times_s[index] * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def measured(path: Path, *, max_pixels: int = 10**6, max_duration_s: float = 100.0) -> VideoInfo:
    return probe(path, max_pixels=max_pixels, max_duration_s=max_duration_s)


def normalised(path: Path, *, short_side_px: int = 720) -> tuple[FrameReader, np.ndarray]:
    """The reader after its pass, and uint8 [T, H * 3 / 2, W] yuv420p."""
    reader = FrameReader(path, measured(path), short_side_px=short_side_px, max_pixels=10**6)
    planes = [frame.to_ndarray() for frame in reader]
    return reader, np.stack(planes)


def to_rgb(planes: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] from one yuv420p BT.709 limited frame, by the formula of Rec. ITU-R BT.709."""
    height, width = planes.shape[0] * 2 // 3, planes.shape[1]
    y = (planes[:height].astype(float) - 16) / 219
    u, v = (planes[height:].reshape(2, height // 2, width // 2).astype(float) - 128) / 224
    u, v = u.repeat(2, 0).repeat(2, 1), v.repeat(2, 0).repeat(2, 1)
    rgb = np.stack([y + 1.5748 * v, y - 0.1873 * u - 0.4681 * v, y + 1.8556 * u], axis=-1)
    return (rgb * 255).round().clip(0, 255).astype(np.uint8)


def greys(planes: np.ndarray, *, step: int = 8) -> list[int]:
    """Which frame of `grey_ramp` each normalised frame is."""
    luma = planes[:, : planes.shape[1] * 2 // 3].mean(axis=(1, 2))
    return [round(((value - 16) / 219 * 255 - 20) / step) for value in luma]


def reason_of(path: Path, **limits: float) -> Reason:
    with pytest.raises(RejectItem) as caught:
        measured(path, **limits)  # type: ignore[arg-type]
    return caught.value.reason
