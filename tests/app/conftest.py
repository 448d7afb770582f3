"""The page in a browser, on the tiny backbone."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

pytest.importorskip("gradio")
pytest.importorskip("peft")

from benchmark.footage import scene, write_video
from tests.inpaint.trained import save_encoder
from tests.report.conftest import _browser, page  # noqa: F401  fixtures
from vpdata.app.command import load_settings, running
from vpdata.app.limits import AppSettings
from vpdata.backbones.settings import TinyName
from vpdata.inpaint.settings import InpaintSettings

torch.set_num_threads(1)

HEIGHT, WIDTH, NUM_FRAMES = 180, 320, 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """One object that moves over a still ground, in 1.2 s."""

    path: Path
    masks: NDArray[np.bool_]
    """[30, 180, 320]: the truth."""

    def point(self, frame: int) -> tuple[float, float]:
        """A place on the object, as shares of width and height."""
        rows, columns = np.nonzero(self.masks[frame])
        return columns.mean() / WIDTH, rows.mean() / HEIGHT


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Film:
    made = scene("plain", seed=3, num_frames=NUM_FRAMES, height_px=HEIGHT, width_px=WIDTH)
    path = tmp_path_factory.mktemp("film") / "in.mp4"
    write_video(path, made.frames)
    return Film(path=path, masks=made.masks[0])


def settings_with(folder: Path, tiny: TinyName, *, grace_s: int = 60) -> tuple[AppSettings, InpaintSettings]:
    """Of a page on a tiny backbone, with narrow limits."""
    save_encoder(folder / "encoder", tiny, weight=0.1)
    config = folder / "app.yaml"
    config.write_text(
        f"backbone: {{tiny: {tiny}, device: cpu, dtype: float32}}\n"
        "sampling: {num_steps: 4, guidance: 1.0}\n"
        "windows: {num_frames: 17, overlap_frames: 5, area_px: 6000}\n"
        f"app: {{grace_s: {grace_s}, limits: {{max_mb: 1, max_duration_s: 3, max_pixels: {HEIGHT * WIDTH}}}}}\n"
    )
    return load_settings(str(config), weights=str(folder / "encoder"), overrides=[])


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> tuple[AppSettings, InpaintSettings]:
    return settings_with(tmp_path_factory.mktemp("app"), "wan")


@pytest.fixture(scope="session")
def url(settings: tuple[AppSettings, InpaintSettings]) -> Iterator[str]:
    with running(*settings, host="127.0.0.1", port=free_port()) as address:
        yield address
