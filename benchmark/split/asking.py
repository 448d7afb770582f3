"""The words of an edit by a captioner that follows instructions: the run's own server or model, or another."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np

from benchmark.bench import Operation
from benchmark.split.cases import MadeCase, Material, text_of
from benchmark.split.operations import EditWords
from benchmark.split.unusable import UnusableError
from vpdata.inpaint.fit import Size, scale_masks
from vpdata.media.clips import ClipReader
from vpdata.media.masks import decode_mask
from vpdata.models.ports import Captioner, CaptionRequest
from vpdata.models.prompts import read_prompt

_PROMPT = "edit_words"
_TASKS: dict[Operation, str] = {
    "add": "add something that is not there, which fits the scene and the region's size and way.",
    "remove": "remove what is there. In the region there is then only what lies behind it.",
    "swap": "replace what is there by another kind of thing of about the same size, which moves as it does.",
    "change": "change how what is there looks, such as its colour, material or clothes, and keep what it is.",
}
_FIELDS = {"Instruction": "instruction", "Region": "target_object", "Video": "target_caption"}
_LINE = re.compile(rf"^\W*({'|'.join(_FIELDS)})\W*:\W*(.*\w.*)$", re.IGNORECASE)
_NUM_KEY_FRAMES = 6
_SHORT_SIDE_PX = 480


def asked_words(captioner: Captioner, made: MadeCase, operation: Operation, material: Material) -> EditWords:
    """What the captioner invents, asked again once where its answer is of another form, then an UnusableError."""
    request = _request(made, operation, material)
    for _ in range(2):
        (text,) = captioner.caption([request])
        matches = filter(None, (_LINE.match(line.strip()) for line in text.splitlines()))
        fields = {_FIELDS[match[1].capitalize()]: match[2].strip() for match in matches}
        if len(fields) == len(_FIELDS):
            return EditWords(**fields)
        again = read_prompt("ask_again").format(
            prompt=request.prompt.strip(),
            got=f"{len(fields)} of the lines",
            wanted=", ".join(f"{one}:" for one in _FIELDS),
        )
        request = dataclasses.replace(request, prompt=again)
    raise UnusableError("captioner", f"the captioner gave no words for {operation}: got {text[:80]!r}")


def _request(made: MadeCase, operation: Operation, material: Material) -> CaptionRequest:
    case = made.case
    seen = [frame for frame, counts in enumerate(made.counts) if counts]
    rows = np.linspace(0, len(seen) - 1, min(len(seen), _NUM_KEY_FRAMES)).round().astype(int)
    frames = [seen[row] for row in rows]
    images = ClipReader(made.mp4).read(frames, max_short_side_px=_SHORT_SIDE_PX)
    full = {"height_px": case.height_px, "width_px": case.width_px}
    masks = np.stack([decode_mask(made.counts[frame], **full) for frame in frames])
    prompt = Path(__file__).with_name("prompts").joinpath(f"{_PROMPT}.txt").read_text(encoding="utf-8")
    return CaptionRequest(
        record=material.record,
        track=case.tracks[0] if case.tracks else None,
        frames=tuple(case.start_frame + frame for frame in frames),
        images=images,
        masks=scale_masks(masks, Size(height_px=images.shape[1], width_px=images.shape[2])),
        prompt_name=_PROMPT,
        prompt=prompt.format(num_frames=len(frames), caption=text_of(material.record, None), task=_TASKS[operation]),
    )
