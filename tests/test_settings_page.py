"""The page of all settings is what the classes say."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("diffusers")

from tools.settings_page import PAGE, page


def test_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m tools.settings_page"


def test_every_group_that_is_named_has_its_table_and_only_one():
    text = page()
    heads = [head.lower() for head in re.findall(r"^### (.+)$", text, re.MULTILINE)]
    assert len(heads) == len(set(heads))
    anchors = {head.replace(" ", "-").replace(".", "") for head in heads}
    linked = set(re.findall(r"\]\(#([\w-]+)\)", text))
    assert {"resources", "modelchoice", "inpaintsettings"} <= linked <= anchors


@pytest.mark.parametrize(
    "row",
    [
        "| `min_s` | `6.125` | Shortest clip: 49 frames at 8 fps, what the VideoPainter trainer reads. |",
        "| `weights` | `null` | Hub id, or absolute path, of a pipeline in diffusers' layout: transformer/, vae/, "
        "text_encoder/, tokenizer/. |",
    ],
)
def test_rows_hold_key_default_and_meaning(row):
    assert row in page().splitlines()
