"""A small benchmark of drawn footage, whose frames and masks are known."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from benchmark.bench import CASES, FACTS, Bench, Case, cases_table, mask_file, mask_json, open_bench, video_file
from benchmark.footage import scene
from vpdata.dataset.run import parquet_bytes
from vpdata.media.clips import ClipSettings, ClipWriter
from vpdata.media.masks import encode_mask
from vpdata.storage import Folder

FPS = Fraction(12)


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeBench:
    """The benchmark, and what was drawn."""

    bench: Bench
    folder: Path
    frames: dict[str, NDArray[np.uint8]]
    """Case id to uint8 [T, H, W, 3] RGB before encoding, which is nearly lossless."""
    masks: dict[str, NDArray[np.bool_]]
    """Case id to bool [T, H, W], true by construction."""


def make_bench(
    folder: Path,
    *,
    num_short: int = 2,
    num_long: int = 1,
    num_edits: int = 1,
    num_frames: int = 9,
    height_px: int = 48,
    width_px: int = 64,
    sampling: dict | None = None,
) -> MadeBench:
    """Cases `s-0`, ..., `l-0`, ..., `edit-s-0`, ...: one bright object over a drawn background. Long: three times."""
    names = [("S", f"s-{number}") for number in range(num_short)]
    names += [("L", f"l-{number}") for number in range(num_long)]
    names += [("edit-S", f"edit-s-{number}") for number in range(num_edits)]
    cases, frames, masks = [], {}, {}
    for seed, (subset, name) in enumerate(names):
        length = 3 * num_frames if subset == "L" else num_frames
        footage = scene("plain", seed=seed, num_frames=length, height_px=height_px, width_px=width_px, size_frac=0.4)
        frames[name], masks[name] = footage.frames, footage.masks[0]
        mp4 = _encoded(footage.frames)
        edit = {"operation": "swap", "instruction": "Put a green ball there.", "target_object": "a green ball",
                "target_caption": "A green ball moves."} if subset == "edit-S" else {}  # fmt: skip
        counts = [encode_mask(mask) for mask in masks[name]]
        stored = mask_json(counts, height_px=height_px, width_px=width_px)
        cases.append(
            Case(
                id=name,
                subset=subset,
                category="object",
                clip_id=f"{seed:016x}-0-1000",
                video_id=f"{seed:016x}",
                num_frames=length,
                fps=FPS,
                width_px=width_px,
                height_px=height_px,
                sha256=hashlib.sha256(mp4).hexdigest(),
                mask_sha256=hashlib.sha256(stored).hexdigest(),
                tracks=(1,),
                caption=f"A {footage.labels[0]} moves over a dull background.",
                object_caption=f"a {footage.labels[0]}",
                **edit,
            )
        )
        store = Folder(folder)
        store.write(video_file(name), mp4)
        store.write(mask_file(name), stored)
    Folder(folder).write(CASES, parquet_bytes(cases_table(cases)))
    facts = {"name": "drawn", "seed": 0, "sampling": sampling or {}}
    Folder(folder).write(FACTS, yaml.safe_dump(facts).encode())
    return MadeBench(bench=open_bench(folder), folder=folder, frames=frames, masks=masks)


def _encoded(frames: NDArray[np.uint8]) -> bytes:
    writer = ClipWriter(width_px=frames.shape[2], height_px=frames.shape[1], fps=FPS, settings=ClipSettings(crf=4))
    for frame in frames:
        writer.write(frame)
    return writer.finish()
