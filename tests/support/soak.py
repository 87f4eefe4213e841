"""Kills a run at a random moment, resumes it, compares the weights with those of an uninterrupted run; again and again.

    make soak N=50                      (or: python tests/support/soak.py --trials 50 [--seed S])

Each trial is a run of its own on two CPU ranks: kill -9 of a rank, of `launch.py`, of the `deepspeed` launcher, or of
all at once, at a moment drawn between the first step and the last, half of the time drawn to fall into the writing of
a checkpoint; then the same command again, until it ends with `done`. The bits of encoder, encoder_last and heads must
be those of the uninterrupted run, each line of metrics.jsonl must stand there once. Prints a line a trial and a table.
"""

import argparse
import random
import shutil
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tqdm import tqdm

from tests.support.launch import program
from tests.support.live import Live, differences
from tests.support.small import write_run
from tests.support.tiny_tokenizer import make_tokenizer

FIELDS = {
    "steps": 60, "optimizer": {"lr": 3e-3}, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
    "log_every": 1, "checkpoint": {"every": 3}, "evaluate": {"every": 7, "examples": 4},
}  # fmt: skip
TARGETS = ("rank 0", "rank 1", "launch.py", "launcher", "all")


def one_trial(config: Path, reference: Path, rng: random.Random) -> tuple[str, str, int, bool]:
    """(what was killed, when, the step reached by then, whether everything is as in `reference`)."""
    folder = config.parent / "runs" / "small"
    shutil.rmtree(folder, ignore_errors=True)
    target, writing = rng.choice(TARGETS), rng.random() < 0.5
    with Live(config) as live:
        live.until_step(rng.randrange(1, FIELDS["steps"] - 5))
        ranks = live.ranks
        processes = {"rank 0": ranks[:1], "rank 1": ranks[1:], "launch.py": [live.node], "launcher": [live.launcher]}
        doomed = processes.get(target, [*ranks, live.node, live.launcher])
        if writing:
            live.until(lambda: list((folder / "checkpoints").glob(".writing-*")), timeout=30)
            time.sleep(rng.random() * 0.01)
        else:
            time.sleep(rng.random() * 0.1)
        when = "during a save" if list((folder / "checkpoints").glob(".writing-*")) else "between saves"
        for process in doomed:
            process.kill()
        step = live.step
        live.end(60)
    program("train.py", "--config", config, ranks=2)
    return target, when, step, not differences(folder, reference)


def soak(trials: int, seed: int, place: Path) -> int:
    """How many of `trials` ended with the same bits; prints as it goes."""
    config = write_run(place, make_tokenizer(place / "tokenizer"), **FIELDS)
    program("train.py", "--config", config, ranks=2)
    reference = place / "reference"
    (place / "runs" / "small").rename(reference)
    rng, good, table = random.Random(seed), 0, Counter()
    for number in tqdm(range(1, trials + 1), desc="soak", unit="trial", disable=None):
        target, when, step, same = one_trial(config, reference, rng)
        good += same
        table[target, when, same] += 1
        tqdm.write(f"{number:>4}  kill -9 {target:<9} at step {step:>3} {when:<13}  {'same' if same else 'DIFFERENT'}")
    for (target, when, same), count in sorted(table.items()):
        print(f"{target:<10} {when:<14} {count:>6} {'same bits' if same else 'DIFFERENT'}")
    print(f"{good} of {trials} resumed to the same bits (seed {seed})")
    return good


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with TemporaryDirectory() as place:
        sys.exit(soak(args.trials, args.seed, Path(place)) != args.trials)
