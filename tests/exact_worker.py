"""One rank of tests/test_exact.py: runs several engines one after another and saves what they computed.

deepspeed --num_gpus 2 tests/exact_worker.py CASES.json OUT
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mtl import engine, loader, setup


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("cases")
    parser.add_argument("out")
    parser.add_argument("--local_rank", type=int, default=0)
    args = parser.parse_args()
    rank, ranks, _ = engine.connect()
    for name, case in json.loads(Path(args.cases).read_text()).items():
        made = setup.read(case["config"], case["set"])
        run, plan = made.run, made.plan
        ds = {**made.ds, "zero_optimization": {**made.ds["zero_optimization"], **case["zero"]}}
        runner = engine.Engine(made.model(), run, ds, plan.steps)
        norms, micro_steps, tasks = [], [], []
        for step in loader.steps_from(plan, 0):
            shares = step.divide(ranks, run.micro_tokens)
            micro_steps.append(len(shares))
            batches = loader.micro_batches(plan, step, shares, rank, made.special)
            present = {plan.tasks[t].name for t in np.flatnonzero(step.counts)}
            _, norm, _ = runner.step(step.number, batches, present)
            norms.append(norm)
            tasks.append([[sorted({plan.tasks[t].name for t in step.task[p]}) for p in ranks_] for ranks_ in shares])
        weights = runner.full_weights()
        if rank == 0:
            torch.save(
                {"weights": weights, "norms": norms, "micro_steps": micro_steps, "tasks": tasks},
                Path(args.out) / f"{name}.pt",
            )
    engine.close()


if __name__ == "__main__":
    main()
