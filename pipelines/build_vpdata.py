#!/usr/bin/env python3
"""Build a data set on a Ray cluster: `ray job submit --working-dir . -- python pipelines/build_vpdata.py --help`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV_PYTHON = ROOT / ".venv/bin/python"
if VENV_PYTHON.exists() and Path(sys.prefix) != VENV_PYTHON.parents[1]:
    # A Ray job starts with the PATH of `ray start`, which need not be the environment's.
    os.execv(VENV_PYTHON, [str(VENV_PYTHON), *sys.argv])
sys.path.insert(0, str(ROOT))

from vpdata.build import load_config, run  # noqa: E402
from vpdata.options import exit_code, job_options  # noqa: E402
from vpdata.stages import Caption, Cut, Detect, Filter, Track  # noqa: E402


def main() -> int:
    """Compose the five stages and run them."""
    options = job_options(sys.argv[1:], os.environ, root=ROOT)
    config = load_config(options.config_path, options.overrides)
    stages = (
        Cut(config.cut),
        Detect(config.detect),
        Track(config.track),
        Caption(config.caption),
        Filter(config.filter),
    )
    return run(options, config, stages)


if __name__ == "__main__":
    sys.exit(exit_code(main))
