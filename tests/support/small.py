"""Small prepared runs for tests: generated tasks of every kind, a tiny encoder, real programs."""

import json
import random
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import data_prep.__main__ as data_prep_program
import train
from mtl.run.setup import Setup
from tests.support.packing import mask_row
from tests.support.rows import write

TEXT = (
    "river stone bread music garden window letter winter summer horse silver doctor teacher market island yellow quiet "
    "early heavy narrow open close carry follow answer between under always never"
)
WORDS = TEXT.split()
SHAPE = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
    "max_position_embeddings": 70,
}  # fmt: skip

# The run of 50 steps that tests/distributed/conftest.py makes once.
STEADY = {"steps": 50, "lr": 1e-3, "weight_decay": 0.5, "clip": 0.3, "warmup": 5}


def sentence(rng: random.Random, low: int = 3, high: int = 12) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(low, high)))


def row_of(kind: str, rng: random.Random) -> dict[str, Any]:
    """One canonical row of a kind, with a label that follows from the text."""
    if kind == "classify":
        a, b = sentence(rng), sentence(rng)
        return {"text_a": a, "text_b": b, "label": ("no", "yes")["river" in a]}
    if kind == "span":
        context = sentence(rng, 8, 20)
        answer = rng.choice(context.split())
        found = [{"text": answer, "start": context.index(answer)}] if rng.random() < 0.7 else []
        return {"question": sentence(rng, 2, 4), "context": context, "answers": found}
    if kind == "choice":
        count = rng.randint(2, 5)
        prompt, choices = sentence(rng), [sentence(rng, 1, 6) for _ in range(count)]
        return {"prompt": prompt, "choices": choices, "label": rng.randrange(count)}
    if kind == "tag":
        words = sentence(rng).split()
        return {"words": words, "tags": ["LONG" if len(w) > 5 else "SHORT" for w in words]}
    if kind == "regress":
        a, b = sentence(rng), sentence(rng)
        words = (a + " " + b).split()
        return {"text_a": a, "text_b": b, "label": round(5 * sum(len(w) > 5 for w in words) / len(words), 2)}
    return {"text": sentence(rng, 5, 15)}


KINDS = ("classify", "span", "choice", "tag", "mlm")
ALL = (*KINDS, "regress", "pair")
SIZES = {"classify": 60, "span": 40, "choice": 25, "tag": 30, "mlm": 20, "pair": 50, "regress": 60}
LABELS = {"classify": ["no", "yes"]}
METRICS = {"span": "squad_v2"}


