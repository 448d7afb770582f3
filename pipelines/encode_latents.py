#!/usr/bin/env python3
"""Encode a run on a Ray cluster: `ray job submit --working-dir . -- python pipelines/encode_latents.py --help`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV_PYTHON = ROOT / ".venv/bin/python"
if VENV_PYTHON.exists() and Path(sys.prefix) != VENV_PYTHON.parents[1]:
    # A Ray job starts with the PATH of `ray start`, which need not be the environment's.
    os.execv(VENV_PYTHON, [str(VENV_PYTHON), *sys.argv])
sys.path.insert(0, str(ROOT))

from vpdata.extras import needs  # noqa: E402
from vpdata.options import add_encode_options, encode_options, exit_code  # noqa: E402


def main() -> int:
    """Run the one stage."""
    parser = argparse.ArgumentParser(prog="encode_latents.py", description="Encode a run's clips on a Ray cluster.")
    add_encode_options(parser)
    options = encode_options(parser.parse_args())
    with needs("train", "encode_latents.py"):
        from vpdata.encode import load_config, run

        print(run(options, load_config(options.config_path, options.overrides)))
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
