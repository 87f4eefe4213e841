"""One rank of bench/vocabulary.py: CONFIG ROUNDS STEPS OUT."""

import sys
from pathlib import Path

from bench import traffic

if __name__ == "__main__":
    counted = traffic.watch()  # before DeepSpeed is imported
    from bench.vocabulary import ranks_main

    config, rounds, steps, out = sys.argv[1:]
    ranks_main(config, int(rounds), int(steps), Path(out), counted)
