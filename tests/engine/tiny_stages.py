"""Stages that decode nothing: a source is a text file whose words say what happens to it.

A number is how many clips it gives. `abort`, `hang`, `compute`, `leak`, `kill`, `exit` and `raise` happen to the stage
named before the colon, as in `cut:abort`, or `filter:hang@1` for the clip at second 1 only.
"""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from vpdata.engine.work import Counts, Work
from vpdata.errors import Reason, RejectItem
from vpdata.models.ports import ModelCard
from vpdata.records import Clip, Record, Reject, Source, Verdict, Video, clip_id
from vpdata.stages.base import Rejected, Resources, Result


@dataclass(frozen=True, slots=True, kw_only=True)
class TinyInputs:
    item: Any
    text: str

    @property
    def item_id(self) -> str:
        return self.item.id

    @property
    def num_bytes(self) -> int:
        return 1000


@dataclass(kw_only=True)
class TinyStage:
    """What all of them share; `settings` are their identity."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    resources: Resources = field(default_factory=lambda: Resources(memory_gb=0.4, timeout_s=60.0))
    needs_media = True
    name = ""

    @property
    def identity(self) -> Mapping[str, Any]:
        return {name: value for name, value in self.settings.items() if name != "sleep_s"}

    @property
    def models(self) -> tuple[ModelCard, ...]:
        return ()

    def setup(self) -> None:
        if "setup" in self.settings:
            _misbehave(self.settings["setup"])

    def prepare(self, item: Any, media: Any) -> TinyInputs:
        text = media.read_text() if isinstance(media, Path) else media.decode().partition("\n")[0]
        if not text:
            raise RejectItem(Reason.EMPTY_FILE, "zero bytes", got="0 bytes", wanted="a video")
        return TinyInputs(item=item, text=text)

    def act(self, text: str, start_s: int | None) -> None:
        time.sleep(self.settings.get("sleep_s", 0.0))
        for word in text.split():
            stage, _, deed = word.partition(":")
            deed, _, when = deed.partition("@")
            if stage == self.name and when in ("", str(start_s)):
                _misbehave(deed)


class TinyCut(TinyStage):
    """One-second clips whose "mp4" is the source's text and a number."""

    name = "cut"

    def process_many(self, inputs: Iterator[TinyInputs]) -> Iterator[Result | Rejected]:
        for one in inputs:
            self.act(one.text, None)
            num_clips = int(one.text.split()[0])
            for number in range(num_clips):
                mp4 = f"{one.text}\n{one.item.id} {number}\n".encode() * self.settings.get("repeat", 1)
                record = make_record(one.item, number, mp4, size_bytes=len(one.text.encode()))
                yield Result(item_id=one.item.id, record=record, members={"mp4": mp4})
            reject = Reject(
                id=clip_id(one.item.id, num_clips, num_clips + 0.5), stage="cut", reason=Reason.TOO_SHORT,
                detail="the rest", video_id=one.item.id, uri=one.item.uri, start_s=num_clips, stop_s=num_clips + 0.5,
            )  # fmt: skip
            yield Rejected(item_id=one.item.id, reject=reject)


class TinyDetect(TinyStage):
    """Works in batches of three, as a model would."""

    name = "detect"

    def process_many(self, inputs: Iterator[TinyInputs]) -> Iterator[Result | Rejected]:
        batch: list[TinyInputs] = []
        for one in inputs:
            batch.append(one)
            if len(batch) == 3:
                yield from self._outcomes(batch)
                batch = []
        yield from self._outcomes(batch)

    def _outcomes(self, batch: list[TinyInputs]) -> Iterator[Result | Rejected]:
        for one in batch:
            self.act(one.text, int(one.item.clip.start_s))
        for one in batch:
            yield Result(item_id=one.item.id, record=replace(one.item, detections=(), tracks=(), captions=()))


class OnceBroken(TinyDetect):
    """Its process is broken by its first clip, and only a new one works again."""

    is_broken = False

    def act(self, text: str, start_s: int | None) -> None:
        flag = Path(self.settings["flag"])
        if self.is_broken or not flag.exists():
            flag.touch()
            self.is_broken = True
            raise RuntimeError("CUDA error: an illegal memory access was encountered")


class TinyFilter(TinyStage):
    name = "filter"
    needs_media = False

    def prepare(self, item: Record, media: bytes) -> TinyInputs:
        return TinyInputs(item=item, text="")

    def process_many(self, inputs: Iterator[TinyInputs]) -> Iterator[Result | Rejected]:
        for one in inputs:
            yield Result(item_id=one.item.id, record=replace(one.item, verdict=Verdict(keep=True)))


@dataclass(frozen=True, kw_only=True)
class EndlessJob:
    """A job without a stage: writes its process down in a file and is never done."""

    resources: Resources
    flag: Path
    name = "endless"
    has_items = True

    def setup(self) -> None:
        pass

    def run(self, work: Work, alive: Callable[[int], None]) -> Counts:
        self.flag.write_text(str(os.getpid()))
        time.sleep(3600)
        raise AssertionError


def make_record(source: Source, number: int, mp4: bytes, *, size_bytes: int = 1) -> Record:
    """A record as `cut` would make it."""
    digest = hashlib.sha256(mp4).hexdigest()
    video = Video(
        id=source.id, uri=source.uri, size_bytes=size_bytes, width_px=64, height_px=48, fps=Fraction(10),
        num_frames=100, duration_s=10.0, codec="none", content_hash=hashlib.sha256(source.uri.encode()).hexdigest(),
    )  # fmt: skip
    start_s, stop_s = float(number), float(number + 1)
    clip = Clip(
        id=clip_id(source.id, start_s, stop_s), video=video, shot=number, shot_start_s=start_s, shot_stop_s=stop_s,
        start_s=start_s, stop_s=stop_s, num_frames=10, fps=Fraction(10), width_px=64, height_px=48, sha256=digest,
        phash=digest[:16],
    )  # fmt: skip
    return Record(id=clip.id, clip=clip)


def _misbehave(deed: str) -> None:
    if deed == "abort":
        os.abort()
    elif deed == "hang":
        time.sleep(3600)
    elif deed == "compute":
        # One call of C code during which no other Python thread runs.
        sum(range(10**9))
    elif deed == "leak":
        held = []
        while True:
            held.append(bytearray(os.urandom(1 << 20)) * 16)
            time.sleep(0.02)
    elif deed == "kill":
        # As the kernel does when memory runs out.
        os.kill(os.getpid(), signal.SIGKILL)
    elif deed == "exit":
        os._exit(3)
    elif deed == "raise":
        raise ValueError("a fault of ours")
    else:
        raise AssertionError(deed)
