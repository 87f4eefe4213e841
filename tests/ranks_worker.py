"""One rank of tests/test_checkpoint.py: all ranks say what they have, and stop with a sentence if it differs.

deepspeed --num_gpus 2 tests/ranks_worker.py
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mtl import engine, ranks


def main() -> None:
    rank, _, _ = engine.connect()
    ranks.agree_on({"seed": 1, "tasks": {"mnli": {"data": ["same"]}}})  # no complaint
    try:
        ranks.agree_on({"seed": 1, "tasks": {"mnli": {"data": ["aa" if rank == 0 else "bb"]}}})
    except ranks.Agreed as error:
        for turn in range(2):
            if turn == rank:
                print(error, flush=True)
            ranks.barrier()
    ranks.close()


if __name__ == "__main__":
    main()
