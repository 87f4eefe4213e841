"""The test data of XTREME's and XTREME-R's twelve targets: where they lie on the Hub and in which files.

`eval/read.py` reads what stands here, `python -m data_prep list` shows it. In the names of configurations and files
{code} is a language's ISO 639-1 code, {iso3} its ISO 639-3 code, {ud} and {tydi} its English name as two of the data
sets write it, {context} and {question} the two languages of an MLQA pair, {split} the split as the file names say it.
Splits are called as on the Hub.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from common.labels import NER, NLI, PAWSX, UPOS
from common.languages import ISO3, LANGUAGES, TYDIQA_NAMES, UD_NAMES
from data_prep import convert, convert_targets
from data_prep.convert import Convert
from data_prep.datasets.published_files import BUCC, LAREQA
from data_prep.datasets.schema import Published
from data_prep.formats import readers, tagged
from data_prep.formats.readers import Reader

Keep = Callable[[dict[str, Any], str], bool]


@dataclass(frozen=True, slots=True)
class HubTest:
    """A dataset of the Hub: its columns, and how a row of them becomes an example.

    `label` is the column that is empty or -1 in a copy without labels. `codes`: the languages it has (): all of the
    target. `keep` says whether a row is of a language, where one configuration holds several. `unconfirmed`: no public
    record of its columns was found; where it cannot be read its languages are missing, and that is no error.
    `differs`: how its rows differ from those of the official test file, so that no submission can be made of them.
    """

    id: str
    config: str
    columns: tuple[str, ...]
    label: str
    convert: Convert | None
    codes: tuple[str, ...] = ()
    keep: Keep | None = None
    unconfirmed: bool = False
    differs: str = ""


@dataclass(frozen=True, slots=True)
class Layout:
    """Files as their makers or XTREME's scripts write them: a path end, below a folder whose name begins `within`.

    `splits`: split -> how the file name says it. With `several`, all files that match belong to the split. `keep` as
    above, for files that hold several languages.
    """

    file: str
    read: Reader
    convert: Convert
    label: str
    splits: dict[str, str]
    within: str = ""
    several: bool = False
    keep: Keep | None = None


@dataclass(frozen=True, slots=True)
class TestSet:
    """The test data of one target.

    kind: what an example is: `classify`, `span`, `choice`, `tag` (`data_prep/examples.py`), `translation`, `mining`,
    `answers`, `entities` (`eval/rows.py`; these have readers of their own and no layouts here).
    splits: in order of preference. rows: rows of one language, in words. files: the makers' files, in words.
    published, hub_files: for the kinds without `hub`, the makers' files to download, or a repository and files in it.
    """

    name: str
    kind: str
    splits: tuple[str, ...]
    rows: str
    licence: str
    obtain: str
    files: str
    labels: tuple[str, ...] | None = None
    hub: tuple[HubTest, ...] = ()
    layouts: tuple[Layout, ...] = ()
    published: tuple[Published, ...] = ()
    hub_files: tuple[str, tuple[str, ...]] | None = None

    @property
    def languages(self) -> tuple[str, ...]:
        """Every language in which one of the suites scores it."""
        return tuple(sorted({code for codes in LANGUAGES[self.name].values() for code in codes}))


def names(code: str) -> dict[str, str]:
    """What the placeholders stand for; of an MLQA pair CONTEXT-QUESTION, else both languages are `code`."""
    context, _, question = code.partition("-")
    return {
        "code": code,
        "iso3": ISO3.get(code, code),
        "ud": UD_NAMES.get(code, code),
        "tydi": TYDIQA_NAMES.get(code, code),
        "context": context,
        "question": question or context,
    }


def shown(pattern: str) -> str:
    """A name with xx for every placeholder, for people."""
    return re.sub(r"\{[a-z0-9]+\}", "xx", pattern)


def _tydiqa_row(row: dict[str, Any], code: str) -> bool:
    return str(row.get("id", "")).startswith(f"{TYDIQA_NAMES.get(code, code)}-")


def _xnli_row(row: dict[str, Any], code: str) -> bool:
    return row.get("language") == code


_TEST_DEV = {"test": "test", "validation": "dev"}
_TEST_VAL = {"test": "test", "validation": "val"}
_SQUAD = ("id", "question", "context", "answers")
_XNLI_FIELDS = ("premise", "hypothesis", "label")
_PAWSX_FIELDS = ("sentence1", "sentence2", "label")
_COPA_FIELDS = ("premise", "choice1", "choice2", "question", "label", "idx")
# By the loading script from which the Hub's copy was converted: rows of words that have a tag, file by path.
_UNFUSED = "multi-word tokens are in parts and treebanks in another order"

TEST_SETS: dict[str, TestSet] = {
    testset.name: testset
    for testset in (
        TestSet(
            "xnli",
            "classify",
            ("test", "validation"),
            "5,010 (dev 2,490)",
            "CC BY-NC 4.0",
            "https://github.com/facebookresearch/XNLI",
            "XNLI-1.0/xnli.{test,dev}.{tsv,jsonl}; XTREME's xnli/{test,dev}-xx.tsv",
            NLI,
            (HubTest("facebook/xnli", "{code}", _XNLI_FIELDS, "label", convert.hub_nli),),
            (
                Layout(
                    "{split}-{code}.tsv",
                    partial(readers.quoted_tsv, columns=_XNLI_FIELDS),
                    convert_targets.xnli,
                    "label",
                    _TEST_DEV,
                    within="xnli",
                ),
                Layout("xnli.{split}.tsv", readers.tsv, convert_targets.xnli, "gold_label", _TEST_DEV, keep=_xnli_row),
                Layout(
                    "xnli.{split}.jsonl", readers.jsonl, convert_targets.xnli, "gold_label", _TEST_DEV, keep=_xnli_row
                ),
            ),
        ),
        TestSet(
            "pawsx",
            "classify",
            ("test", "validation"),
            "2,000 (dev 2,000)",
            "PAWS licence (any purpose, with acknowledgement)",
            "https://github.com/google-research-datasets/paws/tree/master/pawsx",
            "x-final/xx/{test,dev}_2k.tsv; XTREME's pawsx/{test,dev}-xx.tsv",
            PAWSX,
            (
                HubTest(
                    "google-research-datasets/paws-x",
                    "{code}",
                    ("id", *_PAWSX_FIELDS),
                    "label",
                    convert_targets.pawsx,
                ),
            ),
            (
                Layout(
                    "{split}-{code}.tsv",
                    partial(readers.quoted_tsv, columns=_PAWSX_FIELDS),
                    convert_targets.pawsx,
                    "label",
                    _TEST_DEV,
                    within="pawsx",
                ),
                Layout(
                    "{code}/{split}_2k.tsv", readers.tsv, convert_targets.pawsx, "label", _TEST_DEV, within="x-final"
                ),
            ),
        ),
        TestSet(
            "udpos",
            "tag",
            ("test", "validation"),
            "47 to 20,436 sentences",
            "of each treebank (CC BY-SA 4.0 and others)",
            "https://universaldependencies.org (UD 2.5; 2.7 for lt pl ro uk wo)",
            "xx_*-ud-{test,dev}.conllu; XTREME's udpos/{test,dev}-xx.tsv",
            UPOS,
            (
                HubTest(
                    "google/xtreme",
                    "udpos.{ud}",
                    ("tokens", "pos_tags"),
                    "pos_tags",
                    convert_targets.hub_pos,
                    codes=tuple(UD_NAMES),
                    differs=_UNFUSED,
                ),
                HubTest(
                    "izhx/xtreme-r-udpos",
                    "{code}",
                    ("tokens", "pos_tags"),
                    "pos_tags",
                    convert_targets.hub_pos,
                    codes=("lt", "pl", "ro", "uk", "wo"),
                    unconfirmed=True,
                    differs=_UNFUSED,
                ),
            ),
            (
                Layout(
                    "{split}-{code}.tsv", tagged.word_lines, convert_targets.tagged, "tags", _TEST_DEV, within="udpos"
                ),
                Layout(
                    "{code}_*-ud-{split}.conllu",
                    tagged.conllu,
                    convert_targets.tagged,
                    "tags",
                    _TEST_DEV,
                    several=True,
                ),
            ),
        ),
        TestSet(
            "panx",
            "tag",
            ("test", "validation"),
            "1,000 to 10,000 sentences",
            "not stated (ODC-BY claimed elsewhere)",
            "https://github.com/afshinrahimi/mmner",
            "panx/xx/{test,dev}; XTREME's panx/{test,dev}-xx.tsv",
            NER,
            (HubTest("unimelb-nlp/wikiann", "{code}", ("tokens", "ner_tags"), "ner_tags", convert_targets.hub_ner),),
            tuple(
                Layout(
                    file,
                    partial(tagged.word_lines, prefixed=prefixed),
                    convert_targets.tagged,
                    "tags",
                    _TEST_DEV,
                    within="panx",
                )
                for file, prefixed in (
                    ("{split}-{code}.tsv", False),
                    ("{code}/{split}", True),
                    ("{code}-{split}", True),
                )
            ),
        ),
        TestSet(
            "xquad",
            "span",
            ("validation",),
            "1,190 questions",
            "CC BY-SA 4.0",
            "https://github.com/google-deepmind/xquad",
            "xquad.xx.json",
            None,
            (HubTest("google/xquad", "xquad.{code}", _SQUAD, "answers", convert_targets.stripped_squad),),
            (
                Layout(
                    "xquad.{code}.json",
                    readers.squad_json,
                    convert.upstream_squad,
                    "answers",
                    {"validation": "validation"},
                ),
            ),
        ),
        TestSet(
            "mlqa",
            "span",
            ("test", "validation"),
            "4,517 to 11,590 questions",
            "CC BY-SA 3.0",
            "https://github.com/facebookresearch/MLQA",
            "MLQA_V1/{test,dev}/{test,dev}-context-xx-question-xx.json",
            None,
            (HubTest("google/xtreme", "MLQA.{context}.{question}", _SQUAD, "answers", convert_targets.stripped_squad),),
            (
                Layout(
                    "{split}-context-{context}-question-{question}.json",
                    readers.squad_json,
                    convert.upstream_squad,
                    "answers",
                    _TEST_DEV,
                ),
            ),
        ),
        TestSet(
            "tydiqa",
            "span",
            ("validation",),
            "323 to 2,719 questions",
            "Apache-2.0",
            "https://github.com/google-research-datasets/tydiqa",
            "tydiqa-goldp-v1.1-dev.json; tydiqa-goldp-dev-LANGUAGE.json; XTREME's tydiqa.goldp.xx.dev.json",
            None,
            (
                HubTest(
                    "google-research-datasets/tydiqa",
                    "secondary_task",
                    _SQUAD,
                    "answers",
                    convert_targets.stripped_squad,
                    keep=_tydiqa_row,
                ),
            ),
            tuple(
                Layout(
                    file,
                    readers.squad_json,
                    convert.upstream_squad,
                    "answers",
                    {"validation": "dev"},
                    keep=None if "{" in file else _tydiqa_row,
                )
                for file in (
                    "tydiqa-goldp-v1.1-dev.json",
                    "tydiqa-goldp-dev-{tydi}.json",
                    "tydiqa.goldp.{code}.dev.json",
                )
            ),
        ),
        TestSet(
            "bucc",
            "mining",
            ("test", "validation"),
            "1,896 to 14,330 pairs among many more sentences",
            "research use, not stated",
            "https://comparable.limsi.fr/bucc2018/",
            "xx-en.{training,sample}.{xx,en,gold}; XTREME's xx-en.{test,dev}.{xx,en,gold}",
            published=BUCC,
        ),
        TestSet(
            "tatoeba",
            "translation",
            ("test", "validation"),
            "1,000 pairs, some fewer",
            "CC BY 2.0 FR",
            "https://github.com/facebookresearch/LASER (data/tatoeba/v1)",
            "tatoeba.xxx-eng.{xxx,eng}",
            None,
            (
                HubTest("mteb/tatoeba-bitext-mining", "{iso3}-eng", ("sentence1", "sentence2"), "", None),
                HubTest("google/xtreme", "tatoeba.{iso3}", ("source_sentence", "target_sentence"), "", None),
            ),
        ),
        TestSet(
            "xcopa",
            "choice",
            ("test", "validation"),
            "500 (dev 100)",
            "CC BY 4.0",
            "https://github.com/cambridgeltl/xcopa",
            "{test,val}.xx.jsonl; XTREME's xcopa/{test,val}-xx.jsonl",
            None,
            (HubTest("cambridgeltl/xcopa", "{code}", _COPA_FIELDS, "label", convert_targets.copa),),
            (
                Layout("{split}.{code}.jsonl", readers.jsonl, convert_targets.copa, "label", _TEST_VAL, within="xcopa"),
                Layout("{split}-{code}.jsonl", readers.jsonl, convert_targets.copa, "label", _TEST_VAL, within="xcopa"),
            ),
        ),
        TestSet(
            "lareqa",
            "answers",
            ("validation",),
            "1,190 questions, 13,014 candidates in all",
            "CC BY-SA 4.0",
            "https://github.com/google-research-datasets/lareqa",
            "xquad-r/xx.json",
            published=LAREQA,
        ),
        TestSet(
            "mewslix",
            "entities",
            ("test", "validation"),
            "15,000 mentions and 1,003,893 candidates in all",
            "Apache-2.0; WikiNews CC BY 2.5",
            "https://github.com/google-research/google-research/tree/master/dense_representations_for_entity_retrieval/mel",
            "wikinews_mentions-{test,dev}.jsonl, candidate_set_entities.jsonl",
            hub_files=(
                "izhx/mewsli-x",
                (
                    *(f"wikinews_mentions/{code}/test.jsonl" for code in LANGUAGES["mewslix"]["xtreme-r"]),
                    "candidate_entities.jsonl.tar.gz",
                ),
            ),
        ),
    )
}
