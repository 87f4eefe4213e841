"""Runs a program with all of its ranks on one device, through gloo: two ranks where there is one GPU.

    python -m torch.distributed.run --standalone --nproc-per-node 2 bench/one_gpu.py train.py --config ...

NCCL refuses two ranks on one device. What streams, overlap and reduction compute is then seen, not how fast they are.
"""

import os
import runpy
import sys

from deepspeed.accelerator import get_accelerator

if __name__ == "__main__":
    get_accelerator()._communication_backend_name = "gloo"
    os.environ["LOCAL_RANK"] = "0"
    sys.path.insert(0, os.getcwd())
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")
