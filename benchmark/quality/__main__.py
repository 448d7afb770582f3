"""Print the quality of the embedded models on known cuts, objects and masks: `python -m benchmark.quality`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import scenedetect

from benchmark.quality.cases import film_cases, mask_cases
from benchmark.quality.tables import cut_table, mask_table, stage_table
from tools.demo_footage import REAL, collect_real
from vpdata.config import ModelChoice
from vpdata.models import maker

README = Path(__file__).with_name("README.md")
MARK = "## Figures\n"
"""All that follows it in the README is written by `--write`."""


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 if every target is met."""
    parser = argparse.ArgumentParser(prog="python -m benchmark.quality", description=__doc__)
    parser.add_argument("--real", type=Path, default=Path("footage/demo"), help="folder of the demo's real videos")
    parser.add_argument("--seeds", type=int, default=5, help="cases per row")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {README.name} beside this file")
    options = parser.parse_args(arguments)
    collect_real(options.real, REAL)
    size = {"num_seeds": options.seeds}
    tables = (
        cut_table(film_cases(options.real, **size), maker("shot_detector", ModelChoice(name="scenedetect"))()),
        mask_table(mask_cases(options.real, **size), maker("mask_tracker", ModelChoice(name="embedded"))()),
        stage_table(mask_cases(options.real, **size)),
    )
    versions = f"OpenCV {cv2.__version__}, PySceneDetect {scenedetect.__version__}, {options.seeds} seeds a row."
    text = "\n\n".join([versions, *(table.markdown() for table in tables)])
    print(text)
    if options.write:
        intro, mark, _ = README.read_text(encoding="utf-8").partition(MARK)
        README.write_text(f"{intro}{mark}\n{text}\n", encoding="utf-8")
    return 0 if all(table.is_met for table in tables) else 1


if __name__ == "__main__":
    sys.exit(main())
