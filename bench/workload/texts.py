"""Sentences and pairs for bench.evaluation: real ones, or synthetic words with the lengths of real ones.

    python -m bench.workload.texts --data DIR --tokenizer DIR      # measures real samples, writes text_lengths.json

text_lengths.json: by language, the numbers of XLM-R's tokens, without special ones, of Tatoeba's sentences and of both
texts of XNLI's pairs, in the order of the files. Numbers only: no text and no token of the data.
"""

import argparse
import json
import random
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from bench.workload import synthetic
from data_prep.encoding import tokenizer as tokenizers
from eval.read import read
from eval.suites import TARGETS
from tasks.classify.data import Classify

FILE = Path(__file__).with_name("text_lengths.json")
KEPT = 200  # of every language
VOCABULARY = 20_000  # of the synthetic texts


def real_sentences(data: str, languages: int, count: int) -> list[list[str]]:
    """The first `count` sentences of Tatoeba in each of the first `languages` of XTREME that `data` has."""
    rows = read(TARGETS["tatoeba"], TARGETS["tatoeba"].of_suite("xtreme"), data).rows
    return [[pair.other for pair in pairs[:count]] for pairs in islice(rows.values(), languages)]


def real_pairs(data: str, languages: int, count: int) -> list[list[Classify]]:
    """The first `count` labelled pairs of XNLI in each of the first `languages` that `data` has."""
    return [list(pairs[:count]) for pairs in islice(read(TARGETS["xnli"], (), data).rows.values(), languages)]


def synthetic_sentences(languages: int, count: int) -> list[list[str]]:
    """Words of `synthetic.tokenizer(VOCABULARY)`; lengths repeat from the 31st language on."""
    rng = random.Random(0)
    chosen = islice(cycle(_lengths()["tatoeba"].values()), languages)
    return [[_words(rng, length) for length in islice(cycle(lengths), count)] for lengths in chosen]


def synthetic_pairs(languages: int, count: int) -> list[list[Classify]]:
    """As `synthetic_sentences`, with XNLI's lengths; labels are 0."""
    rng = random.Random(0)
    chosen = islice(cycle(_lengths()["xnli"].values()), languages)
    return [
        [Classify("", _words(rng, a), _words(rng, b), 0) for a, b in islice(cycle(lengths), count)]
        for lengths in chosen
    ]


def _words(rng: random.Random, count: int) -> str:
    return " ".join(f"w{synthetic.zipf(rng, VOCABULARY - synthetic.SPECIAL)}" for _ in range(count))


def _lengths() -> dict[str, dict[str, Any]]:
    lengths: dict[str, dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))
    return lengths


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.workload.texts", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--data", required=True, help="folder with Tatoeba and XNLI")
    parser.add_argument("--tokenizer", required=True, help="folder of XLM-R's tokenizer")
    options = parser.parse_args()
    tokenizer = tokenizers.load(options.tokenizer)
    # In the order of the files, on which the padding of a batch depends.
    lengths: dict[str, dict[str, Any]] = {"tatoeba": {}, "xnli": {}}
    for code, pairs in read(TARGETS["tatoeba"], TARGETS["tatoeba"].of_suite("xtreme"), options.data).rows.items():
        lengths["tatoeba"][code] = _sizes(tokenizer, [pair.other for pair in pairs[:KEPT]])
    for code, rows in read(TARGETS["xnli"], (), options.data).rows.items():
        some = [row for row in rows[:KEPT] if row.text_b is not None]
        sides = (_sizes(tokenizer, [row.text_a for row in some]), _sizes(tokenizer, [row.text_b for row in some]))
        lengths["xnli"][code] = [list(both) for both in zip(*sides, strict=True)]
    parts = []
    for name, languages in lengths.items():
        lines = (f'  "{code}": {json.dumps(values, separators=(",", ":"))}' for code, values in languages.items())
        parts.append(f' "{name}": {{\n' + ",\n".join(lines) + "\n }")
    FILE.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


def _sizes(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> list[int]:
    return [max(1, len(ids)) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]


if __name__ == "__main__":
    main()
