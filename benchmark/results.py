"""What a folder of results holds, and reading and writing it: one folder a method, in it an outcome and a video a case.

<results>/<method>/method.yaml     what made these results: `MethodRecord`
<results>/<method>/<case id>.mkv   the raw output: FFV1 in Matroska, RGB of 8 bits, without loss
<results>/<method>/<case id>.json  `Outcome`; written last: with it, and with its video if it is ok, a case is finished
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import msgspec
import numpy as np
import yaml
from av.error import FFmpegError
from numpy.typing import NDArray

from vpdata.codec import from_json, to_json
from vpdata.config import fill, read_yaml, to_plain
from vpdata.errors import ConfigError, RunError
from vpdata.storage import Folder

Frames = NDArray[np.uint8]
"""[frames, height, width, 3] RGB."""
Shape = tuple[int, int, int]
"""Frames, height and width."""

METHOD_FILE = "method.yaml"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")
_STORED = "bgr0"
"""The pixel format by which FFV1 knows RGB of 8 bits; it keeps all three as they are."""


HELD_OUT_OF = "held out of "
"""Begins the names, among a method's weights, of what was held out of the training of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodRecord:
    """What made the results of one method. Two that differ in `decides` are not results of one method."""

    name: str
    kind: str
    """Which of the methods that the benchmark knows."""
    settings: Mapping[str, Any]
    """Of that kind."""
    bench: str
    """Fingerprint of the benchmark whose cases were filled."""
    dilate_px: int = 0
    """How far the hole that the method was given reaches around the case's mask; negative where it was shrunk."""
    first_frame_given: bool = False
    """Whether the true first frame was given, with no hole in it; of an edit only by version 1."""
    given_version: int = 1
    """Of what methods are given: `MethodSettings.given_version`."""
    weights: Mapping[str, str] | None = field(default_factory=dict)
    """What is known of the model's weights: a name to a hash or a revision. None: there are none, and no results."""
    code_version: str = ""
    """Of vpdata when the first of these results were made; each outcome says its own."""

    @property
    def decides(self) -> dict[str, Any]:
        """All that decides the frames, as plain data: not the version of this code, nor what is told of the weights."""
        decides = {name: value for name, value in to_plain(self).items() if name != "code_version"}
        if self.weights:
            decides["weights"] = {name: one for name, one in self.weights.items() if not name.startswith(HELD_OUT_OF)}
        return decides

    def gave_first_frame(self, *, is_edit: bool) -> bool:
        """Whether the true first frame of such a case was given."""
        return self.first_frame_given and not (is_edit and self.given_version >= 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one case. Of one that failed all but `reason` may be None."""

    status: Literal["ok", "failed"]
    reason: str | None = None
    """Why it failed."""
    seconds: float | None = None
    """The method's own time: without loading it, and without reading and writing videos. Of a program that is started
    for each case, all from writing its pictures to reading its output; None for results that were made elsewhere."""
    peak_memory_mb: float | None = None
    """Most resident memory of the process, or of a program that it started, meanwhile, what was loaded before included;
    in 10**6 bytes."""
    peak_gpu_memory_mb: float | None = None
    """Most memory that torch held on the GPU meanwhile; None where none was used or seen, as of another program."""
    machine: str | None = None
    """GPU, or processor, that time and memory are of."""
    shape: Shape | None = None
    """Of the video."""
    sha256: str | None = None
    """Of the video's file."""
    code_version: str = ""
    """Of vpdata that ran it."""


def measured(outcomes: Sequence[Outcome]) -> tuple[list[float], list[float], list[float]]:
    """Of the cases that say so: seconds, and the peaks of memory on the host and on the GPU in 10**6 bytes."""
    return (
        [one.seconds for one in outcomes if one.seconds is not None],
        [one.peak_memory_mb for one in outcomes if one.peak_memory_mb is not None],
        [one.peak_gpu_memory_mb for one in outcomes if one.peak_gpu_memory_mb is not None],
    )


class BadResult(RunError):  # noqa: N818  it names an outcome, not a fault of ours
    """A case that has no usable frames; the message is the reason, for a row of a table."""


class Results:
    """The folder `root`. Names of methods and ids of cases are checked before they become names of files."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of all folders with results, sorted, whether `method` knows what made them or not."""
        # JSON alone makes none: a leaderboard, or the export of a study, may lie here too.
        patterns = (METHOD_FILE, "*.mkv")
        return tuple(sorted({path.parent.name for one in patterns for path in self.root.glob(f"*/{one}")}))

    def method(self, name: str, *, bench: str | None = None) -> MethodRecord:
        """ConfigError where the file is missing, damaged, or of another method: a folder that was renamed.

        With `bench`, the fingerprint of a benchmark, also where the results are not on that one.
        """
        path, where = self.root / check_name(name) / METHOD_FILE, f"{name}/{METHOD_FILE}"
        if not path.is_file():
            raise ConfigError(f"{where} is missing, so nothing says what made these results; --redo makes them anew")
        record = fill(MethodRecord, read_yaml(path), where=where)
        if record.name != name:
            raise ConfigError(
                f"{where} is of the method {record.name!r}, but lies in the folder of {name!r}; change both or neither"
            )
        if bench not in (None, record.bench):
            raise ConfigError(f"{where}: results on another benchmark: got {record.bench}, wanted {bench}; run it anew")
        return record

    def fingerprint(self, method: str, case_ids: Iterable[str]) -> str:
        """16 hex digits of what made the results, and of the outcomes of these cases with their videos' hashes."""
        digest = hashlib.sha256()
        for name in (METHOD_FILE, *(f"{case_id}.json" for case_id in case_ids)):
            path = self.root / method / name
            digest.update(hashlib.sha256(path.read_bytes() if path.is_file() else b"").digest())
        return digest.hexdigest()[:16]

    def outcome(self, method: str, case_id: str) -> Outcome:
        """A case without a file, or with a damaged one, has failed too."""
        files = self._files(method)
        name = f"{check_name(case_id)}.json"
        if not files.exists(name):
            return Outcome(status="failed", reason="no result: the method was not run on this case, or not to its end")
        try:
            return from_json(files.read(name), Outcome)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return Outcome(status="failed", reason=f"the result is corrupt: {name}: {error}")

    def checked(self, method: str, case_id: str) -> Outcome:
        """As `outcome`; a case whose video is missing or has other bytes than were written has failed too."""
        outcome, path = self.outcome(method, case_id), self.video(method, case_id)
        if outcome.status == "failed":
            return outcome
        digest = ""
        if path.is_file():
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        problem = _damage(path, digest, outcome)
        return Outcome(status="failed", reason=problem) if problem else outcome

    def has_outcome(self, method: str, case_id: str) -> bool:
        """Whether the case was finished: not, or with a video, which is not looked into."""
        if not self._files(method).exists(f"{check_name(case_id)}.json"):
            return False
        return self.outcome(method, case_id).status == "failed" or self.video(method, case_id).is_file()

    def video(self, method: str, case_id: str) -> Path:
        """Where a case's video is, if it has one."""
        return self.root / check_name(method) / f"{check_name(case_id)}.mkv"

    def frames(self, method: str, case_id: str, *, shape: Shape | None = None) -> Frames:
        """uint8 `[T, H, W, 3]` RGB, every bit as the method gave it.

        BadResult where the case failed, the file is not the one that was written, or its shape is not the wanted one.
        """
        outcome = self.outcome(method, case_id)
        if outcome.status == "failed":
            raise BadResult(outcome.reason or "failed without a reason")
        if shape is not None and outcome.shape != shape:
            raise BadResult(f"got {_named(outcome.shape)}, wanted {_named(shape)}")
        path = self.video(method, case_id)
        data = path.read_bytes() if path.is_file() else b""
        if problem := _damage(path, hashlib.sha256(data).hexdigest(), outcome):
            raise BadResult(problem)
        assert outcome.shape is not None
        return decode_lossless(data, shape=outcome.shape)

    def begin(self, record: MethodRecord, *, redo: bool = False) -> None:
        """Claim the method's folder. With results of other or unknown settings in it, `redo` drops them; else RunError,
        or ConfigError as from `method`. Results of another version stay, and so does the version of the record.
        """
        files = self._files(record.name)
        if redo:
            files.remove_all()
        # Failures alone are results as well.
        if any(name == METHOD_FILE or name.endswith((".json", ".mkv")) for name in files.names()):
            old = self.method(record.name)
            if record.weights is None or old.weights is None:
                # Nothing is made without weights, so that failures alone can come beside what is there.
                known = old.weights if record.weights is None else record.weights
                record, old = replace(record, weights=known), replace(old, weights=known)
            changed = [key for key, value in record.decides.items() if old.decides[key] != value]
            if changed:
                raise RunError(
                    f"{record.name}/{METHOD_FILE} is of another {record.name!r}: {', '.join(changed)} differ; give one "
                    "of the two another name, or --redo to drop the results that are there"
                )
            record = replace(record, code_version=old.code_version)
        files.write(METHOD_FILE, yaml.safe_dump(to_plain(record), sort_keys=False, allow_unicode=True).encode())

    def keep(self, method: str, case_id: str, frames: Frames, outcome: Outcome, *, fps: Fraction) -> None:
        """Write the video and then the outcome, with the video's shape and hash."""
        self.keep_outcome(method, case_id, self.keep_video(method, case_id, frames, outcome, fps=fps))

    def keep_video(self, method: str, case_id: str, frames: Frames, outcome: Outcome, *, fps: Fraction) -> Outcome:
        """Write the video; the case is not finished before the outcome that this returns is kept."""
        data = encode_lossless(frames, fps=fps)
        self._files(method).write(f"{check_name(case_id)}.mkv", data)
        num_frames, height, width, _ = frames.shape
        return replace(outcome, shape=(num_frames, height, width), sha256=hashlib.sha256(data).hexdigest())

    def keep_failure(self, method: str, case_id: str, outcome: Outcome) -> None:
        """Write the outcome of a case that has no video, and drop an older video."""
        self._files(method).remove(f"{check_name(case_id)}.mkv")
        self.keep_outcome(method, case_id, outcome)

    def keep_outcome(self, method: str, case_id: str, outcome: Outcome) -> None:
        """Write the outcome alone, which finishes the case."""
        self._files(method).write(f"{check_name(case_id)}.json", to_json(outcome))

    def _files(self, method: str) -> Folder:
        return Folder(str(self.root / check_name(method)))


def open_results(root: str | Path) -> Results:
    """For reading; ConfigError where nothing has results there."""
    results = Results(root)
    if not results.methods:
        raise ConfigError(f"{root} holds no results of any method; wanted an output of `run`")
    return results


def check_name(name: str) -> str:
    """The name of a method or a case; ConfigError for one that could not be the name of a file everywhere."""
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"got the name {name!r}, wanted up to 80 of a-z, 0-9, '.', '_' and '-', a letter or digit first"
        )
    return name


