"""A run as plain files that trainers of video models read: a video per clip, two per object, and one `metadata.csv`."""

from __future__ import annotations

import io

import av
import numpy as np
from numpy.typing import NDArray

from vpdata.dataset import videopainter_sources
from vpdata.dataset.csv_text import CsvText
from vpdata.dataset.reader import Sample, SampleTrack, open_dataset
from vpdata.dataset.run import Run
from vpdata.dataset.split import Split
from vpdata.media.clips import ClipSettings, ClipWriter
from vpdata.media.masks import Mask
from vpdata.storage import Folder

METADATA_CSV = "metadata.csv"
HELD_OUT = "test"
"""Folder of what no training may see, of the same form."""
COLUMNS = ("video", "prompt", "vace_video", "vace_video_mask", "object_prompt", "label")
"""The first four by the names of DiffSynth-Studio's inputs for VACE; it passes over the others."""
_LOSSLESS = ClipSettings(crf=0)
_NEAR_LOSSLESS = ClipSettings(crf=10)
_GREY_LUMA, _NO_COLOUR = 126, 128
"""RGB 127 or 128, as a reader rounds: nought, within rounding, for a model that takes pixels from -1 to 1."""


def write_plain_files(run: Run, folder: Folder, held_out: Split) -> tuple[int, int, int]:
    """Write the files, those of held-out clips below `test/`; returns the numbers of clips, of rows, and held out.

    Holds one encoded clip and one video in the making at a time. RunError names a clip that is damaged.
    """
    test = folder.child(HELD_OUT)
    table, test_table, sources = CsvText(COLUMNS), CsvText(COLUMNS), CsvText(videopainter_sources.COLUMNS)
    dataset, num_held_out = open_dataset(run.folder.uri), 0
    for sample in dataset:
        clip = sample.record.clip
        if held_out.holds_out(clip.id, video_id=clip.video.id):
            num_held_out += 1
            _write_clip(test, sample, test_table)
            sources.write(videopainter_sources.row_of(f"{HELD_OUT}/{_video(clip.id)}", clip))
        else:
            _write_clip(folder, sample, table)
            sources.write(videopainter_sources.row_of(_video(clip.id), clip))
    folder.write(videopainter_sources.SOURCES_CSV, sources.encoded())
    if num_held_out:
        test.write(METADATA_CSV, test_table.encoded())
    folder.write(METADATA_CSV, table.encoded())
    return len(dataset), table.num_rows + test_table.num_rows, num_held_out


def _video(clip_id: str) -> str:
    return f"videos/{clip_id}.mp4"


def _write_clip(folder: Folder, sample: Sample, table: CsvText) -> None:
    caption = next((caption.text for caption in sample.captions if caption.scope is None), "")
    folder.write(_video(sample.id), sample.checked_mp4)
    folder.write(f"videos/{sample.id}.txt", caption.encode("utf-8"))
    for track in sample.tracks:
        vace, mask = f"vace/{sample.id}-{track.id}.mp4", f"masks/{sample.id}-{track.id}.mp4"
        folder.write(vace, _with_hole(sample, track))
        folder.write(mask, _mask_video(sample, track))
        table.write((_video(sample.id), caption, vace, mask, track.caption or "", track.label))


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
