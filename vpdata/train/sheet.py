"""A picture of what a training changed: held-out clips, and what is made of their holes before and after.

What is shown is the estimate of the clean latents from one noisy step, not a whole sampling: quick, and enough to see
whether the encoder tells the backbone anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vpdata.backbones.inpainting import Context, InpaintingBackbone
from vpdata.backbones.loading import load_backbone
from vpdata.backbones.port import Backbone
from vpdata.backbones.saving import load_context_encoder
from vpdata.models.gpu import torch_dtype
from vpdata.storage import Folder
from vpdata.train import randomness
from vpdata.train.batch import Batch
from vpdata.train.data import open_data
from vpdata.train.pixels import open_decoder, pixels_of
from vpdata.train.settings import TrainSettings
from vpdata.train.trainee import conditions_of
from vpdata.train.world import joined_world

_COLUMNS = ("video", "masked", "before", "after")
_DRAW = 0.5
"""Where in the training distribution of timesteps the estimate is taken: as much noise as video."""
_GAP_PX, _TITLE_PX, _CELL_PX = 4, 20, 192
_PAPER, _INK = (24, 23, 22), (226, 222, 214)


def write_sheet(path: str | Path, settings: TrainSettings, *, num_rows: int = 3) -> None:
    """Write a picture (.png or .jpg) with a row per held-out sample: the middle frame of each of the columns."""
    path = Path(path)
    with joined_world(settings.backbone.device) as world:
        data = open_data(
            settings.data,
            backbone=settings.backbone,
            output=Path(settings.output),
            pairs=False,
            seed=settings.seed,
            world=world,
        )
        batches = chain.from_iterable(data.held_out().epoch(0))
        rows: list[list[NDArray[np.uint8]]] = []
        backbone = load_backbone(settings.backbone)
        decode = open_decoder(settings.backbone)
        inpainting = load_context_encoder(Path(settings.output, "context_encoder"), backbone)
        for batch in batches:
            batch = batch.to(world.device, torch_dtype(settings.backbone.dtype))
            videos = [batch.video, batch.masked, *_before_and_after(backbone, inpainting, batch, seed=settings.seed)]
            decoded = decode(torch.cat(videos)).chunk(len(videos))
            rows += [
                [pixels_of(video[sample])[video.shape[2] // 2] for video in decoded] for sample in range(len(batch))
            ]
            if len(rows) >= num_rows:
                break
    picture = cv2.cvtColor(_grid(rows[:num_rows]), cv2.COLOR_RGB2BGR)
    Folder(path.parent).write(path.name, cv2.imencode(path.suffix, picture)[1].tobytes())


@torch.no_grad()
def _before_and_after(
    backbone: Backbone, inpainting: InpaintingBackbone, batch: Batch, *, seed: int
) -> tuple[Tensor, Tensor]:
    """Clean latents as estimated by the backbone alone, and with the encoder."""
    objective, conditions = backbone.objective_for(batch.video.shape), conditions_of(batch)
    noise = randomness.noise(batch.video.shape[1:], seed=seed, ordinals=batch.ordinals).to(batch.video)
    timesteps = objective.timesteps(torch.full((len(batch),), _DRAW)).to(batch.video.device)
    noisy = objective.add_noise(batch.video, noise, timesteps)
    after = inpainting(noisy, timesteps, conditions, Context(masked=batch.masked, packed_mask=batch.packed_mask))
    inpainting.injector.clear()
    before = backbone.predict(noisy, timesteps, conditions)
    return objective.clean_from(noisy, before, timesteps), objective.clean_from(noisy, after, timesteps)


def _grid(rows: Sequence[Sequence[NDArray[np.uint8]]]) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] RGB of equal cells under the columns' titles."""
    height, width = rows[0][0].shape[:2]
    cell_width, cell_height = _CELL_PX, round(_CELL_PX * height / width)
    size = (
        _TITLE_PX + len(rows) * (cell_height + _GAP_PX),
        len(_COLUMNS) * (cell_width + _GAP_PX) + _GAP_PX,
        3,
    )
    sheet = np.empty(size, dtype=np.uint8)
    sheet[:] = _PAPER
    for column, title in enumerate(_COLUMNS):
        x = _GAP_PX + column * (cell_width + _GAP_PX)
        cv2.putText(sheet, title, (x, _TITLE_PX - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.45, _INK, 1, cv2.LINE_AA)
        for row, cells in enumerate(rows):
            y = _TITLE_PX + row * (cell_height + _GAP_PX)
            cell = cv2.resize(cells[column], (cell_width, cell_height), interpolation=cv2.INTER_NEAREST)
            sheet[y : y + cell_height, x : x + cell_width] = cell
    return sheet
