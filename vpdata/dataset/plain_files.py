"""A run as plain files that trainers of video models read: a video per clip, two per object, and one `metadata.csv`."""

from __future__ import annotations

import io
from collections.abc import Sequence

import av
import numpy as np
from numpy.typing import NDArray

from vpdata.dataset import videopainter_sources
from vpdata.dataset.export_part import Exported, ExportPart, PartRows, write_table
from vpdata.dataset.reader import Sample, SampleTrack
from vpdata.dataset.run import Run
from vpdata.media.clips import ClipSettings, ClipWriter
from vpdata.media.masks import Mask
from vpdata.storage import Folder

METADATA_CSV = "metadata.csv"
HELD_OUT = "test"
"""Folder of what no training may see, of the same form."""
_TEST_CSV = f"{HELD_OUT}/{METADATA_CSV}"
COLUMNS = ("video", "prompt", "vace_video", "vace_video_mask", "object_prompt", "label")
"""The first four by the names of DiffSynth-Studio's inputs for VACE; it passes over the others."""
_LOSSLESS = ClipSettings(crf=0)
_NEAR_LOSSLESS = ClipSettings(crf=10)
_GREY_LUMA, _NO_COLOUR = 126, 128
"""RGB 127 or 128, as a reader rounds: nought, within rounding, for a model that takes pixels from -1 to 1."""


def write_part(part: ExportPart) -> PartRows:
    """Write the files of a shard, those of held-out clips below `test/`.

    Holds one encoded clip and one video in the making at a time. RunError names a clip that is damaged.
    """
    rows = PartRows()
    for sample, is_held_out in part:
        _write_clip(part.output, f"{HELD_OUT}/" if is_held_out else "", sample, rows)
        rows.num_clips += 1
        rows.num_held_out += is_held_out
    return rows


def finish(run: Run, folder: Folder, parts: Sequence[PartRows]) -> Exported:
    """Write the tables."""
    exported = Exported.of(parts, METADATA_CSV, _TEST_CSV)
    write_table(folder, videopainter_sources.SOURCES_CSV, videopainter_sources.COLUMNS, parts)
    if exported.num_held_out:
        write_table(folder, _TEST_CSV, COLUMNS, parts)
    write_table(folder, METADATA_CSV, COLUMNS, parts)
    return exported


def _write_clip(output: Folder, place: str, sample: Sample, rows: PartRows) -> None:
    """Write the files of a clip below `place`, from where its rows' paths are counted."""
    caption = next((caption.text for caption in sample.captions if caption.scope is None), "")
    video = f"videos/{sample.id}.mp4"
    output.write(place + video, sample.checked_mp4)
    output.write(f"{place}videos/{sample.id}.txt", caption.encode("utf-8"))
    for track in sample.tracks:
        vace, mask = f"vace/{sample.id}-{track.id}.mp4", f"masks/{sample.id}-{track.id}.mp4"
        output.write(place + vace, _with_hole(sample, track))
        output.write(place + mask, _mask_video(sample, track))
        rows.add(place + METADATA_CSV, (video, caption, vace, mask, track.caption or "", track.label))
    rows.add(videopainter_sources.SOURCES_CSV, videopainter_sources.row_of(place + video, sample.record.clip))


def _mask_video(sample: Sample, track: SampleTrack) -> bytes:
    """The mp4 of a track's masks: black, and white where the object is, without loss."""
    writer = _writer(sample, _LOSSLESS)
    for index in range(sample.num_frames):
        grey = track.mask(index).astype(np.uint8) * 255
        writer.write(np.repeat(grey[..., None], 3, axis=2))
    return writer.finish()


def _with_hole(sample: Sample, track: SampleTrack) -> bytes:
    """The mp4 of the clip, grey where the object is."""
    writer = _writer(sample, _NEAR_LOSSLESS)
    with av.open(io.BytesIO(sample.checked_mp4), "r", format="mp4", options={"enable_drefs": "0"}) as container:
        for index, frame in enumerate(container.decode(video=0)):
            # In the clip's own colours: there and back over RGB costs more than the encoding.
            planes = np.asarray(frame.to_ndarray(), dtype=np.uint8)
            _fill(planes, track.mask(index))
            writer.write(av.VideoFrame.from_ndarray(planes, format="yuv420p"))
    return writer.finish()


def _fill(planes: NDArray[np.uint8], hole: Mask) -> None:
    """Turn yuv420p, uint8 [H * 3 / 2, W], grey in bool [H, W], and each colour sample that a pixel of the hole has."""
    height, width = hole.shape
    planes[:height][hole] = _GREY_LUMA
    colours = planes[height:].reshape(2, height // 2, width // 2)
    colours[:, hole.reshape(height // 2, 2, width // 2, 2).any(axis=(1, 3))] = _NO_COLOUR


def _writer(sample: Sample, settings: ClipSettings) -> ClipWriter:
    clip = sample.record.clip
    return ClipWriter(width_px=clip.width_px, height_px=clip.height_px, fps=clip.fps, settings=settings)
