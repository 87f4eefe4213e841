"""TyDiQA's gold passage task (Clark et al. 2020), trained on its English questions, or on those in another language.

The language of a question stands only in its id; without looking there one trains on nine languages. Its official dev
questions are XTREME's test, English ones included, so dev is a tenth of the English training questions, chosen by
their passages (no passage is in both parts).
"""

import hashlib
from dataclasses import replace

from common import fields
from common.languages import TYDIQA_NAMES
from data_prep.datasets import squad
from data_prep.datasets.schema import Dataset, Files, Hub, Task, by_language, in_languages, splits
from data_prep.formats import readers
from tasks.span.data import Span

SHA256 = {
    "tydiqa-goldp-v1.1-train.json": "cefc8e09ff2548d9b10a678d3a6bbbe5bc036be543f92418819ea676c97be23b",
    "tydiqa-goldp-v1.1-dev.json": "b286e0f34bc7f52259359989716f369b160565bd12ad8f3a3e311f9b0dbad1c0",
}
DEV_SHARE = 10  # one passage in so many is dev


def by_passage(row: fields.RawRow, split: str, language: str) -> bool:
    """Whether a question of a training file is in `split` ("train" or "dev"), by its passage."""
    context = str(row.get("context", "")).strip()
    is_dev = hashlib.sha256(context.encode("utf-8", "replace")).digest()[0] % DEV_SHARE == 0
    return split == "validation" or is_dev == (split == "dev")


def of_language(row: fields.RawRow, split: str, language: str) -> bool:
    """The same of a file of all nine languages."""
    of = str(row.get("id", "")).startswith(f"{TYDIQA_NAMES.get(language, language)}-")
    return of and by_passage(row, split, language)


def goldp(row: fields.RawRow, where: str, labels: fields.Labels) -> Span:
    """A question of XTREME's training file. Its ids were cut down and occur many times; the position is added."""
    span = squad.upstream_squad(row, where, labels)
    return Span(f"{span.id}@{where.rpartition(': ')[2]}", span.question, span.context, span.answers)


TRAIN, DEV = splits("train", "train"), splits(validation="dev")
UPSTREAM = Files("tydiqa-goldp-v1.1-{split}.json", readers.squad_json, squad.upstream_squad, DEV, "answers")
ENGLISH = Dataset(
    "tydiqa",
    "span",
    "Apache-2.0",
    "https://github.com/google-research-datasets/tydiqa (GoldP)",
    "3,696 in all",
    (
        Hub(
            "google-research-datasets/tydiqa",
            "secondary_task",
            squad.COLUMNS,
            squad.stripped_squad,
            "da78f23f9119363459acbaf46bf89426ff26c259",
            splits("train", "train", "validation"),
            "answers",
            select=of_language,
        ),
    ),
    (
        replace(UPSTREAM, splits=splits("train", "train", "dev"), select=of_language, sha256=SHA256),
        replace(UPSTREAM, path="tydiqa-goldp-{split}-{tydi}.json"),
        replace(UPSTREAM, path="tydiqa.goldp.{code}.{split}.json"),
        Files("tydiqa.goldp.{code}.{split}.json", readers.squad_json, goldp, TRAIN, select=by_passage),
    ),
)
TEST = replace(
    ENGLISH,
    obtain="https://github.com/google-research-datasets/tydiqa",
    rows="323 to 2,719 questions",
    splits=("validation",),
    layout="tydiqa-goldp-v1.1-dev.json; tydiqa-goldp-dev-LANGUAGE.json; XTREME's tydiqa.goldp.xx.dev.json",
    suites={"xtreme": tuple(TYDIQA_NAMES), "xtreme-r": tuple(TYDIQA_NAMES)},
)
TRAINING = (ENGLISH, *in_languages(ENGLISH, TYDIQA_NAMES))
TASKS = Task("tydiqa", "span", "squad", ("tydiqa",), others=by_language(TRAINING[1:]))
