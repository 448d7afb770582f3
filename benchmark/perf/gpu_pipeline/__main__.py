"""python -m benchmark.perf.gpu_pipeline                 # full-size models on one GPU; wants 24 GB of scratch disk
python -m benchmark.perf.gpu_pipeline --tiny          # tiny models and clips on the CPU, as where no GPU is
"""

import sys

from vpdata.extras import needs
from vpdata.options import exit_code


def _main() -> int:
    with needs("models", "gpu_pipeline"):
        from benchmark.perf.gpu_pipeline.command import main

        main()
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(_main))
