"""The options of `vpdata inpaint`. Imports nothing heavy."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from vpdata.errors import ConfigError
from vpdata.options import add_overrides


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameBox:
    """A box on a frame: x0, y0, x1, y1 in pixels of the video, half-open."""

    frame: int
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class FramePoint:
    """A point on a frame: x, y in pixels of the video."""

    frame: int
    point: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which objects are to be masked: all that are named, boxed or pointed at."""

    labels: tuple[str, ...] = ()
    boxes: tuple[FrameBox, ...] = ()
    points: tuple[FramePoint, ...] = ()

    def __bool__(self) -> bool:
        """Whether it names any."""
        return bool(self.labels or self.boxes or self.points)


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What is to be seen in the hole."""

    prompts: tuple[tuple[int, str], ...] = ()
    """A text from each of these frames on."""
    remove: bool = False
    """What is around the hole goes on in it."""
    replace: str | None = None
    """What takes the object's place."""
    edit: str | None = None
    """An instruction, by which a model rewrites the prompt, or writes one."""

    @property
    def are_written(self) -> bool:
        """Whether a captioner, where there is one, writes the prompt."""
        return bool(self.remove or self.replace or self.edit)


@dataclass(frozen=True, slots=True, kw_only=True)
class InpaintOptions:
    """One command line, checked."""

    video: Path
    mask: Path | None
    wanted: Wanted
    save_mask: Path | None
    words: Words
    output: Path
    raw_output: Path | None
    first_frame: Path | None
    weights: str | None
    config: str | None
    overrides: tuple[str, ...]
    """`key=value`, applied over the file."""
    redo: bool


