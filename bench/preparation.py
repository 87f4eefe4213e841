"""Preparing data against a plain `datasets.map` with the same tokenizer: examples a second, memory, equal token ids.

    python -m bench.preparation [--data ../shared/data] [--rows 20000 60000] [--jobs 2] [--rounds 5]

Sentence pairs in a JSONL file become Arrow files with the same columns, on the same number of processes. Ours also
checks every example, counts what is cut, hashes input and output, and syncs the disk. Theirs is `load_dataset("json")`
and `map` in batches of 1000 with the fast tokenizer, written to a fresh cache. Each way has a process of its own that
stays alive; rounds take turns, ratios are taken within a round. With --data the pairs are those of the MNLI sample
there and the tokenizer is XLM-R's; else both are made here, of Zipf-distributed words.
"""

import argparse
import contextlib
import hashlib
import json
import multiprocessing
import os
import random
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

LENGTH = 128
LABELS = ("entailment", "neutral", "contradiction")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.preparation", description="data_prep against datasets.map.")
    parser.add_argument("--data", type=Path, help="folder of real samples: hub/ and tokenizer/xlmr in it")
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000, 60_000])
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processes are the parallelism, on both sides
    import datasets
    import tokenizers

    print(f"datasets {datasets.__version__}, tokenizers {tokenizers.__version__}; {options.jobs} processes")
    print("\n| rows | ours, examples/s a core | datasets.map | ratio | peak memory, MiB: ours | theirs | token ids |")
    print("|---:|---:|---:|---|---:|---:|---|")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for rows in options.rows:
            tokenizer = write(folder, rows, options.data)
            print(_row(folder, tokenizer, rows, options.jobs, options.rounds), flush=True)


