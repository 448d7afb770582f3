from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import PictureType

from tests.media.footage import (
    HEIGHT_PX,
    NUM_FRAMES,
    PLAIN_GOP,
    WIDTH_PX,
    normalised,
    write_video,
)


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "libx264"), ("avi", "mpeg4"), ("flv", "flv")])
def test_truncated_file_keeps_what_decodes_and_says_so(tmp_path, suffix, codec):
    images = np.random.default_rng(0).integers(0, 255, (NUM_FRAMES, HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    whole = write_video(tmp_path / f"whole.{suffix}", images, codec=codec)
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    reader, planes = normalised(path)
    assert reader.damage
    assert 10 <= len(planes) <= 20
    np.testing.assert_array_equal(planes[:10], normalised(whole)[1][:10])


def with_broken_packet(path: Path, to: Path, number: int) -> Path:
    """The same file, with zeros in the second half of one packet, counted in the order of decoding."""
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][number]
        assert packet.pos is not None
        data = bytearray(path.read_bytes())
        half = packet.size // 2
        data[packet.pos + half : packet.pos + packet.size] = bytes(packet.size - half)
    to.write_bytes(data)
    return to


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "libx264"), ("avi", "mpeg4"), ("mkv", "mpeg2video")])
def test_no_frame_is_shown_that_a_damaged_picture_went_into(tmp_path, suffix, codec):
    images = np.random.default_rng(0).integers(0, 255, (NUM_FRAMES, HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    whole = write_video(tmp_path / f"whole.{suffix}", images, codec=codec, options={"bf": "2", **PLAIN_GOP})
    with av.open(str(whole)) as container:
        kinds = [PictureType(frame.pict_type) for frame in container.decode(video=0)]
    good = kinds.index(PictureType.P, 9)  # shown after two B-frames and decoded before them
    assert kinds[good - 2 : good] == [PictureType.B] * 2
    reader, planes = normalised(with_broken_packet(whole, tmp_path / f"broken.{suffix}", good - 2))
    assert reader.damage == "a picture is damaged"
    np.testing.assert_array_equal(planes, normalised(whole)[1][: good - 2])
    assert reader.num_source_frames == len(planes)


def test_video_that_starts_damaged_is_used_from_the_next_key_frame_on(tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (NUM_FRAMES, HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    whole = write_video(tmp_path / "whole.mp4", images, options={"g": "10", "bf": "0", **PLAIN_GOP})
    reader, planes = normalised(with_broken_packet(whole, tmp_path / "broken.mp4", 0))
    np.testing.assert_array_equal(planes, normalised(whole)[1][10:])
    assert (reader.num_source_frames, reader.damage) == (NUM_FRAMES - 10, None)
