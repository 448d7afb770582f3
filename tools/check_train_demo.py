"""Assert what the training demo promises of one stage: `python -m tools.check_train_demo CONFIG`.

Of the first stage it draws the sheet, too.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from vpdata.config import fill, read_yaml
from vpdata.train.settings import TrainSettings
from vpdata.train.sheet import write_sheet


def main(config: str) -> int:
    """0 if the training kept its promises; prints what it found either way."""
    settings = fill(TrainSettings, read_yaml(config))
    output = Path(settings.output)
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    held_out = {line["step"]: line["loss"] for line in lines if line["kind"] == "validation"}
    trained = [line["step"] for line in lines if line["kind"] == "train"]
    first, last = held_out[0], held_out[settings.num_steps]
    every = settings.watch.log_every_steps
    promises = (
        (last < first, f"loss on held-out clips from {first:.3f} to {last:.3f}"),
        (trained == list(range(every, settings.num_steps + 1, every)), f"{len(trained)} logged lines, no step twice"),
        (any((output / settings.stage).glob("*.safetensors")), f"{output / settings.stage}"),
    )
    for is_kept, what in promises:
        print(f"{'ok  ' if is_kept else 'FAIL'} {what}")
    if settings.stage == "context_encoder":
        write_sheet(output / "sheet.png", settings)
        print(f"look at {output / 'sheet.png'}: held-out clips before and after")
    return 0 if all(is_kept for is_kept, _ in promises) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
