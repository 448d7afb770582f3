"""Models that fill one window at a time, on whole videos of any size and length."""

from __future__ import annotations

import numpy as np

from benchmark.results import Frames
from vpdata.inpaint.any_length import Masks, WindowModel, inpaint_any_length
from vpdata.inpaint.fit import Size, scale_frames, scale_masks
from vpdata.inpaint.settings import WindowSettings
from vpdata.inpaint.windows import plan_windows


def fill_in_windows(
    model: WindowModel, frames: Frames, masks: Masks, *, size: Size, settings: WindowSettings, stride_t: int
) -> Frames:
    """All pixels as the model made them at `size`, scaled back to the video's; arguments as of `Method.inpaint`.

    `stride_t`: frames of the video per latent frame, the first of which stands alone.
    """
    windows = plan_windows(
        len(frames),
        window_frames=settings.num_frames,
        overlap_frames=settings.overlap_frames,
        stride_t=stride_t,
    )
    made = inpaint_any_length(model, iter(scale_frames(frames, size)), iter(scale_masks(masks, size)), windows)
    stops = [window.start for window in windows[1:]] + [len(frames)]
    # Of each window what no later one makes again.
    video = np.concatenate([one.frames[: stop - one.window.start] for one, stop in zip(made, stops, strict=True)])
    return scale_frames(video, Size(height_px=frames.shape[1], width_px=frames.shape[2]))