def write(folder: Path, rows: int, data: Path | None) -> Path:
    """`folder`/train.jsonl with `rows` pairs and dev.jsonl with a few; the tokenizer's folder."""
    generator = random.Random(1)
    if data is not None:
        import pyarrow.parquet as parquet

        (file,) = data.glob("hub/nyu-mll/glue/mnli/train-*.parquet")
        real = parquet.read_table(file).to_pylist()
        pairs = [(row["premise"], row["hypothesis"]) for row in real]
        # Every text once: repeated ones would be tokenised once by us, which real data do not allow either.
        chosen = [(a, b, n) for n in range(-(-rows // len(pairs))) for a, b in generator.sample(pairs, len(pairs))]
        lines = [(f"{n} {a}" if n else a, f"{b} {n}" if n else b) for a, b, n in chosen[:rows]]
        tokenizer = data / "tokenizer" / "xlmr"
    else:
        from examples.toyworld.tokenizer import write_tokenizer

        words = ["".join(generator.choices("abcdefghijklmnoprstuvw", k=generator.randint(2, 9))) for _ in range(20_000)]
        texts = [
            " ".join(words[int(len(words) ** generator.random()) - 1] for _ in range(generator.randint(5, 30)))
            for _ in range(2 * rows)
        ]
        lines = list(zip(texts[::2], texts[1::2], strict=True))
        tokenizer = folder / "tokenizer"
        write_tokenizer(words, tokenizer)
    for name, some in (("train", lines), ("dev", lines[:16])):
        with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as file:
            for a, b in some:
                row = {"text_a": a, "text_b": b, "label": generator.choice(LABELS)}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return tokenizer


def _row(folder: Path, tokenizer: Path, rows: int, jobs: int, rounds: int) -> str:
    context = multiprocessing.get_context("spawn")
    workers, pipes = [], []
    for way in (ours, theirs):
        pipe, end = context.Pipe()
        workers.append(context.Process(target=_work, args=(end, way, folder, tokenizer, jobs)))
        workers[-1].start()
        pipes.append(pipe)
    ids = [pipe.recv() for pipe in pipes]  # of the first, slower run, which starts the processes
    seconds: list[list[float]] = [[], []]
    peaks = [0.0, 0.0]
    for number in range(rounds):
        for turn in range(2):
            way = (number + turn) % 2
            pipes[way].send(True)
            took, peak = pipes[way].recv()
            seconds[way].append(took)
            peaks[way] = max(peaks[way], peak)
    for pipe, worker in zip(pipes, workers, strict=True):
        pipe.send(False)
        worker.join()
    ratios = [b / a for a, b in zip(*seconds, strict=True)]
    middle = [rows / statistics.median(some) / jobs for some in seconds]
    ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    same = "equal" if ids[0] == ids[1] else "DIFFERENT"
    return f"| {rows:,} | {middle[0]:,.0f} | {middle[1]:,.0f} | {ratio} | {peaks[0]:.0f} | {peaks[1]:.0f} | {same} |"


def _work(pipe: Connection, way: Any, folder: Path, tokenizer: Path, jobs: int) -> None:
    """Sends a checksum of the columns, then for every True received the seconds and peak MiB of one more run."""
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115  # progress bars
    with way(folder, tokenizer, jobs) as run:
        pipe.send(run())
        while pipe.recv():
            with peak() as found:
                began = time.perf_counter()
                run()
                took = time.perf_counter() - began
            pipe.send((took, found[0]))


@contextlib.contextmanager
def peak() -> Iterator[list[float]]:
    """The most MiB that this process and its children had of their own (shared pages count in part), every 50 ms."""
    me, found, ended = psutil.Process(), [0.0], threading.Event()

    def look() -> None:
        while not ended.wait(0.05):
            total = 0
            for process in (me, *me.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    total += process.memory_full_info().pss
            found[0] = max(found[0], total / 2**20)

    watch = threading.Thread(target=look)
    watch.start()
    try:
        yield found
    finally:
        ended.set()
        watch.join()


@contextlib.contextmanager
def ours(folder: Path, tokenizer: Path, jobs: int) -> Iterator[Any]:
    from data_prep.prepare import prepare
    from data_prep.sources.locate import own
    from data_prep.workers import Encoder, Job

    out = folder / "ours"
    located = own("classify", str(folder / "train.jsonl"), str(folder / "dev.jsonl"), "bench")
    with Encoder(str(tokenizer), jobs) as encoder:

        def run() -> str:
            shutil.rmtree(out, ignore_errors=True)
            prepared, _ = prepare(Job("bench", "classify", LABELS, "en", LENGTH), located, out, encoder)
            found = prepared.train.gather(range(prepared.train.rows), ("input_ids", "label", "length", "example"))
            return checksum(found["input_ids"].values, found["label"], found["length"], found["example"])  # type: ignore[union-attr]

        yield run


@contextlib.contextmanager
def theirs(folder: Path, tokenizer: Path, jobs: int) -> Iterator[Any]:
    import numpy as np
    from datasets import Features, List, Value, load_dataset
    from transformers import AutoTokenizer

    fast = AutoTokenizer.from_pretrained(tokenizer)
    ints = {name: Value("int32") for name in ("length", "units", "example", "label")}
    features = Features({"input_ids": List(Value("int32")), "lengths": List(Value("int32")), **ints})
    number = {name: index for index, name in enumerate(LABELS)}

    def encode(batch: dict[str, list[Any]], indices: list[int]) -> dict[str, list[Any]]:
        ids = fast(
            batch["text_a"], batch["text_b"], truncation="longest_first", max_length=LENGTH, return_attention_mask=False
        )["input_ids"]
        return {
            "input_ids": ids, "lengths": [[len(row)] for row in ids], "length": [len(row) for row in ids],
            "units": [1] * len(ids), "example": indices, "label": [number[name] for name in batch["label"]],
        }  # fmt: skip

    def run() -> str:
        cache = folder / "theirs"
        shutil.rmtree(cache, ignore_errors=True)
        files = {split: str(folder / f"{split}.jsonl") for split in ("train", "dev")}
        loaded = load_dataset("json", data_files=files, cache_dir=str(cache))
        done = {
            split: loaded[split].map(
                encode, batched=True, with_indices=True, remove_columns=loaded[split].column_names, features=features,
                num_proc=jobs if split == "train" and jobs > 1 else None, new_fingerprint=f"bench{split}",
            )
            for split in files
        }  # fmt: skip
        table = done["train"].with_format("arrow")[:]
        ids = np.concatenate([chunk.flatten().to_numpy() for chunk in table["input_ids"].chunks])
        return checksum(ids, *(table[name].to_numpy() for name in ("label", "length", "example")))

    yield run


def checksum(*columns: Any) -> str:
    """One name for some columns of numbers."""
    import numpy as np

    digest = hashlib.sha256()
    for column in columns:
        digest.update(np.ascontiguousarray(column, np.int32).tobytes())
    return digest.hexdigest()


if __name__ == "__main__":
    main()
