"""python -m benchmark.perf.gpu_pipeline                 # full-size models; wants one GPU and 24 GB of scratch disk
python -m benchmark.perf.gpu_pipeline --tiny          # the same code on tiny models and clips, on the CPU
"""

from benchmark.perf.gpu_pipeline.command import main

if __name__ == "__main__":
    main()
