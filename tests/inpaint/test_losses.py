import subprocess

import pytest

from tests.inpaint.footage import FFMPEG, numbered, write_video
from vpdata.inpaint.input_video import open_video
from vpdata.inpaint.losses import losses

SUBTITLES = "1\n00:00:00,000 --> 00:00:00,200\nhello\n"
CHAPTERS = ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=200\ntitle=one\n"


def converted(folder, name, options):
    """A video by ffmpeg: of pictures alone and without chapters, unless the options map more."""
    write_video(folder / "plain.mp4", numbered(6))
    (folder / "words.srt").write_text(SUBTITLES)
    (folder / "chapters.txt").write_text(CHAPTERS)
    files = [part for one in ("plain.mp4", "words.srt", "chapters.txt") for part in ("-i", str(folder / one))]
    plain = [("-map", "0:v"), ("-map_chapters", "-1")]
    unless_given = [part for option in plain if option[0] not in options.split() for part in option]
    command = [FFMPEG, "-v", "error", *files, *options.split(), *unless_given, str(folder / name)]
    subprocess.run(command, check=True)
    return open_video(folder / name)


@pytest.mark.parametrize(
    ("name", "options", "wanted"),
    [
        ("in.mp4", "-c:v libx264 -pix_fmt yuv420p", []),
        ("in.mp4", "-c:v libx264 -pix_fmt yuvj420p", []),
        ("in.mkv", "-c:v ffv1 -pix_fmt gray", []),
        ("in.mp4", "-c:v libx264 -pix_fmt yuv420p10le", ["10 bits of a colour become 8"]),
        (
            "in.mov",
            "-c:v prores_ks -pix_fmt yuv422p10le",
            ["10 bits of a colour become 8", "four pixels share a colour sample"],
        ),
        ("in.mp4", "-c:v libx264 -pix_fmt yuv444p", ["four pixels share a colour sample"]),
        ("in.mp4", "-c:v libx264 -vf format=yuv444p,crop=63:47", []),
        ("in.mkv", "-c:v libx264rgb", ["four pixels share a colour sample"]),
        ("in.webm", "-c:v libvpx-vp9 -pix_fmt yuva420p -auto-alt-ref 0", ["transparency is dropped"]),
        ("in.mkv", "-c:v ffv1 -pix_fmt yuva420p", ["transparency is dropped"]),
        ("in.mpg", "-c:v mpeg2video -flags +ilme+ildct -vf setfield=tff", ["interlaced fields become whole frames"]),
        ("in.mkv", "-map 0 -map 1 -map 1", ["2 subtitle tracks dropped"]),
        ("in.mkv", "-map 0 -map 0", ["1 further video track dropped"]),
        ("in.mkv", "-map_chapters 2", ["chapters are dropped"]),
    ],
)
def test_all_that_is_lost_is_named(name, options, wanted, tmp_path):
    assert losses(converted(tmp_path, name, options)) == wanted
