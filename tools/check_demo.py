"""Assert what the demo promises of its run, and say where to look: `python -m tools.check_demo runs/demo`."""

from __future__ import annotations

import sys
from pathlib import Path

from vpdata.dataset.layout import PACK, STAGE_NAMES
from vpdata.dataset.reader import open_dataset
from vpdata.dataset.run import Run
from vpdata.storage import Folder

MIN_CLIPS = 20
MIN_LONG_CLIPS, LONG_S = 3, 7.75
"""The shortest clip that gives the ID adapter its pair of windows at 8 fps."""
MIN_REASONS = 4


def main(folder: str) -> int:
    """0 if the run keeps its promises; prints what it found either way."""
    run = Run(Folder(folder))
    durations_s = [sample.record.clip.duration_s for sample in open_dataset(folder)]
    reasons = {reject.reason.value for stage in (*STAGE_NAMES, PACK) for reject in run.rejects(stage)}
    num_long = sum(duration_s > LONG_S for duration_s in durations_s)
    promises = (
        (len(durations_s), MIN_CLIPS, "clips kept"),
        (num_long, MIN_LONG_CLIPS, f"of them over {LONG_S} s"),
        (len(reasons), MIN_REASONS, f"reasons for rejects ({', '.join(sorted(reasons))})"),
    )
    for got, wanted, what in promises:
        print(f"{'ok  ' if got >= wanted else 'FAIL'} {got:3} {what}, wanted {wanted} or more")
    print(f"look at {Path(folder, 'report.html')} in a browser, and at {Path(folder, 'README.md')}")
    return 0 if all(got >= wanted for got, wanted, _ in promises) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
