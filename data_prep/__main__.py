"""Prepares every dataset that a run config names.

    python -m data_prep --config mtl_all.json [--source hub|DIR ...] [--out data] [--jobs N] [--set key.path=value ...]
        [--against xquad,tydiqa]                                   without the rows of these tests
    python -m data_prep list [--data data] [--source DIR ...]      what there is, and whether it is here
    python -m data_prep translate --tasks mnli --to de,sw --model M [--source ...]    machine-translated training data

--source may be given several times, each dataset is taken from the first that has it: `--source hub --source DIR` for
all from the Hub and CCG, which has a licence, from DIR. Each (dataset, length) is prepared once, into
data/NAME/FINGERPRINT/, and reused as long as input, tokenizer and encoding are the same. Prints a table at the end;
progress goes to stderr. Exit code 2 with one line for wrong input.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from common.command_line import positive
from common.errors import InputError
from common.table import table
from data_prep.datasets import DATASETS
from data_prep.encoding.tokenizer import check_encoder
from data_prep.listing import render
from data_prep.overlap import HeldOutRows
from data_prep.prepare import prepare
from data_prep.run_tasks import load
from data_prep.sources.folders import Folder
from data_prep.sources.locate import Located, locate_training, own
from data_prep.sources.sources_lock import SourcesLock
from data_prep.storage.store import Preparation
from data_prep.translation.command import main as translate
from data_prep.workers import TokenizerPool

_LOST = {"dropped": "dropped", "truncated": "cut"}  # in a manifest -> in the remarks


def main(arguments: list[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if arguments[:1] == ["list"]:
            _list(arguments[1:])
        elif arguments[:1] == ["translate"]:
            translate(arguments[1:])
        else:
            _prepare(arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; what was finished stays, the rest was removed", file=sys.stderr)
        return 130
    return 0


def _prepare(arguments: list[str]) -> None:
    """Prepares all datasets of the config and prints the table; `InputError` for whatever is wrong."""
    parser = argparse.ArgumentParser(prog="python -m data_prep", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--config", required=True, help="a run config: a path, or a name in configs/")
    parser.add_argument(
        "--source", action="append", help="`hub` or a folder; repeat: where to look next (default: hub)"
    )
    parser.add_argument("--out", help="where the prepared folders go (default: the config's `data`)")
    parser.add_argument("--jobs", type=positive, default=os.cpu_count() or 1, help="worker processes (default: cores)")
    parser.add_argument(
        "--against", default="", metavar="TARGET[,TARGET...]",
        help="test sets, read from the same sources, whose rows are left out of the training data",
    )  # fmt: skip
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="overrides a config field")
    options = parser.parse_args(arguments)
    config, tasks = load(options.config, options.set)
    out = Path(options.out or config.data)
    lock = SourcesLock(out)
    places = [None if source == "hub" else Folder.open(Path(source)) for source in options.source or ["hub"]]
    if isinstance(config.encoder, str):
        check_encoder(config.encoder)

    # All inputs are looked for before hours of work start.
    files: dict[str, tuple[str, str] | None] = {}
    located: dict[Preparation, Located] = {}
    for index, task in enumerate(tasks):
        codes = dict(zip(task.datasets, task.codes, strict=False))
        for dataset in task.datasets:
            paths = task.files.get(dataset)
            if files.setdefault(dataset, paths) != paths:
                raise InputError(f"tasks: {dataset} is to be read from two places; give its files in each task")
            language = DATASETS[dataset].language if dataset in DATASETS else codes.get(dataset, task.language)
            job = Preparation(dataset, task.kind, task.labels, language, config.length_of(index), task.query_length)
            if paths is not None:
                located[job] = own(job.kind, *paths, dataset)
            elif job not in located:
                located[job] = locate_training(DATASETS[dataset], places, lock)
    against = [name for name in options.against.split(",") if name]
    tests = HeldOutRows.read(against, places, lock) if against else None

    lines = [["dataset", "length", "train", "dev", "tokens", "mean", "dropped", "cut", "folder", ""]]
    remarks = []
    with TokenizerPool(config.tokenizer, options.jobs) as pool:
        for job, found in located.items():
            prepared, built = prepare(job, found, out, pool, tests)
            splits = prepared.manifest["splits"]
            train = splits["train"]
            for name in prepared.manifest["source"]["differs"]:
                remarks.append(f"{job.dataset}: {name} is not the published file (another sha256)")
            if found.remark:
                remarks.append(f"{job.dataset}: {found.remark}")
            remarks += _remarks(job.dataset, splits)
            dropped, cut = (sum(n for one in splits.values() for n in one[key].values()) for key in _LOST)
            lines.append([
                job.dataset, str(job.max_length), f"{train['rows']:,}", f"{splits['dev']['rows']:,}",
                f"{train['tokens']:,}", f"{train['tokens'] / train['rows']:.1f}", f"{dropped:,}", f"{cut:,}",
                str(prepared.path), "built" if built else "reused",
            ])  # fmt: skip
    print(table(lines, right=range(1, 8)))
    print("train, dev: rows; tokens, mean: of the training rows; dropped, cut: examples of both splits")
    for remark in dict.fromkeys(remarks):
        print(remark)


def _list(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m data_prep list", description="All data sets, and which are here.")
    parser.add_argument("--data", default="data", help="the folder of prepared and downloaded data (default: data)")
    parser.add_argument("--source", action="append", default=[], help="a folder with data sets; may be given again")
    options = parser.parse_args(arguments)
    print(render(Path(options.data), [Folder.open(Path(s)) for s in options.source if s != "hub"]))


def _remarks(dataset: str, splits: dict[str, Any]) -> list[str]:
    """What was left out or cut, by reason, one line a split."""
    remarks = []
    for split, info in splits.items():
        found = [f"{n:,} {word}: {reason}" for key, word in _LOST.items() for reason, n in info[key].items()]
        if info["unknown_labels"]:
            found.append(f"{info['unknown_labels']:,} words with a tag that the training split lacks (label -1)")
        if found:
            remarks.append(f"{dataset} {split}: {'; '.join(found)}")
    return remarks


if __name__ == "__main__":
    sys.exit(main())
