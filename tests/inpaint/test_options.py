import argparse

import pytest

from vpdata.errors import ConfigError
from vpdata.inpaint.options import FrameBox, FramePoint, add_inpaint_options, inpaint_options

BASE = ["--video", "in.mp4", "--output", "out.mp4"]


def parsed(*more):
    parser = argparse.ArgumentParser()
    add_inpaint_options(parser)
    return inpaint_options(parser.parse_args([*BASE, *more]))


def test_objects_boxes_and_points_are_all_kept():
    options = parsed(
        *("--object", "dog", "--object", "the red car", "--box", "1,2,30,40", "--box", "12:5,6,7.5,8"),
        *("--point", "7:3,4", "--remove"),
    )
    assert options.wanted.labels == ("dog", "the red car")
    assert options.wanted.boxes == (FrameBox(frame=0, box=(1, 2, 30, 40)), FrameBox(frame=12, box=(5, 6, 7.5, 8)))
    assert options.wanted.points == (FramePoint(frame=7, point=(3, 4)),)


def test_prompts_are_ordered_by_their_frames():
    options = parsed("--mask", "m", "--prompt", "a", "--prompt-from", "90", "c", "--prompt-from", "40", "b")
    assert options.words.prompts == ((0, "a"), (40, "b"), (90, "c"))


def test_flags_stand_before_settings_so_that_settings_win():
    flags = ["--remove", "--invert", "--mask-shape", "box", "--dilate", "3", "--style", "it's", "--set", "a=1"]
    options = parsed("--mask", "m", *flags)
    from_flags = ("mask.invert=true", "mask.shape=box", "mask.dilate_px=3", "styles=[{weights: 'it''s'}]")
    assert options.overrides == (*from_flags, "a=1")


@pytest.mark.parametrize(
    "wrong",
    [
        ["--box", "1,2,3", "--remove"],
        ["--box", "30,2,1,40", "--remove"],
        ["--box", "x:1,2,3,4", "--remove"],
        ["--point=-1:1,2", "--remove"],
        ["--object", " ", "--remove"],
        ["--remove"],
        ["--mask", "m", "--object", "dog", "--remove"],
        ["--mask", "m"],
        ["--mask", "m", "--remove", "--save-mask", "found.json"],
        ["--mask", "m", "--remove", "--replace", "a cat"],
        ["--mask", "m", "--prompt", "a", "--replace", "a cat"],
        ["--mask", "m", "--prompt", "a", "--prompt-from", "0", "b"],
        ["--mask", "m", "--prompt-from", "5", "b"],
        ["--mask", "m", "--prompt", "a", "--prompt-from", "soon", "b"],
    ],
)
def test_what_cannot_be_meant_is_refused(wrong):
    with pytest.raises(ConfigError, match=r"wanted|give"):
        parsed(*wrong)
