"""Does every model work here? Loads each in a process of its own and shows it one clip: `vpdata models check`.

A model that loads and answers, but not with what is on the clip, is doubtful and no failure: what weights can do is for
their user to judge, and the clip is a plain drawing.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vpdata import models
from vpdata.config import ModelChoice
from vpdata.errors import BackendError, ConfigError, VpdataError
from vpdata.models import MODELS, Role
from vpdata.models.catalogue import opened_by
from vpdata.models.weights import WEIGHTS_VARIABLE, never_fetched

NEED_OPTIONS: Mapping[tuple[Role, str], str] = {("captioner", "openai"): "base_url and model"}
"""Models that have no defaults to be checked with, and the options that a config must give them."""
_ROLE_OF_SETTING: Mapping[str, Role] = {"tracker": "mask_tracker", "scorers": "scorer", "rewriter": "captioner"}
"""Settings that are not called as their role."""
Status = Literal["ok", "doubtful", "FAILED", "not here"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What came of one model."""

    role: Role
    name: str
    load_s: float = 0.0
    run_s: float = 0.0
    """For one clip of two seconds; the first call of a model is its slowest."""
    memory_gb: float = 0.0
    """Peak of its process, in 10^9 bytes."""
    gpu_memory_gb: float = 0.0
    """Peak of what torch took."""
    answer: str = ""
    doubt: str = ""
    """What it should have answered; "" where it did, or did not answer at all."""
    fault: str = ""
    """Why it does not work; "" where it does."""
    lacks: str = ""
    """What must be had before it can be tried, for a model that the config does not name; "" for all others."""

    @property
    def status(self) -> Status:
        if self.lacks:
            return "not here"
        if self.fault:
            return "FAILED"
        return "doubtful" if self.doubt else "ok"

    def __str__(self) -> str:
        left = f"{self.role:<14} {self.name:<15} {self.status:<8}"
        if self.lacks or self.fault:
            return f"{left} {self.lacks or self.fault}"
        times = f"load {self.load_s:6.1f} s  clip {self.run_s:6.2f} s"
        memory = f"memory {self.memory_gb:5.1f} GB  GPU {self.gpu_memory_gb:5.1f} GB"
        return f"{left} {times}  {memory}  {self.answer}{f'; {self.doubt}' if self.doubt else ''}"


def choices_in(settings: object) -> Iterator[tuple[Role, ModelChoice]]:
    """Every model that a config names, once, in the order of its stages."""
    seen = []
    for _, role, choice in named_choices(settings):
        if (role, choice) not in seen:
            seen.append((role, choice))
            yield role, choice


def named_choices(settings: object, *, where: str = "") -> Iterator[tuple[str, Role, ModelChoice]]:
    """Every model that a config names, with the setting that names it, such as `detect.scorers[1]`."""
    for item in dataclasses.fields(settings):  # type: ignore[arg-type]
        value, name = getattr(settings, item.name), f"{where}{item.name}"
        entries = [(f"{name}[{row}]", one) for row, one in enumerate(value)] if isinstance(value, tuple) else []
        for setting, one in entries or [(name, value)]:
            if isinstance(one, ModelChoice):
                role: Any = _ROLE_OF_SETTING.get(item.name, item.name)
                if role not in MODELS:
                    raise ConfigError(f"the setting {item.name} names a model, and no role is called so")
                yield setting, role, one
            elif dataclasses.is_dataclass(one):
                yield from named_choices(one, where=f"{setting}.")


def others(chosen: Sequence[tuple[Role, ModelChoice]]) -> Iterator[tuple[Role, ModelChoice]]:
    """The models that are not among the chosen, each with its defaults."""
    names = {(role, choice.name) for role, choice in chosen}
    for role, known in MODELS.items():
        for name in known:
            if (role, name) not in names:
                yield role, ModelChoice(name=name)


def check_other(role: Role, choice: ModelChoice, *, has_gpu: bool) -> Row:
    """As `check`, for a model that no config names: what it lacks here is no fault."""
    if lacks := _lacks(role, choice, has_gpu=has_gpu):
        return Row(role=role, name=choice.name, lacks=lacks)
    return check(role, choice)


def _lacks(role: Role, choice: ModelChoice, *, has_gpu: bool) -> str:
    if options := NEED_OPTIONS.get((role, choice.name)):
        return f"a config must name it, with {options}"
    if missing := never_fetched(opened_by(role, choice)):
        place = os.environ.get(WEIGHTS_VARIABLE) or "FOLDER_OR_URI"
        return f"vpdata models fetch {' '.join(name for name, _ in missing)} --to {place}"
    try:
        models.describe(role, choice)
    except BackendError as error:
        return str(error)
    if getattr(models.settings_of(role, choice), "device", "cpu") == "cuda" and not has_gpu:
        return "runs on a GPU, and none is here; a config may name it with the option `device: cpu`"
    return ""


def summary(rows: Sequence[Row]) -> str:
    """How many models came out how, in a line."""
    counts = Counter(row.status for row in rows)
    statuses: tuple[Status, ...] = ("ok", "doubtful", "FAILED", "not here")
    return f"{len(rows)} models: {', '.join(f'{counts[one]} {one}' for one in statuses if counts[one])}"


def doubts(rows: Sequence[Row]) -> str:
    """What to say of the doubtful ones; "" where there are none."""
    names = ", ".join(f"{row.role} {row.name}" for row in rows if row.status == "doubtful")
    if not names:
        return ""
    return (
        f"doubtful: {names}. They load and answer, but not with what is on the clip, a red ball that rolls over rough "
        "ground. Wrong or random weights do so: look at the answers above, and at a build of a few clips"
    )


def check(role: Role, choice: ModelChoice) -> Row:
    """Load a model in a fresh process and run it; what goes wrong, a crash too, is the row's fault."""
    if missing := never_fetched(opened_by(role, choice)):
        return Row(role=role, name=choice.name, fault=f"no weights of {', '.join(name for name, _ in missing)} here")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        done = pool.submit(_run, role, choice)
        error = done.exception()
    if error is None:
        return done.result()
    fault = str(error) if isinstance(error, VpdataError) else f"{type(error).__name__}: {error}"
    return Row(role=role, name=choice.name, fault=fault)


def _run(role: Role, choice: ModelChoice) -> Row:
    from vpdata.models.check_clip import ASK, make_clip

    clip = make_clip()
    started = time.perf_counter()
    model = models.maker(role, choice)()
    loaded = time.perf_counter()
    answer = ASK[role](model, clip)
    done = time.perf_counter()
    return Row(
        role=role,
        name=choice.name,
        load_s=loaded - started,
        run_s=done - loaded,
        memory_gb=_peak_memory_gb(),
        gpu_memory_gb=_peak_gpu_memory_gb(),
        answer=answer.text,
        doubt=answer.doubt,
    )


def _peak_memory_gb() -> float:
    # Not getrusage, whose peak a new process inherits from the one that started it.
    status = Path("/proc/self/status")
    peak = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(peak[1]) * 1024 / 1e9 if peak else 0.0


def _peak_gpu_memory_gb() -> float:
    torch: Any = sys.modules.get("torch")
    return torch.cuda.max_memory_allocated() / 1e9 if torch and torch.cuda.is_available() else 0.0
