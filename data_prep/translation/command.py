"""`python -m data_prep translate`: training data of tasks, machine-translated into other languages.

    python -m data_prep translate --tasks mnli,squad_v1 --to de,ru,sw --model FOLDER_OR_HUB_ID [--source hub|DIR ...]
        [--data data] [--limit ROWS] [--beams 1] [--batch-tokens 4096] [--dry-run]
    accelerate launch --num_processes 4 -m data_prep translate ...                  the same on several GPUs

Writes DATA/translated/TASK/LANGUAGE/{train,dev}.jsonl, rows as in a user's own files, and translation.json beside them:
system, licence, and what was left out, by reason. Translated sentences are kept in DATA/translated/cache and used again
by the next run, task or limit. It first prints what is to be done and about how long it takes, by the speed of two
batches; --dry-run ends there. With several processes each translates the sentences whose hash is its own; the first
writes the rows.
"""

import argparse
import json
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from common import files
from common.command_line import positive
from common.config_fields import nearest
from common.errors import InputError, writing
from common.table import table
from data_prep.datasets import DATASETS, TASKS
from data_prep.datasets.schema import Task
from data_prep.prepare import read_examples
from data_prep.sources.folders import Folder
from data_prep.sources.licence import TRANSLATION_FILE, licence_of
from data_prep.sources.locate import Located, locate_training
from data_prep.sources.sources_lock import SourcesLock
from data_prep.storage.store import SPLITS, Preparation
from data_prep.translation import processes
from data_prep.translation.cache import Cache, key_of
from data_prep.translation.checks import failure
from data_prep.translation.system import System, open_system
from data_prep.translation.texts import Texts
from tasks.base import Example, LeftOut
from tasks.registry import TASK_TYPES

SOURCE = "en"


