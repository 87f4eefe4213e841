"""The nine tasks as made-up words of the true lengths: a run config, prepared data, a tokenizer and an encoder.

    config = make(Path("work"), "base", rows=2000, seed=1)

Every word is one token, so that a row has exactly the tokens that bench/lengths.py measured; the rest of the road
(data_prep, plan, packing) is the real one. Words come from an eighth of the vocabulary at most, as English text does.
Labels are drawn at random: for speed and memory it does not matter what is learned.
"""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import XLMRobertaConfig, XLMRobertaModel

import data_prep.__main__ as data_prep_program
from bench import madeup
from bench.lengths import DATASETS, FILES

CAP = 131_072  # of the mixture (K = 2^17, Phang et al. 2020)
SHAPES: dict[str, dict[str, int]] = {
    "tiny": {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 128},
    "small": {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024},
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    "large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
}
# Task: its kind, the datasets whose lengths it has, classes.
TASKS: dict[str, tuple[str, tuple[str, ...], int]] = {
    "anli_plus": ("classify", ("mnli", "snli", "anli"), 3),
    "mnli": ("classify", ("mnli",), 3),
    "qqp": ("classify", ("qqp",), 2),
    "squad_v1": ("span", ("squad_v1",), 0),
    "squad_v2": ("span", ("squad_v2",), 0),
    "hellaswag": ("choice", ("hellaswag",), 0),
    "ccg": ("tag", ("ccg",), 1363),
    "cosmosqa": ("choice", ("cosmosqa",), 0),
    "commonsenseqa": ("choice", ("commonsenseqa",), 0),
}
ENGLISH = 25_576  # distinct ids in 3.6 million tokens of the real tasks, out of XLM-R's 250,002
QUESTION = 12  # words of a question; its length is part of the row's


def make(
    folder: Path, shape: str, *, rows: int, seed: int, vocabulary: int = 250_002, max_length: int = 512, **settings: Any
) -> Path:
    """Writes tokenizer, encoder, data and `run.json` (its path is returned) below `folder`; `settings` go into it."""
    tokenizer = madeup.tokenizer(vocabulary)
    encoder = folder / "encoder"
    if not (encoder / "config.json").exists():
        torch.manual_seed(seed)
        config = XLMRobertaConfig(
            **SHAPES[shape], vocab_size=len(tokenizer), max_position_embeddings=514, type_vocab_size=1, pad_token_id=1,
            bos_token_id=0, eos_token_id=2,
        )  # fmt: skip
        XLMRobertaModel(config).save_pretrained(encoder)
        tokenizer.save_pretrained(encoder)
    lengths = json.loads(FILES[max_length].read_text(encoding="utf-8"))
    tasks = []
    for name, (kind, datasets, classes) in TASKS.items():
        rng = random.Random(f"{seed}/{name}")
        sizes = [DATASETS[dataset] for dataset in datasets]
        write = {"classify": _classify, "span": _span, "choice": _choice, "tag": _tag}[kind]
        for split, count in (("train", rows), ("dev", 20)):
            drawn = (rng.choice(lengths[dataset]) for dataset in rng.choices(datasets, sizes, k=count))
            lines = [json.dumps(write(rng, row, vocabulary, classes)) for row in drawn]
            path = folder / "rows" / f"{name}.{split}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        entry = {
            "name": f"bench_{name}", "kind": kind, "share": float(min(sum(sizes), CAP)),
            "train": str(folder / "rows" / f"{name}.train.jsonl"), "dev": str(folder / "rows" / f"{name}.dev.jsonl"),
        }  # fmt: skip
        if classes:
            entry["labels"] = [f"c{number}" for number in range(classes)]
        tasks.append(entry)
    values = {
        "name": "bench", "output": str(folder / "runs"), "data": str(folder / "data"), "encoder": str(encoder),
        "tasks": tasks, "max_length": max_length, "seed": seed, "mixture": {"kind": "fixed", "batches": "mixed"},
        **settings,
    }  # fmt: skip
    config_path = folder / "run.json"
    config_path.write_text(json.dumps(values, indent=1), encoding="utf-8")
    if data_prep_program.main(["--config", str(config_path), "--jobs", "1"]) != 0:
        raise SystemExit("the benchmark's data could not be prepared")
    return config_path


def _words(rng: random.Random, count: int, vocabulary: int) -> str:
    most = min(ENGLISH, vocabulary // 8)
    apart = (vocabulary - madeup.SPECIAL) // most  # they lie all over the table
    return " ".join(f"w{madeup.rank(rng, most) * apart}" for _ in range(max(1, count)))


def _classify(rng: random.Random, row: Sequence[int], vocabulary: int, classes: int) -> dict[str, Any]:
    both = row[0] - 4
    first = max(1, both * 2 // 3)
    texts = {"text_a": _words(rng, first, vocabulary), "text_b": _words(rng, both - first, vocabulary)}
    return {**texts, "label": f"c{rng.randrange(classes)}"}


def _span(rng: random.Random, row: Sequence[int], vocabulary: int, classes: int) -> dict[str, Any]:
    question = max(1, min(QUESTION, row[0] - 6))
    context = _words(rng, row[0] - 4 - question, vocabulary)
    answer = {"text": context.split()[0], "start": 0}
    return {"question": _words(rng, question, vocabulary), "context": context, "answers": [answer]}


def _choice(rng: random.Random, row: Sequence[int], vocabulary: int, classes: int) -> dict[str, Any]:
    prompt = max(1, min(row) - 6)
    choices = [_words(rng, length - 4 - prompt, vocabulary) for length in row]
    return {"prompt": _words(rng, prompt, vocabulary), "choices": choices, "label": rng.randrange(len(row))}


def _tag(rng: random.Random, row: Sequence[int], vocabulary: int, classes: int) -> dict[str, Any]:
    words = _words(rng, row[0] - 2, vocabulary).split()
    return {"words": words, "tags": [f"c{rng.randrange(classes)}" for _ in words]}
