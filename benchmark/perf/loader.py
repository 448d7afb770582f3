"""What it costs to feed a trainer: samples per second from latents, and the CPU of reading through the index.

python -m benchmark.perf.loader
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from io import FileIO
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmark.perf.reading import make_run
from vpdata.dataset import layout
from vpdata.dataset.latents import (
    EncodedClip,
    EncodedWindow,
    LatentDataset,
    LatentFacts,
    WindowName,
    clip_members,
    open_latents,
    window_member,
    write_latents,
)
from vpdata.dataset.reader import Dataset, open_dataset
from vpdata.train.captions import TextSettings
from vpdata.train.latent_batches import latent_batches
from vpdata.train.planned import LoaderSettings

NUM_CLIPS, NUM_VARIANTS, NUM_RUNS = 24, 2, 9
NUM_HELD = 8
"""Samples that are kept while the next is read, as a loader keeps those that wait for the trainer."""
STEP_S = 2.2
"""Target of one step of CogVideoX-5B, batch 1, on one H200; the loader should keep up with five of them."""
CHANNELS, LATENT_FRAMES, HEIGHT_PX, WIDTH_PX, STRIDE_PX = 16, 13, 480, 720, 8
TEXT_LENGTH, TEXT_DIM = 226, 4096
CLIP_SIZE = 1280, 720


def main() -> None:
    """Print the tables."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        latents = make_latents(Path(scratch, "latents"))
        print_loading(latents)
        clips = open_dataset(make_run(Path(scratch), num_clips=4, size=CLIP_SIZE).folder.uri)
        print_reading(Path(scratch), latents, clips)


def make_latents(folder: Path) -> LatentDataset:
    """Latents of CogVideoX's sizes (49 frames at 480x720), two windows a clip, and captions of clip and object."""
    facts = LatentFacts(
        fingerprint="0" * 16, family="cogvideox", latent_channels=CHANNELS, stride_t=4, stride_px=STRIDE_PX,
        text_dim=TEXT_DIM, takes_first_frame=False,
    )  # fmt: skip
    write_latents(folder, facts, [_encoded_clip(number) for number in range(NUM_CLIPS)], clips_per_shard=8)
    return open_latents(folder)


def _encoded_clip(number: int) -> tuple[EncodedClip, dict[str, bytes]]:
    rng = torch.Generator().manual_seed(number)
    shape = CHANNELS, LATENT_FRAMES, HEIGHT_PX // STRIDE_PX, WIDTH_PX // STRIDE_PX
    union = np.zeros((LATENT_FRAMES, HEIGHT_PX, WIDTH_PX), dtype=np.bool_)
    union[:, 100:300, 200:500] = True
    windows, members = [], {}
    names: tuple[WindowName, ...] = ("first", "last")
    for name in names:
        members[name] = window_member(
            video=torch.randn(shape, generator=rng),
            masked=[torch.randn(shape, generator=rng) for _ in range(NUM_VARIANTS)],
            unions=[union] * NUM_VARIANTS,
            first_frame=None,
        )
        window = EncodedWindow(
            clip_id=f"clip-{number:04d}", video_id=f"video-{number:04d}", name=name, start_frame=0, fps=Fraction(8),
            num_frames=49, height_px=HEIGHT_PX, width_px=WIDTH_PX, num_variants=NUM_VARIANTS,
            hole_fracs=(0.2,) * NUM_VARIANTS, variant_kinds=("track",) * NUM_VARIANTS,
            variant_tracks=((1,),) * NUM_VARIANTS,
        )  # fmt: skip
        windows.append(window)
    texts = {caption: torch.randn(TEXT_LENGTH, TEXT_DIM, generator=rng) for caption in ("clip", "1")}
    return EncodedClip(id=f"clip-{number:04d}", windows=tuple(windows)), clip_members(members, texts)