def main(arguments: Sequence[str]) -> None:
    """Runs the command; `InputError` for whatever is wrong."""
    parser = argparse.ArgumentParser(prog="python -m data_prep translate", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--tasks", required=True, help="tasks of the table, separated by commas")
    parser.add_argument("--to", required=True, help="language codes, separated by commas")
    parser.add_argument("--model", required=True, help="M2M100, NLLB, MADLAD: a folder or Hub id; or MODULE:ATTRIBUTE")
    parser.add_argument("--source", action="append", help="`hub` or a folder; given again: where to look next")
    parser.add_argument("--data", default="data", help="the folder of prepared and downloaded data (default: data)")
    parser.add_argument("--limit", type=positive, help="only the first rows of each split of a dataset")
    parser.add_argument("--beams", type=positive, default=1, help="1: greedy search (default)")
    parser.add_argument("--batch-tokens", type=positive, default=4096, help="source tokens of a batch, with padding")
    parser.add_argument("--dry-run", action="store_true", help="only print what there is to do and how long it takes")
    options = parser.parse_args(arguments)
    tasks = [_task(name) for name in options.tasks.split(",")]
    places = [None if source == "hub" else Folder.open(Path(source)) for source in options.source or ["hub"]]
    system = open_system(options.model, options.beams)
    codes = options.to.split(",")
    for code in codes:
        if code == SOURCE:
            raise InputError(f"--to {code}: the source is English")
        system.check(SOURCE, code)
    if processes.RANK == 0:
        _print_public(tasks, codes)
    run = Run(system, tasks, places, Path(options.data), options.limit)
    with writing(run.out):
        run.translate(codes, options.batch_tokens, options.dry_run)
        if processes.RANK == 0 and not options.dry_run:
            run.write(codes)


def _task(name: str) -> Task:
    if name not in TASKS:
        raise InputError(f"--tasks {name}: no such task; {nearest(name, TASKS)}")
    if TASKS[name].language != SOURCE:
        raise InputError(f"--tasks {name}: only English data are translated")
    if not TASK_TYPES[TASKS[name].kind].translatable:
        kinds = ", ".join(kind for kind, one in TASK_TYPES.items() if one.translatable)
        raise InputError(f"--tasks {name}: only types {kinds} are translated; others, as tags, label single words")
    return TASKS[name]


def _print_public(tasks: Sequence[Task], codes: Sequence[str]) -> None:
    """Names the data in these languages that need no translation."""
    for name in (name for task in tasks for name in (task.name, f"{task.name}_xtreme") if name in TASKS):
        found = {code: DATASETS[TASKS[name].others[code][0]] for code in codes if code in TASKS[name].others}
        for code, dataset in found.items():
            entry = json.dumps({"task": name, "language": code})
            print(f"public already, instead of a new translation: {entry}: {dataset.rows} rows, {dataset.translated}")


class Run:
    """The translation of some tasks by one system."""

    def __init__(
        self, system: System, tasks: Sequence[Task], places: Sequence[Folder | None], data: Path, limit: int | None
    ) -> None:
        """Finds the data of all tasks; `InputError` if some are nowhere."""
        self.system, self.tasks, self.out, self._limit = system, tasks, data / "translated", limit
        lock = SourcesLock(data)
        self._located: dict[str, Located] = {
            dataset: locate_training(DATASETS[dataset], places, lock) for task in tasks for dataset in task.datasets
        }

    def cache(self, code: str) -> Cache:
        """The translations into a language."""
        name = self.system.name.replace("/", "--")
        return Cache(self.out / "cache" / name / self.system.revision / f"{SOURCE}-{code}")

    def translate(self, codes: Sequence[str], batch_tokens: int, dry_run: bool = False) -> None:
        """Translates every sentence of the tasks that is not in the cache, and prints first how long that takes.

        dry_run: only the two batches by which it is estimated.
        """
        sentences = self._sentences()
        caches = {code: self.cache(code) for code in codes}
        own = [text for text in sentences if int(key_of(text), 16) % processes.COUNT == processes.RANK]
        todo = {code: [text for text in own if text not in cache] for code, cache in caches.items()}
        if processes.RANK == 0:
            print(f"{self.system.name} {self.system.revision}, licence of what it translates: {self.system.licence}")
            lines = [["to", "sentences", "translated", "to do"]]
            for code, cache in caches.items():
                done = sum(text in cache for text in sentences)
                lines.append([code, f"{len(sentences):,}", f"{done:,}", f"{len(sentences) - done:,}"])
            print(table(lines, right=range(1, 4)), flush=True)
        texts = sorted({text for group in todo.values() for text in group})
        lengths = {text: self.system.length(text) for text in texts}
        total = sum(lengths[text] for group in todo.values() for text in group)
        largest = max(todo, key=lambda code: len(todo[code]))
        with tqdm(total=total, unit=" tokens", desc="translating", disable=dry_run or processes.RANK > 0) as bar:
            if processes.RANK == 0 and todo[largest]:
                batches = batched(todo[largest], lengths, batch_tokens)
                speed = self._speed(batches, largest, lengths, caches[largest], bar)
                each = f" for each of {processes.COUNT} processes" if processes.COUNT > 1 else ""
                hours = total / speed / 3600
                bar.write(f"{total:,} source tokens{each}: about {hours:.2g} hours at {speed:,.0f} tokens/s")
            for code in () if dry_run else codes:
                cache = caches[code]
                batches = batched([text for text in todo[code] if text not in cache], lengths, batch_tokens)
                # In any order but that of lengths, so that the time that the bar expects is right from the start.
                random.Random(0).shuffle(batches)
                cache.add(self._translated(batches, code, lengths, bar))
        processes.wait()

    def _speed(
        self, batches: Sequence[list[str]], code: str, lengths: dict[str, int], cache: Cache, bar: "tqdm[Any]"
    ) -> float:
        """Source tokens per second of the second of two batches of middling length, whose translations are kept."""
        speed = 0.0
        for batch in batches[len(batches) // 2 - 1 :][:2]:
            began = time.perf_counter()
            cache.add(self._translated([batch], code, lengths, bar))
            speed = sum(lengths[text] for text in batch) / (time.perf_counter() - began)
        return speed

    def _sentences(self) -> list[str]:
        """Every sentence of the tasks, once."""
        seen: dict[str, str] = {}
        texts = Texts(SOURCE, lambda text: seen.setdefault(text, text))
        for task in self.tasks:
            for split in SPLITS:
                for example in self._examples(task, split, Counter()):
                    with suppress(LeftOut):
                        TASK_TYPES[task.kind].translated(example, task.labels or (), texts)
        return list(seen)

    def _examples(self, task: Task, split: str, dropped: Counter[str]) -> Iterator[Example]:
        for dataset in task.datasets:
            job = Preparation(dataset, task.kind, task.labels, SOURCE, 0)
            yield from islice(read_examples(job, self._located[dataset], split, dropped), self._limit)

    def _translated(
        self, batches: Sequence[list[str]], code: str, lengths: dict[str, int], bar: "tqdm[Any]"
    ) -> Iterator[dict[str, str | None]]:
        """The translations, batch by batch."""
        for batch in batches:
            yield dict(zip(batch, self.system.translate(batch, SOURCE, code), strict=True))
            bar.update(sum(lengths[text] for text in batch))

    def write(self, codes: Sequence[str]) -> None:
        """Writes the rows of every task in every language, and prints how many were left out and why."""
        lines = [["task", "to", "split", "rows", "of", "left out"]]
        system = {key: getattr(self.system, key) for key in ("name", "revision", "licence")}
        for code in codes:
            texts = Texts(code, partial(_checked, self.cache(code), code))
            for task in self.tasks:
                folder = self.out / task.name / code
                folder.mkdir(parents=True, exist_ok=True)
                (folder / TRANSLATION_FILE).unlink(missing_ok=True)
                splits = {split: self._write(task, split, folder, texts) for split in SPLITS}
                for split, info in splits.items():
                    reasons = "; ".join(f"{n:,} {reason}" for reason, n in info["left_out"].items())
                    lines.append([task.name, code, split, f"{info['rows']:,}", f"{info['of']:,}", reasons])
                about = {"licence": self._licence(task, code), "system": system, "from": SOURCE, "to": code, **splits}
                files.write_json(folder / TRANSLATION_FILE, about)
        print(table(lines, right=(3, 4)))
        print(f"{self.out}/TASK/LANGUAGE/: train.jsonl, dev.jsonl, {TRANSLATION_FILE}")

    def _write(self, task: Task, split: str, folder: Path, texts: Texts) -> dict[str, Any]:
        """Writes one split; returns what the manifest says of it."""
        left_out: Counter[str] = Counter()
        rows = 0
        unfinished = folder / f".{split}.jsonl"
        with unfinished.open("w", encoding="utf-8") as file:
            for example in self._examples(task, split, left_out):
                try:
                    row = TASK_TYPES[task.kind].translated(example, task.labels or (), texts)
                except LeftOut as reason:
                    left_out[str(reason)] += 1
                    continue
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                rows += 1
        files.fsync(unfinished)
        unfinished.replace(folder / f"{split}.jsonl")
        return {"rows": rows, "of": rows + left_out.total(), "left_out": dict(left_out.most_common())}

    def _licence(self, task: Task, code: str) -> str:
        """Of the data and of the system, which the model card of whatever is trained on them repeats."""
        licences = dict.fromkeys(
            licence_of((path for part in (*one.train, *one.dev) for path in part.files), one.licence)
            for one in map(self._located.__getitem__, task.datasets)
        )
        system = self.system
        return f"{'; '.join(licences)}; translated into {code} by {system.name} {system.revision} ({system.licence})"


def _checked(cache: Cache, code: str, text: str) -> str:
    """The translation of a sentence into language `code`; raises `LeftOut` for one that cannot be trusted."""
    found = cache[text]
    if reason := failure(text, found, code):
        raise LeftOut(reason)
    return str(found)


def batched(texts: Sequence[str], lengths: dict[str, int], most: int) -> list[list[str]]:
    """Batches of texts of similar length, of at most `most` tokens with padding, or of one text."""
    batches: list[list[str]] = []
    for text in sorted(texts, key=lambda text: (lengths[text], text)):
        if not batches or (len(batches[-1]) + 1) * lengths[text] > most:
            batches.append([])
        batches[-1].append(text)
    return batches
