"""One method on one case: what it is given, how it is measured, and what becomes of its answer."""

from __future__ import annotations

import platform
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import vpdata
from benchmark.bench import Bench, Case, Sampled
from benchmark.methods.kinds import MADE_ELSEWHERE, kind_of
from benchmark.methods.memory import forget_peaks, peak_gpu_memory_mb, peak_memory_mb
from benchmark.methods.port import Method, Prompts
from benchmark.methods.settings import MethodSettings
from benchmark.results import Frames, Outcome, Results
from vpdata.errors import RunError, StorageError, VpdataError
from vpdata.inpaint.any_length import Masks
from vpdata.media.mask_mix import dilate, erode

GREY = 127
"""Value of all channels in a hole."""
_MAX_REASON = 1000
"""Characters: some errors quote whole tensors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a worker needs to know. Picklable."""

    name: str
    settings: MethodSettings
    bench: Bench
    results: Path

    def load(self) -> Method:
        """Errors as from `Kind.load`."""
        return kind_of(self.settings.kind).load(self.settings.filled_options())

    def run(self, method: Method, case: Case) -> Outcome:
        """Fill one case and keep its video; what this returns is to be kept by the caller.

        So a process that is being killed cannot finish a case. StorageError where the video cannot be written.
        """
        try:
            sampled = self.bench.sampled(case)
        except (RunError, StorageError) as error:
            return failed(f"the case itself cannot be read: {error}")
        frames, masks = given(sampled, self.settings, is_edit=case.is_edit)
        made, outcome = _measured(method, frames, masks, prompts_of(case))
        if self.settings.kind in MADE_ELSEWHERE:
            outcome = replace(outcome, seconds=None, peak_memory_mb=None, peak_gpu_memory_mb=None, machine=None)
        if made is None:
            return outcome
        return Results(self.results).keep_video(self.name, case.id, made, outcome, fps=sampled.fps)


def given(sampled: Sampled, settings: MethodSettings, *, is_edit: bool) -> tuple[Frames, Masks]:
    """Frames and masks as the method gets them: nobody sees what is to be filled, or what an edit is to replace."""
    reach_px = settings.dilate_px
    masks = dilate(sampled.masks, reach_px) if reach_px >= 0 else erode(sampled.masks, -reach_px)
    masks = masks.copy()
    if settings.give_first_frame and not is_edit:
        masks[0] = False
    return np.where(masks[..., None], np.uint8(GREY), sampled.frames), masks


def prompts_of(case: Case) -> Prompts:
    """The words of a case; of an edit those for the video as it should be."""
    return Prompts(case_id=case.id, video=case.prompt, region=case.region_prompt)


def failed(reason: str) -> Outcome:
    """An outcome without a video."""
    return Outcome(status="failed", reason=reason[:_MAX_REASON], code_version=vpdata.__version__)


def _measured(method: Method, frames: Frames, masks: Masks, prompts: Prompts) -> tuple[Frames | None, Outcome]:
    """The method's answer, or None for one that is no result."""
    forget_peaks()
    made, problem = None, None
    shape = frames.shape
    started_s = time.perf_counter()
    try:
        made = method.inpaint(frames, masks, prompts)
    except VpdataError as error:
        problem = str(error)
    except Exception as error:  # noqa: BLE001  whatever a method raises is the outcome of its case
        problem = f"{type(error).__name__}: {error}"
    seconds = time.perf_counter() - started_s
    problem = problem or _what_is_wrong(made, shape)
    outcome = Outcome(
        status="failed" if problem else "ok",
        reason=problem[:_MAX_REASON] if problem else None,
        seconds=round(seconds, 4),
        peak_memory_mb=round(peak_memory_mb(), 1),
        peak_gpu_memory_mb=peak_gpu_memory_mb(),
        machine=_machine(),
        code_version=vpdata.__version__,
    )
    return (None if problem else made), outcome


def _what_is_wrong(made: object, shape: tuple[int, ...]) -> str | None:
    """Why an answer is no video of the wanted shape; None for one that is."""
    if not isinstance(made, np.ndarray):
        return f"the method gave a {type(made).__name__}, wanted an array"
    if np.issubdtype(made.dtype, np.floating) and not np.isfinite(made).all():
        return f"the method gave {np.count_nonzero(~np.isfinite(made))} values of {made.size} that are NaN or infinite"
    if made.dtype != np.uint8 or made.shape != shape:
        return f"the method gave {made.dtype} {list(made.shape)}, wanted uint8 {list(shape)}"
    return None


def _machine() -> str:
    """The GPU, if torch has one in use, else the processor."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return torch.cuda.get_device_name()
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
