"""The published layout, written by hand and by our export, read into a run."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import vpdata
from benchmark.footage import write_video
from tests.dataset.published import CAPTION, PEXELS, VIDEO_URI, labels_of, run_samples, write_csv
from tests.media.footage import write_video as write_timed
from tests.runs import NUM_FRAMES, make_footage, make_source
from vpdata.dataset.check import check
from vpdata.dataset.export import export
from vpdata.dataset.import_videopainter import import_videopainter
from vpdata.dataset.label_maps import LabelMaps
from vpdata.errors import ConfigError, RunError
from vpdata.records import video_id


def test_published_rows_become_clips_with_their_masks_and_captions(published, tmp_path):
    run = import_videopainter(published, tmp_path / "run")
    assert check(run) == []
    assert list(run.rejects("cut")) == []
    by_start = {(sample.record.clip.video.uri[:6], sample.record.clip.start_s): sample for sample in run_samples(run)}
    assert sorted(by_start) == [("pexels", 0.0), ("pexels", 1.0), ("videov", 4 / 12)]
    for (source, start_s), sample in by_start.items():
        seed, start = int(source == "videov"), round(start_s * 12)
        for track in sample.tracks:
            wanted = labels_of(seed)[start : start + sample.num_frames] == track.id
            assert np.array_equal(track.masks, wanted)
            assert track.data.area_frac == pytest.approx(wanted.mean(axis=(1, 2)))
        error = np.abs(sample.frames.astype(int) - make_footage(seed).frames[start : start + sample.num_frames])
        assert error.mean() < 8
    first = by_start["pexels", 0.0]
    assert [track.id for track in first.tracks] == [7, 300]
    assert first.captions[0].text == CAPTION
    assert first.id == f"{video_id(VIDEO_URI)}-0-1000"


def test_export_then_import_keeps_pixels_masks_and_captions(finished_run, tmp_path):
    export(finished_run, tmp_path / "vp", format="videopainter")
    run = import_videopainter(tmp_path / "vp", tmp_path / "run")
    assert check(run) == []
    seeds = {make_source(seed).id + "-0-2000": seed for seed in range(5)}
    originals = {sample.id: sample for sample in vpdata.open_dataset(finished_run.folder.uri)}
    assert len(run_samples(run)) == 5
    for sample in run_samples(run):
        original = originals[sample.id]
        assert sample.record.clip.video == original.record.clip.video
        truth = make_footage(seeds[original.id]).masks
        # The layout's documented loss: the larger, blue square is cut where the red one lies over it.
        assert np.array_equal(sample.tracks[0].masks, truth["blue square"] & ~truth["red square"])
        assert np.array_equal(sample.tracks[1].masks, truth["red square"])
        assert sample.captions[0].text == original.captions[0].text
        assert np.abs(sample.frames.astype(int) - original.frames).mean() < 3


def uneven_s(seed: int) -> list[float]:
    """Rising times of frames that are 20 to 47 ms apart, as of a phone."""
    return list(np.cumsum(np.random.default_rng(seed).uniform(0.020, 0.047, 120)))


@pytest.mark.parametrize(
    ("times_s", "fps"),
    [
        ([k / 30 for k in range(120)], 30),
        ([k / 29.9 for k in range(120)], 29.97),
        ([(k + 5 * (k >= 40)) / 30 for k in range(120)], 30),
        (uneven_s(0), 119 / (uneven_s(0)[-1] - uneven_s(0)[0])),
    ],
    ids=["steady", "rate that is snapped", "lost frames", "variable rate"],
)
def test_masks_lie_on_the_frames_that_the_source_counts(published, tmp_path, times_s, fps):
    labels = np.zeros((120, 64, 96), np.uint8)
    for k in range(120):
        labels[k, 20:36, 3 * k % 80 : 3 * k % 80 + 16] = 9
    frames = np.where(labels[..., None] == 9, np.array((220, 30, 30)), 40).astype(np.uint8)
    write_timed(published / VIDEO_URI, frames, times_s=times_s, options={"crf": "8"})
    masks(labels)(published)
    write_csv(published, [(PEXELS, 0, 40, 30, 9, CAPTION), (PEXELS, 80, 120, 30, 9, CAPTION)])
    run = import_videopainter(published, tmp_path / "run")
    assert check(run) == []
    samples = [one for one in run_samples(run) if one.record.clip.video.uri == VIDEO_URI]
    assert sorted(sample.num_frames for sample in samples) == [40, 40]
    for sample in samples:
        # The square is the only red thing, and moves by 3 of its 16 px a frame: on the next one, IoU is 0.68.
        red, mask = sample.frames[..., 0] > sample.frames[..., 1] + 90.0, sample.tracks[0].masks
        assert ((red & mask).sum(axis=(1, 2)) / (red | mask).sum(axis=(1, 2))).min() > 0.85
        assert float(sample.record.clip.fps) == pytest.approx(fps, rel=4e-3)


def test_other_number_of_label_maps_than_frames_is_warned_of(published, tmp_path, caplog):
    masks(labels_of(0)[:22])(published)
    assert len(run_samples(import_videopainter(published, tmp_path / "run"))) == 3
    assert f"{VIDEO_URI}: got 22 label maps for 24 frames" in caplog.text
    assert caplog.text.count("label maps for") == 1


def test_second_import_has_the_same_bytes(published, tmp_path):
    runs = [import_videopainter(published, tmp_path / name) for name in ("one", "two")]
    for kind in ("shards", "index"):
        for name in runs[0].folder.child(kind).names():
            assert runs[0].folder.child(kind).read(name) == runs[1].folder.child(kind).read(name)


def without(path: str) -> Callable[[Path], None]:
    return lambda folder: (folder / path).unlink()


def rows(*changed: tuple) -> Callable[[Path], None]:
    return lambda folder: write_csv(folder, changed)


def masks(array: np.ndarray) -> Callable[[Path], None]:
    path = "video_inpainting/pexels/000000001523_856207/all_masks.npz"
    return lambda folder: np.savez_compressed(folder / path, array, allow_pickle=True)


def truncated_masks(folder: Path) -> None:
    path = folder / "video_inpainting/pexels/000000001523_856207/all_masks.npz"
    path.write_bytes(path.read_bytes()[:-40])


def npz(change: Callable[[bytearray], None], method: int = zipfile.ZIP_DEFLATED, **npy: bytes) -> Callable:
    """Label maps in a zip whose bytes are changed, or in one whose npy header has one text put for another."""

    def spoil(folder: Path) -> None:
        path, content = folder / "video_inpainting/pexels/000000001523_856207/all_masks.npz", io.BytesIO()
        np.save(content, labels_of(0))
        data = content.getvalue().replace(npy.get("old", b""), npy.get("new", b""), 1)
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr("arr_0.npy", data)
        changed = bytearray(path.read_bytes())
        change(changed)
        path.write_bytes(changed)

    return spoil


def encrypted(data: bytearray) -> None:
    """The flag in both headers of the member."""
    data[6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1


def torn(data: bytearray) -> None:
    data[len(data) // 3 : len(data) // 3 + 40] = bytes(40)


def misplaced(data: bytearray) -> None:
    """The directory says that it lies further on than it does, so its member would begin before the file."""
    at = data.index(b"PK\5\6") + 16
    data[at : at + 4] = (int.from_bytes(data[at : at + 4], "little") + 99).to_bytes(4, "little")


def as_it_is(data: bytearray) -> None:
    """The bytes stay."""


def linked_video(folder: Path) -> None:
    path = folder / VIDEO_URI
    shutil.move(path, folder.parent / "outside.mp4")
    path.symlink_to(folder.parent / "outside.mp4")


BAD: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "video missing": (without(VIDEO_URI), "source_gone", "is not there"),
    "masks missing": (without("video_inpainting/pexels/000000001523_856207/all_masks.npz"), "source_gone", "all_masks"),
    "link leads out": (linked_video, "blocked_address", "leads out"),
    "path leads out": (rows(("../../etc/000000001523_1.mp4", 0, 9, 12, 7, CAPTION)), "blocked_address", ":3"),
    "no number": (rows((PEXELS, "x", 9, 12, 7, CAPTION)), "bad_annotation", "could not convert"),
    "span backwards": (rows((PEXELS, 9, 9, 12, 7, CAPTION)), "bad_annotation", "frames 9 to 9"),
    "no caption": (rows((PEXELS, 0, 9, 12, 7, " ")), "caption_failed", "no caption"),
    "mask of no pixel": (rows((PEXELS, 0, 9, 12, 8, CAPTION)), "no_tracks", "none of the rows' masks"),
    "span behind the end": (rows((PEXELS, 20, 30, 12, 300, CAPTION)), "bad_annotation", "end before"),
    "masks of another size": (masks(np.ones((24, 32, 48), np.uint8)), "bad_annotation", "another size"),
    "masks too few": (masks(np.full((5, 64, 96), 7, np.uint8)), "bad_annotation", "end before"),
    "masks of fractions": (masks(np.full((24, 64, 96), 7.5)), "bad_annotation", "float64 that are not whole"),
    "masks of no numbers": (masks(np.full((24, 64, 96), np.nan)), "bad_annotation", "float64 that are not whole"),
    "masks of infinity": (masks(np.full((24, 64, 96), np.inf)), "bad_annotation", "float64 that are not whole"),
    "masks of objects": (masks(np.array([[[{"a": 1}]]], object)), "bad_annotation", "object"),
    "masks cut short": (truncated_masks, "bad_annotation", "BadZipFile"),
    "masks encrypted": (npz(encrypted), "bad_annotation", "RuntimeError"),
    "masks misplaced": (npz(misplaced), "bad_annotation", "OSError"),
    "masks torn, deflated": (npz(torn), "bad_annotation", "CRC"),
    "masks torn, bzip2": (npz(torn, zipfile.ZIP_BZIP2), "bad_annotation", "OSError"),
    "masks torn, lzma": (npz(torn, zipfile.ZIP_LZMA), "bad_annotation", "LZMAError"),
    "header without an end": (npz(as_it_is, old=b"}", new=b" "), "bad_annotation", "TokenError"),
    "header of other keys": (npz(as_it_is, old=b"'descr'", new=b"b'escr'"), "bad_annotation", "TypeError"),
    "header of no type": (npz(as_it_is, old=b"'<i4'", new=b"'(<,'"), "bad_annotation", "SyntaxError"),
    "header of one frame less": (npz(as_it_is, old=b"(24,", new=b"(23,"), "bad_annotation", "length is not"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_row_is_a_reject_and_the_others_are_kept(published, tmp_path, case):
    spoil, reason, detail = BAD[case]
    spoil(published)
    run = import_videopainter(published, tmp_path / "run")
    assert check(run) == []
    found = list(run.rejects("cut"))
    assert any(one.reason == reason and detail in f"{one.detail} {one.got}" for one in found), found
    assert "videovo" in {sample.record.clip.video.uri.split("/")[0] for sample in run_samples(run)}


def test_disk_that_fails_is_not_taken_for_bad_masks(tmp_path):
    with pytest.raises(IsADirectoryError):
        LabelMaps(tmp_path)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_whole_numbers_may_be_stored_as_floats(published, tmp_path, dtype):
    masks(labels_of(0).astype(dtype))(published)
    run = import_videopainter(published, tmp_path / "run")
    assert list(run.rejects("cut")) == []
    (sample,) = (one for one in run_samples(run) if one.record.clip.video.uri == VIDEO_URI and one.record.clip.start_s)
    assert np.array_equal(sample.tracks[0].masks, labels_of(0)[12:20] == 300)


def test_one_missing_mask_drops_that_track_alone(published, tmp_path):
    write_csv(published, [(PEXELS, 0, 12, 12, 300, CAPTION), (PEXELS, 0, 12, 12, 8, CAPTION)])
    run = import_videopainter(published, tmp_path / "run")
    assert [(one.track, one.stop_s) for one in run.rejects("cut")] == [(8, 1.0)]
    assert len(run_samples(run)) == 2


def test_folder_without_csv_and_csv_without_columns_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"pexels_videovo_\*_dataset.csv"):
        import_videopainter(tmp_path, tmp_path / "run")
    (tmp_path / "pexels_videovo_train_dataset.csv").write_text("path,caption\na,b\n")
    with pytest.raises(ConfigError, match="got no column end_frame, fps, mask_id, start_frame"):
        import_videopainter(tmp_path, tmp_path / "run2")


def test_output_that_is_not_empty_is_refused(published):
    with pytest.raises(RunError, match="not empty"):
        import_videopainter(published, published)


def test_every_frame_of_the_footage_is_there(published, tmp_path):
    write_csv(published, [(PEXELS, 0, NUM_FRAMES, 12.0, 7, CAPTION)])
    run = import_videopainter(published, tmp_path / "run")
    assert max(sample.num_frames for sample in run_samples(run)) == NUM_FRAMES


PEAK_OF_AN_IMPORT = """
import sys
from pathlib import Path
from vpdata.dataset.import_videopainter import import_videopainter
import_videopainter(sys.argv[1], sys.argv[2])
print(next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line))
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_spans_of_a_video(published, tmp_path):
    frames = np.zeros((60, 720, 1280, 3), np.uint8)
    write_video(published / VIDEO_URI, frames, fps=12)
    masks(np.ones(frames.shape[:3], np.uint8))(published)
    peaks_mb = []
    for length in (60, 3):
        write_csv(published, [(PEXELS, start, start + length, 12.0, 1, CAPTION) for start in range(0, 60, length)])
        command = [sys.executable, "-c", PEAK_OF_AN_IMPORT, str(published), str(tmp_path / f"run{length}")]
        peaks_mb.append(int(subprocess.run(command, check=True, capture_output=True).stdout) / 1024)
    # An encoder of 720p holds 30 to 80 MB, and there are 20 spans.
    assert peaks_mb[1] < peaks_mb[0] + 100
