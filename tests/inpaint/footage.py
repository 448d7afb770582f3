"""Small videos of every kind whose frames say which they are, and a reader that does not share code with ours."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

HEIGHT, WIDTH = 48, 64
FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
"""A build of its own, beside PyAV's."""


def numbered(num_frames: int, *, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    """uint8 [T, H, W, 3]: the greys of the upper and the lower half are the two digits of the frame's number."""
    frames = np.empty((num_frames, height, width, 3), np.uint8)
    for index, frame in enumerate(frames):
        frame[: height // 2], frame[height // 2 :] = 30 + 25 * (index // 8), 30 + 25 * (index % 8)
    return frames


def numbers_of(frames: NDArray[np.uint8]) -> list[int]:
    """Of frames as `numbered` draws them; a corner of each half is looked at."""
    height = frames.shape[1]
    halves = frames[:, :6, :8], frames[:, height - 6 :, :8]
    digits = [np.rint((half.mean(axis=(1, 2, 3)) - 30) / 25) for half in halves]
    return (digits[0] * 8 + digits[1]).astype(int).tolist()


def write_video(
    path: Path,
    frames: NDArray[np.uint8],
    *,
    fps: Fraction | int = 25,
    stamps_ms: Sequence[int] | None = None,
    aspect: Fraction | None = None,
    rotation: int = 0,
    audio: str | None = None,
    colour: tuple[int, int, int] = (1, 1, 1),
    **options: str,
) -> Path:
    """`colour` is primaries, transfer and matrix; `audio` a codec for a rising tone; `options` are the container's."""
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("libx264", rate=Fraction(fps), options={"crf": "4"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv444p" if stream.height % 2 or stream.width % 2 else "yuv420p"
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace = colour
        context.color_range = 1
        if stamps_ms:
            context.time_base = Fraction(1, 1000)
        if aspect:
            context.sample_aspect_ratio = aspect
        if rotation:
            stream.set_display_rotation(rotation)
        sound = container.add_stream(audio, rate=48000) if audio else None
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24").reformat(
                format=stream.pix_fmt, dst_colorspace=colour[2], dst_color_range=1
            )
            if stamps_ms:
                frame.pts, frame.time_base = stamps_ms[index], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if isinstance(sound, av.AudioStream):
            wave = np.sin(np.cumsum(np.linspace(0.02, 0.2, int(48000 * len(frames) / fps)))).astype(np.float32)
            tone = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
            tone.sample_rate, tone.pts = 48000, 0
            container.mux(sound.encode(tone))
            container.mux(sound.encode())
    return path


def unreadable(path: Path) -> None:
    """A socket: it is there, and nobody may open it as a file, the superuser neither. The path must be short."""
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def probed(path: Path) -> dict[str, Any]:
    """What ffmpeg reads: the picture as stored, seconds per frame, and seconds and hash per audio packet.

    Frames are decoded, audio is not.
    """
    whole = ["-noautorotate", "-copyts", "-i", str(path), "-f", "framemd5"]
    video = _ran(*whole, "-map", "0:v:0", "-fps_mode", "passthrough", "-enc_time_base", "demux", "-")
    audio = _ran(*whole, "-map", "0:a?", "-c", "copy", "-") if _has_audio(path) else ""
    width, height = re.findall(r"#dimensions 0: (\d+)x(\d+)", video)[0]
    aspect = re.findall(r"#sar 0: (\d+)/(\d+)", video)[0]
    return {
        "width": int(width),
        "height": int(height),
        "pixel_aspect": Fraction(int(aspect[0]) or 1, int(aspect[1])),
        "colour": re.findall(r"Video: .*?, (.*?), \d+x\d+", _described(path))[0],
        "times": [seconds for seconds, _ in _hashed(video)],
        "audio": _hashed(audio),
    }


def _hashed(text: str) -> list[tuple[float, str]]:
    """Seconds and hash per line of ffmpeg's framemd5."""
    bases = {stream: Fraction(base) for stream, base in re.findall(r"#tb (\d+): (\S+)", text)}
    rows = [line.replace(" ", "").split(",") for line in text.splitlines() if not line.startswith("#")]
    return [(float(int(row[2]) * bases[row[0]]), row[5]) for row in rows]


def _described(path: Path) -> str:
    """What ffmpeg says of a file's streams; without an output it ends with an error."""
    return subprocess.run([FFMPEG, "-hide_banner", "-i", str(path)], capture_output=True, text=True).stderr


def _has_audio(path: Path) -> bool:
    return " Audio: " in _described(path)


def _ran(*arguments: str) -> str:
    return subprocess.run([FFMPEG, "-v", "error", *arguments], check=True, capture_output=True, text=True).stdout


def decoded(path: Path, *, is_on_side: bool = False) -> NDArray[np.uint8]:
    """All frames as ffmpeg's command shows them: upright, RGB, pixels as stored."""
    found = probed(path)
    options = ["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    command = [FFMPEG, "-v", "error", "-i", str(path), *options]
    out = subprocess.run(command, check=True, capture_output=True).stdout
    sides = (found["width"], found["height"]) if is_on_side else (found["height"], found["width"])
    frames = np.frombuffer(out, np.uint8).reshape(-1, sides[0] * sides[1] * 3)
    return frames.reshape(len(frames), *sides, 3)
