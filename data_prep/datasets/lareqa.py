"""LAReQA (Roy et al. 2020): retrieval of answers in XQuAD-R, trained on pairs made of SQuAD 1.1.

A query is a question, a passage the answer's sentence with its paragraph; of several answers the first counts.
XQuAD-R is XQuAD with sentence boundaries; the sha256 were taken of its files at the commit named.
"""

from dataclasses import replace
from functools import partial
from typing import Any

from common import fields
from common.errors import InputError
from data_prep.datasets import squad
from data_prep.datasets.schema import Convert, Dataset, Dropped, Files, Published, Task, no_example, on_github, splits
from data_prep.formats import readers
from data_prep.sentences import sentence_at
from tasks.pair.data import Pair
from tasks.registry import TASK_TYPES

NO_SENTENCE = "the answer begins in no sentence"
SHA256 = {
    "ar": "c52922d3b8ac1ae03ed5ac38647ad59870dca3dda2beefe18ecdc30729acb69d",
    "de": "16fb0f4bf4916154b585a20c24c66074591c9718a1affe764ff4697572328949",
    "el": "163fd43ee785a30eb534ae2061e9eaa766a7ee4e8ffce5e4b422480c150f64b6",
    "en": "7b0954f39297c27a31fef610f0883337dd2907fa8699151dc922afdd0fa12ffe",
    "es": "f8e836b2d91009c4363e04315f7ede363eedbbb49c67dda60de6c4aa782f58de",
    "hi": "ea45ba8ae4513d1533b222bebdc02a90bc319c055d3aeea68584a053d2e92872",
    "ru": "7f4dff853538b9a5fcc28c070b8bb983a5c5d190ac747b8e005a1ada9cab18f1",
    "th": "c3a041864c3a9fb0b4dd91cfdf99cf36b411b3e704c58a303c97bc6dc786cfe4",
    "tr": "f3e8c13002bbce154a4578f535f7533cb70f3da08840e6b62735935baec7bd94",
    "vi": "e35926bf5cc6fc6ecbdfca49467aabeb454f08d152d7818143a906bd31dde995",
    "zh": "80c2cde7b9c2fb134c303cbb52f2ba396ead9eb0014aec43993543d2ba9e93ed",
}


def published(name: str, commit: str, folder: str, sha256: dict[str, str]) -> tuple[Published, ...]:
    """The files of a test set in LAReQA's repository, by language."""
    files = {f"{folder}/{code}.json": digest for code, digest in sha256.items()}
    return on_github(name, "google-research-datasets/lareqa", commit, "", files)


def passage_text(sentence: str, paragraph: str) -> str:
    """Sentence + paragraph with nothing between them and without line breaks, in training and in evaluation alike.

    As in XTREME-R (`third_party/evaluate_retrieval.py` and `third_party/processors/lareqa.py`).
    """
    return (sentence + paragraph).replace("\n", "")


def pair(convert: Convert, sentences: bool, row: fields.RawRow, where: str, labels: fields.Labels) -> Pair:
    """The pair of a row that `convert` makes a `Span` of.

    Without `sentences` the question and its whole paragraph, as in github.com/izhx/nlu-evals.
    """
    span: Any = convert(row, where, labels)
    TASK_TYPES["span"].validate(span, where)
    if not sentences:
        return Pair(span.id, span.question, span.context)
    if not span.answers:
        raise InputError(f"{where}: no answer; expected SQuAD v1.1, in which every question has one")
    sentence = sentence_at(span.context, span.answers[0][1])
    if sentence is None:
        raise Dropped(NO_SENTENCE)
    return Pair(span.id, span.question, passage_text(sentence, span.context))


TRAINING = tuple(
    replace(
        squad.V1,
        name=name,
        kind="pair",
        obtain=f"{squad.V1.obtain} (SQuAD v1.1)",
        hub=(replace(squad.V1.hub[0], convert=partial(pair, squad.hub_squad, sentences)),),
        files=(replace(squad.V1.files[0], convert=partial(pair, squad.upstream_squad, sentences)),),
    )
    for name, sentences in (("lareqa", True), ("lareqa_paragraphs", False))
)
TEST = Dataset(
    "lareqa",
    "answers",
    "CC BY-SA 4.0",
    "https://github.com/google-research-datasets/lareqa",
    "1,190 questions, 13,014 candidates in all",
    files=(Files("xquad-r/{code}.json", readers.squad_paragraphs, no_example, splits(validation="all")),),
    splits=("validation",),
    published=published("lareqa", "9bc8c7fb6dd8d01d72a05a93c2cb96882b0d299c", "xquad-r", SHA256),
    layout="xquad-r/xx.json",
    suites={"xtreme-r": tuple(SHA256)},
)
# Query and passage of 96 and 256 tokens, as in XTREME-R's train_lareqa.sh.
TASKS = tuple(Task(one.name, "pair", "map@20", (one.name,), query_length=96) for one in TRAINING)
