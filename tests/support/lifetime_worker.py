"""Makes an engine of the run CONFIG with each DeepSpeed file, steps once, and lets it go: prints a line for each.

python tests/support/lifetime_worker.py CONFIG FILE ...
"""

import gc
import sys
import weakref
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mtl.data import loader
from mtl.distributed import engine
from mtl.run import setup


def main() -> None:
    engine.connect()
    config, *files = sys.argv[1:]
    for file in files:
        things = used(config, file)
        gc.collect()
        left = [kind for kind, thing in things.items() if thing() is not None]
        print(f"{file} left: {' '.join(left) or 'nothing'}")


def used(config: str, file: str) -> dict[str, weakref.ref]:
    """Of an engine that has made a step and is no longer needed."""
    run_setup = setup.read(config, [f"deepspeed={file}"])
    runner = engine.Engine(run_setup.model(), run_setup.run, run_setup.ds, run_setup.plan.steps)
    step = next(loader.steps_from(run_setup.plan, 0))
    batches = loader.micro_batches(
        run_setup.plan, step, step.divide(1, run_setup.run.micro_tokens), 0, run_setup.special
    )
    runner.step(0, batches, {run_setup.names[task] for task in step.counts.nonzero()[0]}, {})
    return {"model": weakref.ref(runner.model), "optimizer": weakref.ref(runner.ds.optimizer)}


if __name__ == "__main__":
    main()
