"""A video file with its mask in, the finished video file out; stopped and called again, it goes on."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2

import vpdata
from vpdata.inpaint.any_length import Frames, MadeWindow, WindowModel, inpaint_any_length
from vpdata.inpaint.fit import Size, scale_frames, scale_masks
from vpdata.inpaint.input_mask import MaskInput
from vpdata.inpaint.input_video import VideoInput
from vpdata.inpaint.losses import losses
from vpdata.inpaint.output_paths import check_distinct, publishing
from vpdata.inpaint.output_video import EncodeSettings, check_output, encode_piece, write_output
from vpdata.inpaint.paste import paste
from vpdata.inpaint.windows import Window
from vpdata.inpaint.work_folder import WorkFolder

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSettings:
    """What becomes of the model's frames."""

    feather_px: int = 4
    """How far around the hole the model's pixels fade into the video's, in pixels of the video."""
    encode: EncodeSettings = field(default_factory=EncodeSettings)

    def __post_init__(self) -> None:
        if self.feather_px < 0:
            raise ValueError(f"got feather_px {self.feather_px}, wanted 0 or more")


def inpaint_file(
    model: WindowModel,
    video: VideoInput,
    mask: MaskInput,
    output: Path,
    *,
    size: Size,
    windows: Sequence[Window],
    made_by: Mapping[str, Any],
    settings: OutputSettings | None = None,
    raw_output: Path | None = None,
    redo: bool = False,
    on_window: Callable[[Window], None] = lambda window: None,
) -> None:
    """Write `output`: the video with its holes filled; every other pixel, size, time stamps and audio are the input's.

    The model works at `size`, in `windows` of the whole video. `made_by` is what decides its result beside its input
    (weights, prompts, seed), as JSON takes it. `raw_output` gets the model's own frames. Stopped in between, the same
    call goes on at the window it had reached, and gives the same bytes where the model does; with other arguments it is
    a RunError, unless `redo` begins anew. An output appears whole or not at all.
    """
    settings = settings or OutputSettings()
    outputs = {"output": output} | ({"raw": raw_output} if raw_output else {})
    check_distinct({"output": output, "raw output": raw_output}, {})
    for path in outputs.values():
        check_output(path, video)
    if not mask.num_holes and output.suffix.lower() == video.path.suffix.lower() and not raw_output:
        logger.warning("the mask is empty: %s is a copy of %s", output, video.path)
        with publishing(output) as aside:
            shutil.copyfile(video.path, aside)
        return
    if lost := losses(video):
        logger.warning("not all of %s is kept in %s: %s", video.path, output, "; ".join(lost))
    work = WorkFolder(output)
    everything = _made_by(video, mask, size, windows, settings, list(outputs)) | {"model": dict(made_by)}
    with work.opened(everything, redo=redo):
        previous = work.finished()
        num_finished = previous.window.index + 1 if previous else 0
        rest = windows[num_finished:]
        if previous and rest:
            logger.info("going on at window %d of %d", num_finished + 1, len(windows))
        elif previous:
            logger.info("all %d windows are finished: putting %s together", len(windows), output)
        streams = _Streams(video, mask, first=rest[0].start if rest else 0)
        for made in inpaint_any_length(model, streams.frames(size), streams.masks(size), rest, previous=previous):
            own = _own_frames(made, windows)
            pieces = {"output": encode_piece(streams.pasted(own, settings), video, video.size, settings.encode)}
            if raw_output:
                pieces["raw"] = encode_piece(own, video, size, settings.encode)
            work.keep(made, pieces)
            on_window(made.window)
        for kind, path in outputs.items():
            with publishing(path) as aside:
                write_output(aside, work.pieces(kind, len(windows)), video)
        work.remove()


def _own_frames(made: MadeWindow, windows: Sequence[Window]) -> Frames:
    """The frames that no later window makes again."""
    index = made.window.index
    stop = windows[index + 1].start if index + 1 < len(windows) else made.window.stop
    return made.frames[: stop - made.window.start]


class _Streams:
    """The video and its mask, read twice side by side: for the model, and a window behind for pasting.

    Holding a window of the video's own frames instead would take memory that grows with its size.
    """

    def __init__(self, video: VideoInput, mask: MaskInput, *, first: int) -> None:
        """`first` is the frame that both passes begin at."""
        self._video, self._mask, self._first = video, mask, first
        self._behind = zip(self._from_first(video.frames()), self._from_first(mask.frames()), strict=True)

    def frames(self, size: Size) -> Iterator[Frames]:
        """One at a time, scaled for the model."""
        return (scale_frames(frame[None], size)[0] for frame in self._from_first(self._video.frames()))

    def masks(self, size: Size) -> Iterator[Any]:
        """One at a time, scaled for the model."""
        return (scale_masks(mask[None], size)[0] for mask in self._from_first(self._mask.frames()))

    def pasted(self, made: Frames, settings: OutputSettings) -> Iterator[Frames]:
        """The next frames of the video with what was made of them in their holes."""
        for (own, hole), new in zip(islice(self._behind, len(made)), made, strict=True):
            new = scale_frames(new[None], self._video.size)
            yield paste(own[None], new, hole[None], feather_px=settings.feather_px)[0]

    def _from_first(self, stream: Iterator[Any]) -> Iterator[Any]:
        return islice(stream, self._first, None)


def _made_by(
    video: VideoInput,
    mask: MaskInput,
    size: Size,
    windows: Sequence[Window],
    settings: OutputSettings,
    kinds: Sequence[str],
) -> dict[str, Any]:
    return {
        "video": video.sha256,
        "mask": mask.sha256,
        "size": asdict(size),
        "windows": [[window.start, window.stop] for window in windows],
        "settings": asdict(settings),
        "outputs": list(kinds),
        "versions": {"vpdata": vpdata.__version__, "av": av.__version__, "cv2": cv2.__version__},
    }
