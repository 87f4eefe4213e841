"""Where each dataset comes from: Hub id and columns, upstream files, licence, how to get it.

A *task* (`mtl/tasks.py`) names one or more of these datasets. `locate` finds the files of one of them: on the Hub,
in a local folder in the Hub's layout (`DIR/<namespace>/<name>/<config>/<split>-*.parquet`, also below `DIR/hub`), or
as the files that its makers publish, anywhere below `DIR`. Test splits are never read: their labels are withheld or
would be spoilt by training on them.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from data_prep import convert, readers
from data_prep.convert import Convert
from data_prep.errors import InputError
from data_prep.folders import Folder
from data_prep.hub import load_split, shards, split_rows
from data_prep.readers import Reader, Rows

OPEN_CONFIG = "configs/mtl_open.json"


@dataclass(frozen=True, slots=True)
class Hub:
    """A dataset of the Hugging Face Hub: the columns named are read, the splits in this order."""

    id: str
    config: str
    train: tuple[str, ...]
    dev: tuple[str, ...]
    columns: tuple[str, ...]
    convert: Convert


@dataclass(frozen=True, slots=True)
class Upstream:
    """Files as their makers publish them: path ends, found anywhere below the folder that the user names.

    A name starting with `*` matches any file name with this end; `within` is the beginning of the name of a folder
    that must be on the way (for names as plain as train.csv).
    """

    train: tuple[str, ...]
    dev: tuple[str, ...]
    read: Reader
    convert: Convert
    within: str = ""


@dataclass(frozen=True, slots=True)
class Dataset:
    """One dataset. `hub` is None where the Hub has no copy; `obtain` says where the upstream files are to be had."""

    name: str
    kind: str
    licence: str
    obtain: str
    hub: Hub | None
    upstream: tuple[Upstream, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """Something to read: a file, or a split of a Hub dataset. `files` are what its sha256 is taken of."""

    name: str
    rows: Callable[[], Rows]
    convert: Convert
    files: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Located:
    """The parts of the two splits, in reading order, and in words where they come from."""

    train: list[Part]
    dev: list[Part]
    origin: str
    licence: str
    known: bool  # a public dataset: empty texts are dropped and counted; in a user's own file they are errors
    remark: str = ""  # what the user should know about this copy


NLI_COLUMNS = ("premise", "hypothesis", "label")
SQUAD_COLUMNS = ("id", "question", "context", "answers")
ROUNDS = ("1", "2", "3")

DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            "mnli",
            "classify",
            "OANC and others, see the MultiNLI paper",
            "https://cims.nyu.edu/~sbowman/multinli/",
            Hub("nyu-mll/glue", "mnli", ("train",), ("validation_matched",), NLI_COLUMNS, convert.hub_nli),
            (
                Upstream(
                    ("multinli_1.0_train.jsonl",),
                    ("multinli_1.0_dev_matched.jsonl",),
                    readers.jsonl,
                    convert.upstream_nli,
                ),
                Upstream(("MNLI/train.tsv",), ("MNLI/dev_matched.tsv",), readers.tsv, convert.upstream_nli),
            ),
        ),
        Dataset(
            "snli",
            "classify",
            "CC BY-SA 4.0",
            "https://nlp.stanford.edu/projects/snli/",
            Hub("stanfordnlp/snli", "plain_text", ("train",), ("validation",), NLI_COLUMNS, convert.hub_snli),
            (Upstream(("snli_1.0_train.jsonl",), ("snli_1.0_dev.jsonl",), readers.jsonl, convert.upstream_nli),),
        ),
        Dataset(
            "anli",
            "classify",
            "CC BY-NC 4.0",
            "https://github.com/facebookresearch/anli",
            Hub(
                "facebook/anli",
                "plain_text",
                tuple(f"train_r{r}" for r in ROUNDS),
                tuple(f"dev_r{r}" for r in ROUNDS),
                ("uid", *NLI_COLUMNS),
                convert.hub_nli,
            ),
            (
                Upstream(
                    tuple(f"R{r}/train.jsonl" for r in ROUNDS),
                    tuple(f"R{r}/dev.jsonl" for r in ROUNDS),
                    readers.jsonl,
                    convert.upstream_anli,
                ),
            ),
        ),
        Dataset(
            "qqp",
            "classify",
            "Quora terms, non-commercial",
            "https://gluebenchmark.com/tasks (QQP-clean.zip)",
            Hub(
                "nyu-mll/glue", "qqp", ("train",), ("validation",), ("question1", "question2", "label"), convert.hub_qqp
            ),
            (Upstream(("QQP/train.tsv",), ("QQP/dev.tsv",), readers.tsv, convert.glue_qqp),),
        ),
        Dataset(
            "squad_v1",
            "span",
            "CC BY-SA 4.0",
            "https://rajpurkar.github.io/SQuAD-explorer/",
            Hub("rajpurkar/squad", "plain_text", ("train",), ("validation",), SQUAD_COLUMNS, convert.hub_squad),
            (Upstream(("train-v1.1.json",), ("dev-v1.1.json",), readers.squad_json, convert.upstream_squad),),
        ),
        Dataset(
            "squad_v2",
            "span",
            "CC BY-SA 4.0",
            "https://rajpurkar.github.io/SQuAD-explorer/",
            Hub("rajpurkar/squad_v2", "squad_v2", ("train",), ("validation",), SQUAD_COLUMNS, convert.hub_squad),
            (Upstream(("train-v2.0.json",), ("dev-v2.0.json",), readers.squad_json, convert.upstream_squad),),
        ),
        Dataset(
            "hellaswag",
            "choice",
            "MIT",
            "https://github.com/rowanz/hellaswag",
            Hub(
                "Rowan/hellaswag",
                "default",
                ("train",),
                ("validation",),
                ("ind", "ctx_a", "ctx_b", "endings", "label"),
                convert.hellaswag,
            ),
            (Upstream(("hellaswag_train.jsonl",), ("hellaswag_val.jsonl",), readers.jsonl, convert.hellaswag),),
        ),
        Dataset(
            "ccg",
            "tag",
            "that of the files given; CCGbank: LDC User Agreement (LDC2005T13)",
            "https://catalog.ldc.upenn.edu/LDC2005T13",
            None,
            (Upstream(("*.train.tsv",), ("*.dev.tsv",), readers.words_tags, convert.tag, within="ccg"),),
        ),
        Dataset(
            "cosmosqa",
            "choice",
            "CC BY 4.0",
            "https://github.com/wilburOne/cosmosqa",
            Hub(
                "allenai/cosmos_qa",
                "default",
                ("train",),
                ("validation",),
                ("id", "context", "question", "answer0", "answer1", "answer2", "answer3", "label"),
                convert.cosmosqa,
            ),
            (Upstream(("train.csv",), ("valid.csv",), readers.csv_quoted, convert.cosmosqa, within="cosmos"),),
        ),
        Dataset(
            "commonsenseqa",
            "choice",
            "MIT",
            "https://www.tau-nlp.org/commonsenseqa",
            Hub(
                "tau/commonsense_qa",
                "default",
                ("train",),
                ("validation",),
                ("id", "question", "choices", "answerKey"),
                convert.hub_commonsenseqa,
            ),
            (
                Upstream(
                    ("train_rand_split.jsonl",),
                    ("dev_rand_split.jsonl",),
                    readers.jsonl,
                    convert.upstream_commonsenseqa,
                ),
            ),
        ),
    )
}

# File name -> sha256 as published (SQuAD, HellaSwag, CosmosQA); another one is not an error, but the user is told.
PUBLISHED = {
    "train-v1.1.json": "3527663986b8295af4f7fcdff1ba1ff3f72d07d61a20f487cb238a6ef92fd955",
    "dev-v1.1.json": "95aa6a52d5d6a735563366753ca50492a658031da74f301ac5238b03966972c9",
    "train-v2.0.json": "68dcfbb971bd3e96d5b46c7177b16c1a4e7d4bdef19fb204502738552dede002",
    "dev-v2.0.json": "80a5225e94905956a6446d296ca1093975c4d3b3260f1d6c8f68bc2ab77182d8",
    "hellaswag_train.jsonl": "dae5e69249868cb9fe4e23ff925c60b66169564cfb7072d793cd7356a2b69f8d",
    "hellaswag_val.jsonl": "0aa3b88843990f3f10a97b9575c94d7b71fb2205240ba04ae4884d9e9c992588",
    "train.csv": "d8d5ca1f9f6534b6530550718591af89372d976a8fc419360fab4158dee4d0b2",
}

# CCGbank's split (Hockenmaier and Steedman 2007): sections 02-21 to train, 00 to develop, 23 to test.
CCGBANK_TRAIN = tuple(f"{section:02d}" for section in range(2, 22))
CCGBANK_DEV = ("00",)


def locate(dataset: Dataset, sources: Sequence[Folder | None]) -> Located:
    """The parts of `dataset` in the first of `sources` that has it; None stands for the Hub.

    Raises `InputError` if none has it (what was looked for, and where to get it), if a copy is incomplete, if a file
    is ambiguous, or if the Hub cannot be reached.
    """
    looked: list[str] = []
    for source in sources:
        if source is not None:
            found = _from_folder(dataset, source, looked)
        elif dataset.hub is not None:
            found = _from_hub(dataset, dataset.hub)
        else:
            looked.append("hub: has no copy")
            found = None
        if found is not None:
            return found
    raise InputError(_missing(dataset, looked))


def _from_folder(dataset: Dataset, folder: Folder, looked: list[str]) -> Located | None:
    names: list[str] = []
    if dataset.hub is not None:
        for base in (folder.path, folder.path / "hub"):
            found = _hub_layout(dataset, dataset.hub, base)
            if found is not None:
                return found
        splits = ",".join(dataset.hub.train + dataset.hub.dev)
        names.append(f"{dataset.hub.id}/{dataset.hub.config}/{{{splits}}}-*.parquet")
    for upstream in dataset.upstream:
        ends = upstream.train + upstream.dev
        files = folder.find(ends, upstream.within, dataset.name)
        if files is not None:
            parts = [_file_part(folder.path, path, upstream.read, upstream.convert) for path in files]
            split = len(upstream.train)
            origin = f"upstream files in {folder.path.name}/"
            return Located(parts[:split], parts[split:], origin, dataset.licence, True)
        names.append(", ".join(f"{upstream.within}*/.../{end}" if upstream.within else end for end in ends))
    if dataset.name == "ccg":
        sections = folder.ccgbank()
        if sections:
            return _ccgbank(dataset, folder.path, sections)
        names.append("AUTO/NN/*.auto")
    looked.append(f"below {folder.path}: {'; '.join(names)}")
    return None


def _from_hub(dataset: Dataset, hub: Hub) -> Located:
    splits: list[list[Part]] = []
    revision: str | None = None
    for names in (hub.train, hub.dev):
        parts = []
        for name in names:
            place = f"{hub.id}/{hub.config}/{name}"
            data, revision = load_split(hub.id, hub.config, name, revision)
            readers.check_columns(f"Hub: {place}", hub.columns, data.column_names)
            read = partial(split_rows, data, place, hub.columns)
            parts.append(Part(place, read, hub.convert, tuple(Path(file["filename"]) for file in data.cache_files)))
        splits.append(parts)
    origin = f"Hub: {hub.id}, {hub.config}" + (f" ({revision})" if revision else "")
    return Located(splits[0], splits[1], origin, dataset.licence, True)


def _hub_layout(dataset: Dataset, hub: Hub, base: Path) -> Located | None:
    folder = base / hub.id / hub.config
    if not folder.is_dir():
        return None
    splits: list[list[Part]] = []
    for names in (hub.train, hub.dev):
        parts = []
        for name in names:
            paths = shards(folder, name, dataset.name)
            if not paths:
                raise InputError(f"dataset {dataset.name}: {folder} is there, but no {name}-*.parquet in it")
            for shard in paths:
                read = partial(readers.parquet, columns=hub.columns)
                parts.append(_file_part(base, shard, read, hub.convert))
        splits.append(parts)
    return Located(splits[0], splits[1], f"Hub layout: {hub.id}, {hub.config}", dataset.licence, True)


def _ccgbank(dataset: Dataset, base: Path, sections: dict[str, list[Path]]) -> Located:
    splits = []
    absent: list[str] = []
    for wanted in (CCGBANK_TRAIN, CCGBANK_DEV):
        missing = [section for section in wanted if section not in sections]
        if len(missing) == len(wanted):
            raise InputError(
                f"dataset ccg: CCGbank .auto files below {base}, but none in sections {wanted[0]} to {wanted[-1]}"
                " (02-21 are training, 00 is dev); for another split write two-column files ccg/NAME.train.tsv"
                " and ccg/NAME.dev.tsv"
            )
        absent += missing
        paths = [path for section in wanted for path in sections.get(section, [])]
        splits.append([_file_part(base, path, readers.ccgbank_auto, convert.tag) for path in paths])
    remark = f"CCGbank's sections {', '.join(absent)} are not there" if absent else ""
    return Located(splits[0], splits[1], "CCGbank, sections 02-21 and 00", dataset.licence, True, remark)


def own(kind: str, train: str, dev: str, name: str) -> Located:
    """A user's own files, named in the run config: JSONL in the canonical fields of `kind` (`convert.py`).

    Another suffix than .jsonl means plain text, a line each (mlm), or words<TAB>tags (tag).
    """
    splits = []
    for file in (train, dev):
        path = Path(file)
        if not os.path.isfile(path):  # unlike Path.is_file, False also for a name that is too long
            raise InputError(f"task {name}: {file}: no such file (paths in a config are relative to where you start)")
        read: Reader = readers.jsonl
        if path.suffix not in (".jsonl", ".json"):
            if kind not in ("mlm", "tag"):
                raise InputError(f"task {name}: {file}: expected a .jsonl file, one JSON object a line")
            read = readers.text if kind == "mlm" else readers.words_tags
        splits.append([Part(file, partial(read, path), _OWN[kind], (path,))])
    return Located(splits[0], splits[1], f"{train}, {dev}", "the user's own", False)


_OWN: dict[str, Convert] = {
    "classify": convert.own_classify,
    "span": convert.own_span,
    "choice": convert.own_choice,
    "tag": convert.tag,
    "mlm": convert.own_text,
}


def _file_part(base: Path, path: Path, read: Reader, make: Convert) -> Part:
    name = path.relative_to(base).as_posix() if path.is_relative_to(base) else path.as_posix()
    return Part(name, partial(read, path), make, (path,))


def _missing(dataset: Dataset, looked: list[str]) -> str:
    where = f"not found (looked for: {' | '.join(looked)})"
    if dataset.name == "ccg":
        return (
            f"dataset ccg: {where}. CCGbank is LDC2005T13, under a paid licence, {dataset.obtain};"
            " add --source DIR with DIR/.../ccg/NAME.train.tsv and NAME.dev.tsv (words<TAB>tags, one sentence a line)"
            " or CCGbank's own .../AUTO/NN/*.auto, or give `train` and `dev` in the config;"
            f" {OPEN_CONFIG} runs without it"
        )
    hub = f", or give --source hub ({dataset.hub.id})" if dataset.hub else ""
    return f"dataset {dataset.name}: {where}. Get it from {dataset.obtain}{hub}"
