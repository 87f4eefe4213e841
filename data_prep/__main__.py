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

from common.errors import InputError


def main(arguments: list[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if arguments[:1] == ["list"]:
            _list(arguments[1:])
        elif arguments[:1] == ["translate"]:
            from data_prep.translation.command import main as translate

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
    parser = argparse.ArgumentParser(prog="python -m data_prep", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--config", required=True, help="a run config: a path, or a name in configs/")
    parser.add_argument(
        "--source", action="append", help="`hub` or a folder; given again: where to look next (default: hub)"
    )
    parser.add_argument("--out", help="where the prepared folders go (default: the config's `data`)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="worker processes (default: all cores)")
    parser.add_argument(
        "--against", default="", metavar="TARGET[,TARGET...]",
        help="test sets, read from the same sources, whose rows are left out of the training data",
    )  # fmt: skip
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="overrides a config field")
    options = parser.parse_args(arguments)
    if options.jobs < 1:
        raise InputError(f"--jobs {options.jobs}: expected 1 or more")
    against = [name for name in options.against.split(",") if name]
    run(options.config, options.set, options.source or ["hub"], options.out, options.jobs, against)


def _list(arguments: list[str]) -> None:
    from data_prep.listing import render
    from data_prep.sources.folders import Folder

    parser = argparse.ArgumentParser(prog="python -m data_prep list", description="All data sets, and which are here.")
    parser.add_argument("--data", default="data", help="the folder of prepared and downloaded data (default: data)")
    parser.add_argument("--source", action="append", default=[], help="a folder with data sets; may be given again")
    options = parser.parse_args(arguments)
    print(render(Path(options.data), [Folder.open(Path(s)) for s in options.source if s != "hub"]))


def run(
    config_name: str, overrides: list[str], sources: list[str], out: str | None, jobs: int, against: list[str]
) -> None:
    """Prepares all datasets of the config and prints the table; `InputError` for whatever is wrong."""
    from common.run_config import RandomEncoder
    from common.table import table
    from data_prep.datasets import DATASETS
    from data_prep.encoding.tokenizer import check_encoder
    from data_prep.overlap import HeldOutRows
    from data_prep.prepare import prepare
    from data_prep.run_tasks import load
    from data_prep.sources.folders import Folder
    from data_prep.sources.locate import Located, locate_training, own
    from data_prep.sources.sources_lock import Lock
    from data_prep.workers import Encoder, Job

    config, tasks = load(config_name, overrides)
    wanted: dict[Job, tuple[str | None, str | None]] = {}
    files: dict[str, tuple[str | None, str | None]] = {}
    for index, task in enumerate(tasks):
        for dataset in task.datasets:
            if files.setdefault(dataset, task.files_of(dataset)) != task.files_of(dataset):
                raise InputError(
                    f"tasks: dataset {dataset} is to be read from two places; give the files in every task with it"
                )
            codes = dict(zip(task.datasets, task.codes, strict=False))
            language = DATASETS[dataset].language if dataset in DATASETS else codes.get(dataset, task.language)
            job = Job(dataset, task.kind, task.labels, language, config.length_of(index), task.query_length)
            wanted[job] = files[dataset]

    # All inputs are looked for before hours of work start.
    if not isinstance(config.encoder, RandomEncoder):
        check_encoder(config.encoder)
    lock = Lock(Path(out or config.data))
    places = [None if source == "hub" else Folder.open(Path(source)) for source in sources]
    located: dict[Job, Located] = {}
    for job, (train, dev) in wanted.items():
        if train is not None and dev is not None:
            located[job] = own(job.kind, train, dev, job.dataset)
        else:
            located[job] = locate_training(DATASETS[job.dataset], places, lock)

    tests = HeldOutRows.read(against, places, lock) if against else None
    name = config.encoder.tokenizer if isinstance(config.encoder, RandomEncoder) else config.encoder
    lines = [["dataset", "length", "train", "dev", "tokens", "mean", "dropped", "cut", "folder", ""]]
    remarks = []
    with Encoder(name, jobs) as encoder:
        for job in wanted:
            prepared, built = prepare(job, located[job], Path(out or config.data), encoder, tests)
            train_split, dev_split = prepared.manifest["splits"]["train"], prepared.manifest["splits"]["dev"]
            for name in prepared.manifest["source"]["differs"]:
                remarks.append(f"{job.dataset}: {name} is not the published file (another sha256)")
            if located[job].remark:
                remarks.append(f"{job.dataset}: {located[job].remark}")
            remarks += _remarks(job.dataset, prepared.manifest["splits"])
            lines.append([
                job.dataset, str(job.max_length), f"{train_split['rows']:,}", f"{dev_split['rows']:,}",
                f"{train_split['tokens']:,}", f"{train_split['tokens'] / train_split['rows']:.1f}",
                f"{_sum(train_split['dropped'], dev_split['dropped']):,}",
                f"{_sum(train_split['truncated'], dev_split['truncated']):,}",
                str(prepared.path), "built" if built else "reused",
            ])  # fmt: skip
    print(table(lines, right=range(1, 8)))
    print("train, dev: rows; tokens, mean: of the training rows; dropped, cut: examples of both splits")
    for remark in dict.fromkeys(remarks):
        print(remark)


def _remarks(dataset: str, splits: dict[str, Any]) -> list[str]:
    """What was left out or cut, by reason, one line a split."""
    remarks = []
    for split, info in splits.items():
        found = [f"{n:,} dropped: {reason}" for reason, n in info["dropped"].items()]
        found += [f"{n:,} cut: {reason}" for reason, n in info["truncated"].items()]
        if info["unknown_labels"]:
            found.append(f"{info['unknown_labels']:,} words with a tag that the training split lacks (label -1)")
        if found:
            remarks.append(f"{dataset} {split}: {'; '.join(found)}")
    return remarks


def _sum(*counts: dict[str, int]) -> int:
    return sum(sum(count.values()) for count in counts)


if __name__ == "__main__":
    sys.exit(main())