def print_loading(dataset: LatentDataset) -> None:
    """Samples per second of the loader alone: nobody computes beside it."""
    wanted = 5 / STEP_S
    print("| threads | samples/s | CPU ms a sample | of 5x one H200 |\n| ---: | ---: | ---: | ---: |")
    for num_threads in (1, 2, 4):
        batches = latent_batches(
            dataset,
            text=TextSettings(),
            empty_text=torch.zeros(TEXT_LENGTH, TEXT_DIM, dtype=torch.bfloat16),
            text_length=TEXT_LENGTH,
            loader=LoaderSettings(batch_size=1, num_threads=num_threads),
            seed=0,
        )
        costs = [_cost_of(partial(_held, batches.epoch(epoch))) for epoch in range(NUM_RUNS)]
        num_samples = len(dataset.windows)
        rate = num_samples / statistics.median(wall_s for wall_s, _ in costs)
        cpu_ms = 1000 * statistics.median(cpu_s for _, cpu_s in costs) / num_samples
        print(f"| {num_threads} | {rate:.0f} | {cpu_ms:.1f} | {rate / wanted:.0f} x |")


def print_reading(scratch: Path, latents: LatentDataset, clips: Dataset) -> None:
    """CPU of the same bytes through the index and in one raw sequential read, in turn, all in the page cache."""
    print("\n| samples | MB each | CPU ms, index | CPU ms, raw | ratio |\n| --- | ---: | ---: | ---: | ---: |")
    sizes = [window.num_bytes + window.text_num_bytes for window in latents.windows]
    shards = sorted((scratch / "latents" / layout.SHARDS).iterdir())
    print_ratio(
        "window of latents, with texts", shards, sizes, lambda: map(latents.read, latents.windows), raw_read=_into_array
    )
    sizes = [len(sample.mp4) for sample in clips] * 60
    shards = sorted((scratch / "run" / layout.SHARDS).iterdir())
    print_ratio(
        "clip of video",
        shards,
        sizes,
        lambda: (sample.mp4 for _ in range(60) for sample in clips),
        raw_read=FileIO.read,
    )


def print_ratio(
    what: str,
    shards: Sequence[Path],
    sizes: Sequence[int],
    read: Callable[[], Iterable[object]],
    *,
    raw_read: Callable[[FileIO, int], object],
) -> None:
    """One row: medians of the runs. `raw_read` takes its memory as `read` does, for that costs as much as reading."""
    own, raw = [], []
    for _ in range(NUM_RUNS):
        own.append(_cost_of(lambda: _held(read()))[1])
        raw.append(_cost_of(lambda: _held(raw_reads(shards, sizes, raw_read)))[1])
    own_ms, raw_ms = (1000 * statistics.median(costs) / len(sizes) for costs in (own, raw))
    ratio = statistics.median(ours / theirs for ours, theirs in zip(own, raw, strict=True))
    print(f"| {what} | {statistics.mean(sizes) / 1e6:.1f} | {own_ms:.2f} | {raw_ms:.2f} | {ratio:.2f} |")


def raw_reads(shards: Sequence[Path], sizes: Sequence[int], read: Callable[[FileIO, int], object]) -> Iterator[object]:
    """As many bytes as `sizes` name, piece by piece from the start of the shards on, and from there again."""
    remaining = iter(sizes)
    size = next(remaining, None)
    while size is not None:
        for shard in shards:
            with FileIO(shard) as file:
                left = shard.stat().st_size
                while size is not None and size <= left:
                    yield read(file, size)
                    left -= size
                    size = next(remaining, None)


def _into_array(file: FileIO, num_bytes: int) -> NDArray[np.uint8]:
    array = np.empty(num_bytes, dtype=np.uint8)
    file.readinto(array.data)
    return array


def _held(results: Iterable[object]) -> None:
    deque(results, maxlen=NUM_HELD)


def _cost_of(call: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds, all threads."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall_s, time.process_time() - cpu_s


if __name__ == "__main__":
    main()
