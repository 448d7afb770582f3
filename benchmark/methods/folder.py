"""Results that were made elsewhere: one video, folder of pictures or array a case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from benchmark.methods.exchange import PICTURES, VIDEOS, read_frames
from benchmark.methods.port import Kind, Prompts
from benchmark.methods.weights import digest_of
from benchmark.results import BadResult, Frames
from vpdata.inpaint.any_length import Masks


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSettings:
    """Where they are."""

    folder: str
    result: str = "{case}.mp4"
    """Path in the folder, in which {case} becomes the case's id: of a video, a folder of pictures, or a .npy."""

    def __post_init__(self) -> None:
        if "{case}" not in self.result:
            raise ValueError(f"got result {self.result!r}, wanted one with {{case}} in it")
        if PurePosixPath(self.result).is_absolute() or ".." in PurePosixPath(self.result).parts:
            raise ValueError(f"got result {self.result!r}, wanted a path inside the folder")


class ResultsFolder:
    """A `Method` that only looks up."""

    def __init__(self, settings: FolderSettings) -> None:
        self._settings = settings

    def inpaint(self, frames: Frames, masks: Masks, prompts: Prompts) -> Frames:
        """BadResult where the case is missing, or its file cannot be read."""
        name = self._settings.result.replace("{case}", prompts.case_id)
        path = Path(self._settings.folder, name)
        if not path.exists():
            raise BadResult(f"the clip is missing: there is no {name} in the folder of results")
        return read_frames(path, at_most=len(frames))


def _content(settings: FolderSettings) -> Mapping[str, str]:
    root = Path(settings.folder)
    suffixes = (*PICTURES, *VIDEOS, ".npy")
    return {"files": digest_of(root, (path for path in root.rglob("*") if path.suffix.lower() in suffixes))}


KIND = Kind(settings=FolderSettings, load=ResultsFolder, weights=_content)