def encode_lossless(frames: Frames, *, fps: Fraction) -> bytes:
    """uint8 `[T, H, W, 3]` RGB as FFV1 (RFC 9043) in Matroska; equal frames give equal bytes."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("ffv1", rate=fps)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = _STORED
        stream.options = {"level": "3"}
        for pixels in frames:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            container.mux(stream.encode(frame.reformat(format=_STORED)))
        container.mux(stream.encode())
    return buffer.getvalue()


def decode_lossless(data: bytes, *, shape: Shape) -> Frames:
    """Inverse of `encode_lossless`; BadResult for what cannot be decoded to that shape."""
    num_frames, height, width = shape
    frames = np.empty((num_frames, height, width, 3), np.uint8)
    num_decoded = 0
    try:
        # From memory, with one demuxer and one decoder: a file of strangers opens no other file.
        with av.open(io.BytesIO(data), "r", options={"format_whitelist": "matroska,webm"}) as container:
            (stream,) = container.streams.video
            context = stream.codec_context
            found = (context.name, context.pix_fmt, context.height, context.width)
            if found != (wanted := ("ffv1", _STORED, height, width)):
                raise BadResult(f"the result is corrupt: got {found}, wanted {wanted}")
            for frame in container.decode(stream):
                if num_decoded < num_frames:
                    frames[num_decoded] = frame.to_ndarray(format="rgb24")
                num_decoded += 1
    except (FFmpegError, ValueError) as error:
        raise BadResult(f"the result is corrupt: {error}") from error
    if num_decoded != num_frames:
        raise BadResult(f"the result is corrupt: got {num_decoded} frames, wanted {num_frames}")
    return frames


def _damage(path: Path, digest: str, outcome: Outcome) -> str | None:
    """Why a video of that SHA-256 is not the one that was written; None where it is."""
    if digest == outcome.sha256 and outcome.shape is not None:
        return None
    state = "has other bytes than were written" if path.is_file() else "is missing"
    return f"the result is corrupt: {path.name} {state}"


def _named(shape: Shape | None) -> str:
    if shape is None:
        return "a video of unknown shape"
    num_frames, height, width = shape
    return f"{num_frames} frames of {width} x {height} px"
