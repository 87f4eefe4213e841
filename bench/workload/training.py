"""The nine tasks as synthetic words with the real lengths: a run config, prepared data, a tokenizer and an encoder.

    config = write(Path("work"), "base", rows=2000, seed=1)

Every word is one token, so that a row has exactly the tokens that bench/workload/row_lengths.py measured (one fewer in
pairs where the tokenizer has one special token between them); data preparation, plan and packing are those of the
product. With an encoder of one's own, words are whole ones of its tokenizer. Words come from at most an eighth of the
vocabulary, as in English text. Labels are random: what is learned does not matter for speed and memory.
"""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel

import data_prep.__main__ as data_prep_program
from bench.workload import synthetic
from bench.workload.row_lengths import DATASETS, FILES
from data_prep.encoding import tokenizer as tokenizers

CAP = 131_072  # of the mixture (K = 2^17, Phang et al. 2020)
SHAPES: dict[str, dict[str, Any]] = {  # XLM-R's, where no `model_type` is given
    "tiny": {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 128},
    "small": {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024},
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    "large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
    "mmbert": {  # mmBERT base
        "model_type": "modernbert",
        "hidden_size": 768,
        "num_hidden_layers": 22,
        "num_attention_heads": 12,
        "intermediate_size": 1152,
        "cls_token_id": 0,
        "sep_token_id": 2,
    },
}
# Task: its type, the datasets whose lengths it has, number of classes.
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


def write(
    folder: Path,
    shape: str,
    *,
    rows: int,
    seed: int,
    vocabulary: int = 250_002,
    max_length: int = 512,
    encoder: Path | None = None,
    **settings: Any,
) -> Path:
    """Writes tokenizer, encoder, data and a run config with `settings` below `folder`; the config's path.

    `rows`: training rows of each task; encoder: a folder of weights and tokenizer, instead of `shape` and `vocabulary`.
    """
    if encoder is None:
        words, encoder = synthetic.words(min(ENGLISH, vocabulary // 8), vocabulary), folder / "encoder"
    else:
        words = synthetic.words_of(tokenizers.load(encoder), ENGLISH)
    if not (encoder / "config.json").exists():
        tokenizer = synthetic.tokenizer(vocabulary)
        torch.manual_seed(seed)
        config = AutoConfig.for_model(**{
            "model_type": "xlm-roberta", "vocab_size": len(tokenizer), "max_position_embeddings": 514,
            "type_vocab_size": 1, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, **SHAPES[shape],
        })  # fmt: skip
        AutoModel.from_config(config).save_pretrained(encoder)
        tokenizer.save_pretrained(encoder)
    row_lengths = json.loads(FILES[max_length].read_text(encoding="utf-8"))
    tasks = []
    for name, (kind, datasets, classes) in TASKS.items():
        rng = random.Random(f"{seed}/{name}")
        sizes = [DATASETS[dataset] for dataset in datasets]
        row_of = {"classify": _classify, "span": _span, "choice": _choice, "tag": _tag}[kind]
        for split, count in (("train", rows), ("dev", 20)):
            drawn = (rng.choice(row_lengths[dataset]) for dataset in rng.choices(datasets, sizes, k=count))
            lines = [json.dumps(row_of(rng, lengths, words, classes)) for lengths in drawn]
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


def _words(rng: random.Random, count: int, words: Sequence[str]) -> str:
    return " ".join(words[synthetic.zipf(rng, len(words))] for _ in range(max(1, count)))


def _classify(rng: random.Random, lengths: Sequence[int], words: Sequence[str], classes: int) -> dict[str, Any]:
    total = lengths[0] - 4
    first = max(1, total * 2 // 3)
    texts = {"text_a": _words(rng, first, words), "text_b": _words(rng, total - first, words)}
    return {**texts, "label": f"c{rng.randrange(classes)}"}


def _span(rng: random.Random, lengths: Sequence[int], words: Sequence[str], classes: int) -> dict[str, Any]:
    question = max(1, min(QUESTION, lengths[0] - 6))
    context = _words(rng, lengths[0] - 4 - question, words)
    answer = {"text": context.split()[0], "start": 0}
    return {"question": _words(rng, question, words), "context": context, "answers": [answer]}


def _choice(rng: random.Random, lengths: Sequence[int], words: Sequence[str], classes: int) -> dict[str, Any]:
    prompt = max(1, min(lengths) - 6)
    choices = [_words(rng, length - 4 - prompt, words) for length in lengths]
    return {"prompt": _words(rng, prompt, words), "choices": choices, "label": rng.randrange(len(lengths))}


def _tag(rng: random.Random, lengths: Sequence[int], words: Sequence[str], classes: int) -> dict[str, Any]:
    sentence = _words(rng, lengths[0] - 2, words).split()
    return {"words": sentence, "tags": [f"c{rng.randrange(classes)}" for _ in sentence]}
