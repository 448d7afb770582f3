"""`vpdata inpaint`: from one command line to a finished file."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from vpdata import models
from vpdata.backbones.loading import read_spec
from vpdata.config import fill, read_yaml, to_plain, with_overrides
from vpdata.errors import ConfigError, StorageError
from vpdata.inpaint.any_length import Frames, Request
from vpdata.inpaint.diffusion import no_first_frame
from vpdata.inpaint.edit import PromptWriter, check_words
from vpdata.inpaint.first_frame import check_aspect, read_image
from vpdata.inpaint.fit import Size
from vpdata.inpaint.inpainter import Inpainter, check_ready, check_takes_first_frame, windows_for
from vpdata.inpaint.input_mask import MaskInput, open_mask
from vpdata.inpaint.input_video import VideoInput, open_video
from vpdata.inpaint.objects import ObjectFinder
from vpdata.inpaint.options import InpaintOptions, Wanted, Words
from vpdata.inpaint.output_paths import check_distinct, check_place
from vpdata.inpaint.output_video import check_output
from vpdata.inpaint.prompts import check_frames, warn_of_unused
from vpdata.inpaint.run import inpaint_file
from vpdata.inpaint.settings import InpaintSettings, with_trained
from vpdata.inpaint.windows import Window
from vpdata.inpaint.work_folder import WorkFolder
from vpdata.media.masks import encode_mask
from vpdata.storage import Folder

_log = logging.getLogger(__name__)

_TELL_EVERY_S = 10.0


def load_settings(options: InpaintOptions) -> InpaintSettings:
    """The config with `--weights` and overrides over it; ConfigError for what is unknown, wrong or missing."""
    data = read_yaml(options.config) if options.config else {}
    if options.weights:
        data = with_trained(data, options.weights)
    data = with_overrides(data, options.overrides)
    if not data.get("context_encoder"):
        raise ConfigError(
            "got no trained weights; give --weights with the folder that `vpdata train` saved, or context_encoder in "
            "the config"
        )
    return fill(InpaintSettings, data)


def run(options: InpaintOptions, settings: InpaintSettings) -> str:
    """Make the output; says in a line what was done. What takes long comes last, so that mistakes show at once."""
    _check_files(options)
    check_words(options.words, settings.captioner)
    video = open_video(options.video)
    check_frames(dict(options.words.prompts), video.num_frames)
    for path in filter(None, (options.output, options.raw_output)):
        check_output(path, video)
    if options.save_mask is not None:
        check_place(options.save_mask)
    picture = None
    if options.first_frame is not None:
        picture = read_image(options.first_frame)
        check_aspect(picture, video.shown_size, video.size)
    windows = _windows_for_backbone(settings, video, has_first_frame=picture is not None)
    if options.wanted:
        check_ready(settings)
    found = _found_mask(options, video, settings) if options.wanted else None
    mask = open_mask(found or options.mask or Path(), video, settings.mask)
    write = partial(
        inpaint_file,
        settings=settings.output,
        raw_output=options.raw_output,
        redo=options.redo,
    )
    if not mask.num_holes:
        # What a model would see is held by the window, and without a hole it is seen in the raw output alone.
        size = video.size if options.raw_output else Size(height_px=16, width_px=16)
        write(_NothingToMake(), video, mask, options.output, size=size, windows=windows, made_by={})
        return f"the mask is empty: {options.output} is the video as it was"
    _check_first_frame(settings, mask, is_given=picture is not None)
    begun = {} if options.redo else (WorkFolder(options.output).made_by() or {}).get("model", {})
    # Before a captioner is asked, but not where an empty mask needs no weights.
    check_ready(settings)
    asked = _asked(options.words, settings)
    if asked is not None and begun.get("asked") == asked:
        prompts = {int(frame): text for frame, text in begun["prompts"].items()}
        _log.info("going on with the prompt %s", "; ".join(prompts.values()))
    else:
        prompts = PromptWriter(settings.captioner).prompts(
            options.words, video.frames(), mask.frames(), num_frames=video.num_frames
        )
    inpainter = Inpainter(_as_begun(settings, begun))
    warn_of_unused(prompts, windows)
    progress = _Progress(len(windows), num_steps=settings.sampling.num_steps)
    write(
        inpainter.window_model(prompts, first_frame=picture, on_step=progress.on_step),
        video,
        mask,
        options.output,
        size=inpainter.model_size(video.shown_size),
        windows=windows,
        made_by=inpainter.identity(prompts, first_frame=picture) | {"asked": asked},
        on_window=progress.on_window,
    )
    if found is not None:
        found.unlink()
    return f"{options.output}: {video.num_frames} frames, {mask.num_holes} of them with a hole"


def _check_files(options: InpaintOptions) -> None:
    """ConfigError where a file would be written over another."""
    check_distinct(
        {"--output": options.output, "--raw-output": options.raw_output, "--save-mask": options.save_mask},
        {
            "--video": options.video,
            "--mask": options.mask,
            "--first-frame": options.first_frame,
            "--config": Path(options.config) if options.config else None,
        },
    )


def _windows_for_backbone(settings: InpaintSettings, video: VideoInput, *, has_first_frame: bool) -> list[Window]:
    """The video's windows; ConfigError for ones, or a first frame, that the backbone does not take.

    Before the object is looked for.
    """
    spec = read_spec(settings.backbone)
    if has_first_frame:
        check_takes_first_frame(spec)
    if spec.frame_rate is not None and not math.isclose(spec.frame_rate, video.average_fps, rel_tol=1e-2):
        _log.warning(
            "the video has %.4g frames a second, but this LTX is told %.4g (backbone.frame_rate, as in its training) "
            "and takes it for slower or faster than it is",
            float(video.average_fps),
            spec.frame_rate,
        )
    return windows_for(video.num_frames, spec=spec, settings=settings.windows)


def _check_first_frame(settings: InpaintSettings, mask: MaskInput, *, is_given: bool) -> None:
    """ConfigError where the backbone must be given a first frame, there is a hole in it, and nothing fills that."""
    if is_given or settings.first_frame is not None or not next(iter(mask.frames())).any():
        return
    spec = read_spec(settings.backbone)
    if spec.takes_first_frame:
        raise no_first_frame(spec.family)


def _asked(words: Words, settings: InpaintSettings) -> dict[str, Any] | None:
    """What a captioner writes the prompt by, beside video and mask, as JSON gives it back; None where none does.

    A server that is asked again may answer otherwise, and be paid again: a run that goes on keeps its prompt.
    """
    if settings.captioner is None or not words.are_written:
        return None
    facts = {"words": to_plain(words), "captioner": to_plain(models.describe("captioner", settings.captioner))}
    return json.loads(json.dumps(facts))


def _as_begun(settings: InpaintSettings, begun: Mapping[str, Any]) -> InpaintSettings:
    """With the VAE's tiling of the windows that are finished, where it is not set.

    It changes pixels, and would else follow the GPU's free memory, which another process may have taken meanwhile.
    """
    if settings.memory.vae_tiling is not None:
        return settings
    return replace(settings, memory=replace(settings.memory, vae_tiling=begun.get("vae_tiling")))


class _NothingToMake:
    """The `WindowModel` of an empty mask."""

    def inpaint(self, request: Request) -> Frames:
        raise AssertionError("a window without a hole is not given to the model")


class _Progress:
    """Logs a line for each window, and now and then one inside a window."""

    def __init__(self, num_windows: int, *, num_steps: int) -> None:
        self._num_windows = num_windows
        self._num_steps = num_steps
        self._started_s = self._told_s = time.monotonic()

    def on_step(self, window: Window, step: int) -> None:
        if time.monotonic() - self._told_s >= _TELL_EVERY_S:
            self._tell(f"window {window.index + 1} of {self._num_windows}, step {step} of {self._num_steps}")

    def on_window(self, window: Window) -> None:
        self._tell(f"window {window.index + 1} of {self._num_windows} is finished")

    def _tell(self, what: str) -> None:
        self._told_s = time.monotonic()
        _log.info("%s after %.0f s", what, self._told_s - self._started_s)


def _found_mask(options: InpaintOptions, video: VideoInput, settings: InpaintSettings) -> Path:
    """A mask file of the objects that are wanted, beside the output until that is there, for a second run."""
    path = options.output.absolute().parent / f".{options.output.name}.objects.json"
    made_by = _made_by(options.wanted, video, settings)
    if _found_by(path) != made_by:
        _check_frames(options.wanted, video)
        masks = _find(options.wanted, video, settings)
        track = {"label": ", ".join(options.wanted.labels), "masks": masks}
        Folder(str(path.parent)).write(path.name, json.dumps({"made_by": made_by, "tracks": [track]}).encode())
    if options.save_mask is not None:
        target = options.save_mask.absolute()
        Folder(str(target.parent)).write(target.name, path.read_bytes())
    return path


def _found_by(path: Path) -> str | None:
    """What the objects were found by that an earlier run has left; None where it has not."""
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_bytes())["made_by"]
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise StorageError(f"{path} is damaged ({error}); remove it to look for the objects again") from error


def _find(wanted: Wanted, video: VideoInput, settings: InpaintSettings) -> list[dict[str, Any] | None]:
    """Per frame COCO's run lengths of all objects; None where there is none."""
    _log.info("looking for %s", ", ".join(wanted.labels) or "what was boxed or pointed at")
    finder = ObjectFinder(settings.objects)
    size = [video.size.height_px, video.size.width_px]
    masks: list[dict[str, Any] | None] = []
    for mask in finder.masks(video.frames(), wanted, fps=float(video.average_fps)):
        counts = encode_mask(mask)
        masks.append(None if counts is None else {"size": size, "counts": counts})
    _log.info("found on %d of %d frames", sum(mask is not None for mask in masks), len(masks))
    return masks


def _made_by(wanted: Wanted, video: VideoInput, settings: InpaintSettings) -> str:
    facts = [video.sha256, to_plain(wanted), to_plain(settings.objects)]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _check_frames(wanted: Wanted, video: VideoInput) -> None:
    """ConfigError for a box or a point that is not on the video."""
    marks = [("--box", one.frame, one.box) for one in wanted.boxes]
    marks += [("--point", one.frame, one.point) for one in wanted.points]
    for option, frame, numbers in marks:
        *_, x, y = numbers
        if frame >= video.num_frames or not (0 <= x <= video.size.width_px and 0 <= y <= video.size.height_px):
            raise ConfigError(
                f"{option}: got {','.join(f'{one:g}' for one in numbers)} on frame {frame}, but the video has "
                f"{video.num_frames} frames, from 0 on, of {video.size.width_px} x {video.size.height_px} px"
            )
