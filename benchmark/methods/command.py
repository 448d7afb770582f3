"""A program of others, started anew for each case: frames and masks go in as pictures, its output is read."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from benchmark.methods import guarded
from benchmark.methods.exchange import read_frames, write_pictures
from benchmark.methods.memory import wait_for
from benchmark.methods.port import Kind, Prompts
from benchmark.results import BadResult, Frames
from vpdata.codec import to_json
from vpdata.config import to_plain
from vpdata.inpaint.any_length import Masks

PLACES = ("frames", "masks", "prompt_file", "output")
_PLACE = re.compile(r"\{(\w*)\}")
_LAST_WORDS = 600
"""Characters of the program's output that a reason holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSettings:
    """What is started, and where it leaves its result."""

    command: tuple[str, ...]
    """Program and arguments; no shell reads them. In each, {frames} and {masks} become folders of 00000.png and so on,
    {prompt_file} a text whose first line is what is to be seen in the video and whose second is what is to be seen in
    the hole, and {output} an empty folder."""
    result: str = "."
    """Where in {output} the result is: a folder of pictures, a video, or a .npy."""
    run_in: str | None = None
    """Folder that the program is started in; None: a scratch folder that is removed."""
    version: str = ""
    """Of the program and its weights, as you like to name it; results of two versions are not mixed."""

    def __post_init__(self) -> None:
        if not self.command:
            raise ValueError("got an empty command")
        places = {place for argument in self.command for place in _PLACE.findall(argument)}
        if unknown := places - set(PLACES):
            raise ValueError(f"command: got {_named(unknown)}, known are {_named(PLACES)}")
        if missing := {"frames", "masks", "output"} - places:
            raise ValueError(f"command: got no {_named(missing)}; without, it cannot know its input or output")
        if PurePosixPath(self.result).is_absolute() or ".." in PurePosixPath(self.result).parts:
            raise ValueError(f"got result {self.result!r}, wanted a path inside {{output}}")


class Command:
    """A `Method`. The program dies with the process that this is in, and so keeps to the method's time limit."""

    def __init__(self, settings: CommandSettings) -> None:
        self._settings = settings

    def inpaint(self, frames: Frames, masks: Masks, prompts: Prompts) -> Frames:
        """BadResult where the program fails or leaves no result."""
        with tempfile.TemporaryDirectory(prefix="method-") as name:
            scratch = Path(name)
            places = {place: scratch / place for place in PLACES}
            write_pictures(places["frames"], frames)
            write_pictures(places["masks"], masks)
            lines = [" ".join(text.split()) for text in (prompts.video, prompts.region)]
            places["prompt_file"].write_text("\n".join(lines) + "\n", encoding="utf-8")
            places["output"].mkdir()
            self._run(places, scratch)
            return read_frames(places["output"] / self._settings.result, at_most=len(frames))

    def _run(self, places: dict[str, Path], scratch: Path) -> None:
        command = [_PLACE.sub(lambda match: str(places[match[1]]), argument) for argument in self._settings.command]
        log = scratch / "log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, guarded.__file__, *command],
                cwd=self._settings.run_in or scratch,
                # Never written to: the program is killed when it closes.
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
            with process:
                status = wait_for(process)
        if status:
            said = log.read_bytes().decode("utf-8", errors="replace").strip()
            raise BadResult(f"the command ended with status {status}: {said[-_LAST_WORDS:] or 'it said nothing'}")


def _named(places: set[str] | tuple[str, ...]) -> str:
    return ", ".join(f"{{{place}}}" for place in sorted(places))


def _whole_options(settings: CommandSettings) -> Mapping[str, str]:
    """A record holds of local paths the last part only, which two programs may share."""
    return {"command": hashlib.sha256(to_json(to_plain(settings))).hexdigest()[:16]}


KIND = Kind(settings=CommandSettings, load=Command, weights=_whole_options, needs_first_frame=lambda settings: True)
