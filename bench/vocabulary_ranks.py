"""One rank of bench/vocabulary.py: CONFIG ROUNDS STEPS OUT."""

import sys
from pathlib import Path

from bench.vocabulary import ranks_main

if __name__ == "__main__":
    config, rounds, steps, out = sys.argv[1:]
    ranks_main(config, int(rounds), int(steps), Path(out))
