"""python -m benchmark.perf.train_gpu                 # CogVideoX-5B-I2V in full size; wants one GPU of 80 GB or more
python -m benchmark.perf.train_gpu --tiny          # the same code on a tiny backbone, on the CPU
"""

from benchmark.perf.train_gpu.command import main

if __name__ == "__main__":
    main()