def add_inpaint_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to a parser."""
    add = parser.add_argument
    add("--video", metavar="FILE", type=Path, required=True, help="any length, size and frame rate")
    add(
        "--output",
        metavar="FILE",
        type=Path,
        required=True,
        help=".mp4, .mov or .mkv, of the input's size, times and sound",
    )
    add("--weights", metavar="DIR", help="what `vpdata train` saved: context encoder, and ID adapter if there is one")
    add(
        "--config", metavar="YAML", help="such as configs/inpaint.yaml; else CogVideoX 5B I2V and the embedded detector"
    )
    add_overrides(parser)
    where = parser.add_argument_group("where (a mask, or any number of objects)")
    add = where.add_argument
    add("--mask", metavar="PATH", type=Path, help="video, folder of images, JSON of COCO run lengths, or npz")
    add("--object", metavar="NAME", action="append", default=[], dest="labels", help='such as "the red car"')
    add("--box", metavar="[FRAME:]X0,Y0,X1,Y1", action="append", default=[], dest="boxes", help="around an object")
    add("--point", metavar="[FRAME:]X,Y", action="append", default=[], dest="points", help="on an object")
    add("--save-mask", metavar="JSON", type=Path, help="keep the mask that was found")
    add("--invert", action="store_true", help="make everything else anew")
    add("--mask-shape", choices=["as_is", "hull", "box"], help="of each part of the mask: hides an object's outline")
    add("--dilate", metavar="PX", type=int, help="let the mask grow on all sides")
    what = parser.add_argument_group("what")
    add = what.add_argument
    add("--prompt", metavar="TEXT", help="what is to be seen")
    add(
        "--prompt-from",
        metavar=("FRAME", "TEXT"),
        nargs=2,
        action="append",
        default=[],
        help="another prompt from a frame on",
    )
    add("--remove", action="store_true", help="fill the hole with what is around it")
    add("--replace", metavar="TEXT", help="put this in the object's place")
    add("--edit", metavar="INSTRUCTION", help="a model (captioner in the config) rewrites the prompt, or writes one")
    add("--first-frame", metavar="IMAGE", type=Path, help="the first frame filled, for image-to-video backbones")
    add("--style", metavar="LORA", action="append", default=[], dest="styles", help="a LoRA of the backbone")
    more = parser.add_argument_group("more")
    add = more.add_argument
    add("--raw-output", metavar="FILE", type=Path, help="the model's own frames too, for measuring")
    add("--redo", action="store_true", help="begin anew where part was made with other options")


def inpaint_options(args: argparse.Namespace) -> InpaintOptions:
    """Check parsed options; ConfigError says which is missing or wrong."""
    if not all(label.strip() for label in args.labels):
        raise ConfigError('--object: got an empty name, wanted that of an object, such as "the red car"')
    wanted = Wanted(
        labels=tuple(args.labels),
        boxes=tuple(_box(text) for text in args.boxes),
        points=tuple(_point(text) for text in args.points),
    )
    if (args.mask is None) == (not wanted):
        raise ConfigError(
            "got both a --mask and objects to find, wanted one of them"
            if wanted
            else "got no mask; give --mask, or find an object with --object, --box or --point"
        )
    if args.save_mask is not None and not wanted:
        raise ConfigError("got --save-mask with a --mask, wanted objects to find: it keeps the mask that was found")
    return InpaintOptions(
        video=args.video,
        mask=args.mask,
        wanted=wanted,
        save_mask=args.save_mask,
        words=_words(args),
        output=args.output,
        raw_output=args.raw_output,
        first_frame=args.first_frame,
        weights=args.weights,
        config=args.config,
        overrides=(*_mask_overrides(args), *_style_overrides(args.styles), *args.overrides),
        redo=args.redo,
    )


def _words(args: argparse.Namespace) -> Words:
    prompts = [] if args.prompt is None else [(0, args.prompt)]
    prompts += [(_frame(frame, "--prompt-from"), text) for frame, text in args.prompt_from]
    if len({frame for frame, _ in prompts}) < len(prompts):
        raise ConfigError("got two prompts from the same frame on, wanted one")
    if prompts and min(prompts)[0] > 0:
        raise ConfigError("got --prompt-from alone, wanted a --prompt for the frames before too")
    chosen = [name for name in ("remove", "replace", "edit") if getattr(args, name)]
    if len(chosen) > 1 or (chosen and chosen != ["edit"] and prompts):
        given = [*chosen, *(["prompt"] if prompts else [])]
        raise ConfigError(f"got --{' and --'.join(given)}, wanted one of --prompt, --remove, --replace and --edit")
    if not chosen and not prompts:
        raise ConfigError("got nothing to make; give --prompt, --remove, --replace or --edit")
    return Words(prompts=tuple(sorted(prompts)), remove=args.remove, replace=args.replace, edit=args.edit)


def _mask_overrides(args: argparse.Namespace) -> list[str]:
    overrides = ["mask.invert=true"] if args.invert else []
    overrides += [] if args.mask_shape is None else [f"mask.shape={args.mask_shape}"]
    return overrides if args.dilate is None else [*overrides, f"mask.dilate_px={args.dilate}"]


def _style_overrides(styles: list[str]) -> list[str]:
    quoted = ", ".join("{weights: '" + style.replace("'", "''") + "'}" for style in styles)
    return [f"styles=[{quoted}]"] if styles else []


def _box(text: str) -> FrameBox:
    frame, numbers = _numbers(text, "--box", count=4)
    x0, y0, x1, y1 = numbers
    if not (0 <= x0 < x1 and 0 <= y0 < y1):
        raise ConfigError(f"--box: got {text}, wanted left, top, right, bottom in pixels, such as 100,50,220,180")
    return FrameBox(frame=frame, box=(x0, y0, x1, y1))


def _point(text: str) -> FramePoint:
    frame, (x, y) = _numbers(text, "--point", count=2)
    return FramePoint(frame=frame, point=(x, y))


def _numbers(text: str, option: str, *, count: int) -> tuple[int, list[float]]:
    frame, colon, rest = text.rpartition(":")
    try:
        numbers = [float(one) for one in rest.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count:
        raise ConfigError(f"{option}: got {text!r}, wanted {count} numbers with commas between, and FRAME: before them")
    return (_frame(frame, option) if colon else 0), numbers


def _frame(text: str, option: str) -> int:
    if not text.isdecimal():
        raise ConfigError(f"{option}: got the frame {text!r}, wanted a whole number from 0 on")
    return int(text)
