"""Encoding with a tiny stage: in this process, or in a driver process of its own that a test may kill."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch

from vpdata.dataset.latents import EncodedClip, EncodedWindow, LatentFacts, clip_members, window_member
from vpdata.dataset.split import Split
from vpdata.engine import EngineSettings
from vpdata.engine.encode import EncodeSummary, encode_run
from vpdata.errors import Reason, RejectItem
from vpdata.records import Record
from vpdata.stages.base import Rejected, Resources, Result

FACTS = LatentFacts(
    fingerprint="0" * 16, family="wan", latent_channels=1, stride_t=4, stride_px=8, text_dim=1, takes_first_frame=False
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TinyInputs:
    record: Record
    media: bytes

    @property
    def item_id(self) -> str:
        return self.record.id

    @property
    def num_bytes(self) -> int:
        return len(self.media)


@dataclass(kw_only=True)
class TinyEncode:
    """Its "latents" are the hash of the clip's mp4 and its "text" that of the clip's caption."""

    name = "encode"
    needs_media = True
    settings: Mapping[str, Any] = field(default_factory=dict)
    resources: Resources = field(default_factory=lambda: Resources(memory_gb=1.5, timeout_s=60.0))
    sleep_s: float = 0.0
    """Per clip."""
    deeds: Mapping[str, str] = field(default_factory=dict)
    """What happens at a clip, by its id: "reject" or "abort"; at "setup": "raise"."""

    @property
    def identity(self) -> Mapping[str, Any]:
        return self.settings

    @property
    def models(self) -> tuple:
        return ()

    def setup(self) -> None:
        if "setup" in self.deeds:
            raise ValueError("a worker was started")

    def prepare(self, item: Record, media: bytes) -> TinyInputs:
        if self.deeds.get(item.id) == "reject":
            raise RejectItem(Reason.NO_WINDOW, "too short")
        return TinyInputs(record=item, media=media)

    def process_many(self, inputs: Iterator[TinyInputs]) -> Iterator[Result | Rejected]:
        for one in inputs:
            time.sleep(self.sleep_s)
            if self.deeds.get(one.item_id) == "abort":
                os.abort()
            row = EncodedClip(id=one.item_id, windows=(_window(one.record),))
            file = window_member(video=latents_of(one.media), masked=[], unions=[], first_frame=None)
            texts = {"clip": latents_of(one.record.captions[0].text.encode()).reshape(-1, 1)}
            yield Result(item_id=one.item_id, record=row, members=clip_members({"first": file}, texts))


def _window(record: Record) -> EncodedWindow:
    return EncodedWindow(
        clip_id=record.id, video_id=record.clip.video.id, name="first", start_frame=0, fps=Fraction(8), num_frames=1,
        height_px=32, width_px=64, num_variants=0, hole_fracs=(), variant_kinds=(), variant_tracks=(),
    )  # fmt: skip


def latents_of(content: bytes) -> torch.Tensor:
    """bfloat16 [1, 1, 4, 8]: whole numbers up to 255, which that type holds exactly."""
    return torch.tensor(list(hashlib.sha256(content).digest()), dtype=torch.bfloat16).reshape(1, 1, 4, 8)


def encode(
    run: Path | str, latents: Path | str, *, stage: TinyEncode | None = None, split: Split | None = None, **options: Any
) -> EncodeSummary:
    """Two clips a shard, every clip made durable."""
    return encode_run(
        str(run),
        str(latents),
        stage=stage or TinyEncode(),
        facts=FACTS,
        split=split or Split(),
        engine=EngineSettings(workers=1, flush_every_s=0.0, ray_address="local"),
        config={},
        **({"clips_per_shard": 2, "kind": "local"} | options),
    )


def start_driver(run: Path, latents: Path, *, sleep_s: float) -> subprocess.Popen:
    """The same into one shard, in a process of its own, in its own process group."""
    stage = f"encodes.TinyEncode(sleep_s={sleep_s})"
    call = f"encodes.encode({str(run)!r}, {str(latents)!r}, stage={stage}, clips_per_shard=5)"
    command = [sys.executable, "-c", f"from tests.engine import encodes; {call}"]
    return subprocess.Popen(command, cwd=Path(__file__).parents[2], start_new_session=True, stderr=subprocess.PIPE)
