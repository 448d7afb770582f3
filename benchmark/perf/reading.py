"""What it costs to read random windows of clips through the index: ranged reads, bytes, decoded frames, CPU time.

python -m benchmark.perf.reading          # on clips made on the spot
python -m benchmark.perf.reading RUN      # on a run of yours
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.footage import scene, write_video
from vpdata.dataset import index, layout
from vpdata.dataset.import_videopainter import import_videopainter
from vpdata.dataset.reader import INDEX_COLUMNS, Dataset
from vpdata.dataset.run import Run
from vpdata.dataset.videopainter_files import COLUMNS, TRAIN_CSV, masks_uri, video_uri
from vpdata.dataset.window import decode_window
from vpdata.media.clips import ClipReader
from vpdata.storage import Folder

FPS, NUM_FRAMES, WIDTH_PX, HEIGHT_PX = 24, 240, 854, 480
NUM_CLIPS, NUM_WINDOWS = 2, 12
WINDOW_FRAMES = (1, 8, 49, 145)
"""145 frames at 24 fps hold the 49 frames at 8 fps that the VideoPainter trainer reads."""


class CountingFolder(Folder):
    """A folder that counts what is read from it."""

    num_reads = num_bytes = 0

    def read_range(self, name: str, offset: int, num_bytes: int) -> bytes:
        """As `Folder.read_range`."""
        self.num_reads += 1
        self.num_bytes += num_bytes
        return super().read_range(name, offset, num_bytes)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path, help="a run folder instead of clips made on the spot")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        run = Run(Folder(args.run)) if args.run else make_run(Path(scratch))
        index_folder = run.folder.child(layout.INDEX)
        shards = CountingFolder(f"{run.folder.uri}/{layout.SHARDS}")
        dataset = Dataset(shards, index.read_index(index_folder, index_folder.names(".parquet"), INDEX_COLUMNS))
        print(
            "| window | ranged reads | MB read | decoded beyond it | in half seconds | CPU ms | decord | whole clip |"
        )
        print("|" + " ---: |" * 8)
        for length in WINDOW_FRAMES:
            costs = [window_cost(dataset, shards, length, seed=seed) for seed in range(NUM_WINDOWS)]
            print("| " + " | ".join(row_of(length, costs)) + " |")


def make_run(scratch: Path, *, num_clips: int = NUM_CLIPS, size: tuple[int, int] = (WIDTH_PX, HEIGHT_PX)) -> Run:
    """A run of textured objects that cross a panning camera's view; `size` is width and height in pixels."""
    data = scratch / "published"
    rows = []
    for number in range(num_clips):
        name = f"{number:012d}_scene.mp4"
        footage = scene(
            "plain", is_panning=True, seed=number, num_frames=NUM_FRAMES, height_px=size[1], width_px=size[0]
        )
        for uri in (video_uri(name), masks_uri(name)):
            (data / uri).parent.mkdir(parents=True, exist_ok=True)
        write_video(data / video_uri(name), footage.frames, fps=FPS)
        np.savez_compressed(data / masks_uri(name), footage.masks[0].astype(np.uint8))
        rows.append((name, 0, NUM_FRAMES, FPS, 1, "An object crosses the picture."))
    with (data / TRAIN_CSV).open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    return import_videopainter(data, scratch / "run")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one window."""

    num_reads: int
    num_bytes: int
    num_extra: int
    """Frames decoded beyond the window."""
    extra_frac: float
    """The same as a share of half a second."""
    cpu_s: tuple[float, float, float]
    """As the data set reads it; by decord; the whole clip by decord."""


def window_cost(dataset: Dataset, shards: CountingFolder, length: int, *, seed: int) -> Cost:
    """Read a window of `length` frames at a random place of a random clip."""
    rng = np.random.default_rng((length, seed))
    sample = dataset[int(rng.integers(len(dataset)))]
    start = int(rng.integers(sample.num_frames - length + 1))
    stop = start + length
    shards.num_reads = shards.num_bytes = 0
    own_s = cpu_seconds(lambda: sample.read_frames(start, stop))
    num_reads, num_bytes = shards.num_reads, shards.num_bytes
    mp4 = sample.mp4
    decord_s = cpu_seconds(lambda: ClipReader(mp4).read(range(start, stop)))
    whole_s = cpu_seconds(lambda: ClipReader(mp4).read())
    num_extra = decode_window(mp4, start, stop).num_decoded - length
    return Cost(
        num_reads=num_reads,
        num_bytes=num_bytes,
        num_extra=num_extra,
        extra_frac=num_extra / float(sample.record.clip.fps / 2),
        cpu_s=(own_s, decord_s, whole_s),
    )


def row_of(length: int, costs: Sequence[Cost]) -> Iterator[str]:
    """Means, but for what is decoded beyond the window: there the worst counts."""
    yield f"{length} frames"
    yield f"{np.mean([cost.num_reads for cost in costs]):g}"
    yield f"{np.mean([cost.num_bytes for cost in costs]) / 1e6:.2f}"
    yield f"<= {max(cost.num_extra for cost in costs)} frames"
    yield f"<= {max(cost.extra_frac for cost in costs):.2f}"
    for seconds in np.mean([cost.cpu_s for cost in costs], axis=0):
        yield f"{1000 * seconds:.0f}"


def cpu_seconds(call: Callable[[], object]) -> float:
    """CPU time of a call, all threads."""
    start = time.process_time()
    call()
    return time.process_time() - start


if __name__ == "__main__":
    main()
