"""Programs that stand in for methods of others: `python programs.py WHAT FRAMES MASKS OUTPUT [PROMPT_FILE]`.

Needs nothing of this project, as theirs do not.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

NUM_SHORT = 20
"""Frames: some behave well on videos that have no more."""


def main(what: str, frames: Path, masks: Path, output: Path, *prompt_file: str) -> None:
    video = np.stack([np.asarray(Image.open(path)) for path in sorted(frames.iterdir())])
    holes = np.stack([np.asarray(Image.open(path)) for path in sorted(masks.iterdir())]) > 127
    made = video.copy()
    made[holes] = (10, 200, 60)
    print(f"filling {holes.sum()} pixels")
    if what == "pictures":
        # Without leading zeros, as some do.
        for index, frame in enumerate(made):
            Image.fromarray(frame).save(output / f"{index}.png")
    elif what == "array":
        np.save(output / "made.npy", made / np.float32(255))
    elif what == "nan":
        values = made / np.float32(255)
        values[0, 0, 0] = np.nan
        np.save(output / "made.npy", values)
    elif what == "short":
        np.save(output / "made.npy", made[:-1])
    elif what == "small":
        np.save(output / "made.npy", made[:, :-2])
    elif what == "nothing":
        pass
    elif what == "fails":
        print("out of memory", file=sys.stderr)
        sys.exit(3)
    elif what == "crashes":
        os.abort()
    elif what == "prompt":
        print(Path(*prompt_file).read_text())
        sys.exit(1)
    elif what == "kills_worker" and len(video) > NUM_SHORT:
        # As the system does when memory runs out: this one's parent is the guard, and the guard's is the worker.
        facts = Path(f"/proc/{os.getppid()}/stat").read_text()
        os.kill(int(facts.rpartition(")")[2].split()[1]), signal.SIGKILL)
        time.sleep(600)
    elif what == "hangs" and len(video) > NUM_SHORT:
        time.sleep(600)
    elif what in ("kills_worker", "hangs"):
        np.save(output / "made.npy", made)
    elif what == "hangs_with_child":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(*prompt_file).with_name("pids").write_text(f"{os.getpid()} {child.pid}")
        time.sleep(600)


if __name__ == "__main__":
    name, *paths = sys.argv[1:]
    main(name, *map(Path, paths[:3]), *paths[3:])