def rows_of(kind: str, rng: random.Random, count: int) -> list[dict[str, Any]]:
    """Canonical rows of a kind; of pairs, some share a passage and every query is a part of its own."""
    if kind != "pair":
        return [row_of(kind, rng) for _ in range(count)]
    passages = [sentence(rng, 6, 12) for _ in range(count * 2 // 3)]
    used = [passages[number % len(passages)] for number in range(count)]
    return [{"query": " ".join(rng.sample(passage.split(), 3)), "passage": passage} for passage in used]


def write_tasks(folder: Path, seed: int = 0, kinds: Sequence[str] = KINDS) -> list[dict[str, Any]]:
    """Files of one task per kind in `folder`; the entries for `tasks` of a run config."""
    rng = random.Random(seed)
    entries = []
    for kind in kinds:
        entry: dict[str, Any] = {"name": f"my_{kind}", "kind": kind}
        for split, count in (("train", SIZES[kind]), ("dev", 11)):
            entry[split] = str(write(folder / f"{kind}.{split}.jsonl", rows_of(kind, rng, count)))
        entry |= {"labels": LABELS[kind]} if kind in LABELS else {}
        entry |= {"metric": METRICS[kind]} if kind in METRICS else {}
        entries.append(entry)
    return entries


def write_contrastive(folder: Path) -> dict[str, Any]:
    """Pairs, a third with a hard negative and half in a group of two or three; an entry with all fields of pairs."""
    rng, paths = random.Random(2), {}
    for split, count in (("train", SIZES["pair"]), ("dev", 11)):
        rows = rows_of("pair", rng, count)
        for number, row in enumerate(rows):
            row |= {"negative": rng.choice(rows)["passage"] if number % 2 else sentence(rng)} if number % 3 == 0 else {}
            row |= {"group": f"g{number % 11}"} if number % 2 else {}
        paths[split] = str(write(folder / f"contrastive.{split}.jsonl", rows))
    return {"name": "contrastive", "kind": "pair", "pooling": "mean", "temperature": 0.25, **paths}


LANGUAGE_ROWS = {"en": 40, "de": 90, "ja": 10}


def write_pawsx(folder: Path) -> dict[str, Any]:
    """PAWS-X as published, every first sentence beginning with its language; an entry that draws from all three."""
    rng = random.Random(1)
    for code, count in LANGUAGE_ROWS.items():
        for name, number in (("train" if code == "en" else "translated_train", count), ("dev_2k", 7)):
            rows = [[str(i), f"{code} {sentence(rng)}", sentence(rng), str(i % 2)] for i in range(number)]
            write(folder / f"x-final/{code}/{name}.tsv", [["id", "sentence1", "sentence2", "label"], *rows])
    return {"task": "pawsx", "languages": {"en": 2, "de": 1, "ja": 1}}


def write_run(folder: Path, tokenizer: Path, seed_of_data: int = 0, **fields: Any) -> Path:
    """A run config over one task per kind, with its prepared data; the path of the config."""
    values: dict[str, Any] = {
        "name": "small",
        "output": str(folder / "runs"),
        "data": str(folder / "data"),
        "encoder": {"config": SHAPE, "tokenizer": str(tokenizer)},
        "tasks": write_tasks(folder, seed_of_data),
        "max_length": 64,
        "batch": {"examples": 12},
        "micro_tokens": 600,
        "steps": 8,
        "mixture": {"kind": "capped", "cap": 50, "batches": "mixed"},
        "optimizer": {"lr": 1e-3},
        "evaluate": {"every": 4, "examples": 8},
        "checkpoint": {"every": 4},
        "log_every": 2,
        "hidden_dropout_prob": 0.0,
        "deepspeed": "zero2_cpu.json",
        **fields,
    }
    path = write(folder / "small.json", values)
    assert data_prep_program.main(["--config", str(path), "--source", str(folder), "--jobs", "1"]) == 0
    return path


def write_uniform(folder: Path, tokenizer: Path, task: dict[str, Any], steps: int) -> Path:
    """A run of `task` and a classification task, drawn alike, 8 examples a step: for what is drawn over many steps."""
    tasks = [task, *write_tasks(folder, kinds=("classify",))]
    mixture = {"kind": "uniform", "batches": "mixed"}
    return write_run(folder, tokenizer, tasks=tasks, mixture=mixture, steps=steps, batch={"examples": 8})


def elsewhere(config: Path, folder: Path, **fields: Any) -> Path:
    """A copy of a run config, over the same prepared data, whose run goes to `folder`/runs."""
    path = folder / config.name
    values = {**json.loads(config.read_text()), "output": str(folder / "runs"), **fields}
    path.write_text(json.dumps(values))
    return path


def dry_run(arguments: Sequence[object]) -> int:
    """The exit code of `train.py --dry-run ARGUMENTS`, run in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train.py", "--dry-run", *map(str, arguments)])
        return train.main()


def items_of(made: Setup, count: int) -> list[tuple[int, dict[str, Any]]]:
    """The first rows of each task, tokens of `mlm` masked, for `tests.support.packing.pack_rows`: (task index, row)."""
    items = []
    for t, task in enumerate(made.tasks):
        for number, row in enumerate(task.train.take(np.arange(count))):
            mlm = task.task.kind == "mlm"
            items.append((t, mask_row(row, made.special, 0.15, (1, 2, number)) if mlm else row))
    return items


def rewind(source: Path, target: Path, after: int) -> Path:
    """Copies a run folder as it was after step `after`."""
    shutil.copytree(source, target, symlinks=True)
    for path in (target / "checkpoints").glob("step-*"):
        if path.name > f"step-{after:08d}":
            shutil.rmtree(path)
    return target
