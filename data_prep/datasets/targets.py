"""The English training data of the targets: XNLI, PAWS-X, POS, NER, TyDiQA, Social IQa, COPA, LAReQA, Mewsli-X.

XNLI trains on MultiNLI and is selected on XNLI's English dev set; XQuAD and MLQA train on `squad_v1`
(`intermediate.py`). Dev splits, on which a model is selected, are
English too and never a test set of XTREME's:

* TyDiQA's official dev questions are XTREME's test, English ones included, so dev is a tenth of the English training
  questions, chosen by their passages (no passage is in both parts).
* The language of a question of TyDiQA stands only in its id. Without looking there one trains on nine languages.
"""

import hashlib
from functools import partial
from typing import Any

from data_prep import convert, convert_pairs, convert_targets
from data_prep.datasets.schema import Dataset, Hub, Upstream
from data_prep.formats import readers, tagged

_PAWSX = ("sentence1", "sentence2", "label")
_SQUAD = ("id", "question", "context", "answers")
_XTREME_SPLITS = (("train-en.tsv",), ("dev-en.tsv",))
DEV_SHARE = 10  # one passage of TyDiQA in so many is dev


def tydiqa_split(row: dict[str, Any], split: str) -> bool:
    """Whether a question of TyDiQA's English files is in `split` ("train" or "dev"), by its passage."""
    context = str(row.get("context", "")).strip()
    is_dev = hashlib.sha256(context.encode("utf-8", "replace")).digest()[0] % DEV_SHARE == 0
    return is_dev == (split == "dev")


def tydiqa_english(row: dict[str, Any], split: str) -> bool:
    """The same of the files of all nine languages."""
    return str(row.get("id", "")).startswith("english-") and tydiqa_split(row, split)


_XNLI = ("premise", "hypothesis", "label")


def _xnli_english(row: dict[str, Any], split: str) -> bool:
    return row.get("language") == "en"


TARGETS = (
    Dataset(
        "xnli",
        "classify",
        "MultiNLI's and CC BY-NC 4.0",
        "https://github.com/facebookresearch/XNLI",
        None,
        (),
        rows="392,702 / 2,490",
        made_of=("mnli", "xnli_en"),
    ),
    Dataset(
        "xnli_en",
        "classify",
        "CC BY-NC 4.0",
        "https://github.com/facebookresearch/XNLI",
        Hub("facebook/xnli", "en", (), ("validation",), _XNLI, convert.hub_nli),
        (
            Upstream((), ("xnli.dev.tsv",), readers.tsv, convert_targets.xnli, select=_xnli_english),
            Upstream((), ("xnli.dev.jsonl",), readers.jsonl, convert_targets.xnli, select=_xnli_english),
            Upstream(
                (),
                ("dev-en.tsv",),
                partial(readers.quoted_tsv, columns=_XNLI),
                convert_targets.xnli,
                within="xnli",
            ),
        ),
        rows="none / 2,490",
    ),
    Dataset(
        "pawsx",
        "classify",
        "PAWS licence (any purpose, with acknowledgement)",
        "https://github.com/google-research-datasets/paws/tree/master/pawsx",
        Hub(
            "google-research-datasets/paws-x",
            "en",
            ("train",),
            ("validation",),
            ("id", *_PAWSX),
            convert_targets.pawsx,
        ),
        (
            Upstream(("en/train.tsv",), ("en/dev_2k.tsv",), readers.tsv, convert_targets.pawsx, within="x-final"),
            Upstream(
                *_XTREME_SPLITS,
                partial(readers.quoted_tsv, columns=_PAWSX),
                convert_targets.pawsx,
                within="pawsx",
            ),
        ),
        rows="49,401 / 2,000",
    ),
    Dataset(
        "udpos",
        "tag",
        "of each treebank (CC BY-SA 4.0 and others)",
        "https://universaldependencies.org (UD 2.5)",
        Hub(
            "google/xtreme",
            "udpos.English",
            ("train",),
            ("validation",),
            ("tokens", "pos_tags"),
            convert_targets.hub_pos,
        ),
        (
            Upstream(*_XTREME_SPLITS, tagged.word_lines, convert_targets.tagged, within="udpos"),
            Upstream(
                ("en_*-ud-train.conllu",),
                ("en_*-ud-dev.conllu",),
                tagged.conllu,
                convert_targets.tagged,
                several=True,
            ),
        ),
        rows="21,253 / 3,974",
    ),
    Dataset(
        "panx",
        "tag",
        "not stated (ODC-BY claimed elsewhere)",
        "https://github.com/afshinrahimi/mmner",
        Hub("unimelb-nlp/wikiann", "en", ("train",), ("validation",), ("tokens", "ner_tags"), convert_targets.hub_ner),
        tuple(
            Upstream(
                train,
                dev,
                partial(tagged.word_lines, prefixed=prefixed),
                convert_targets.tagged,
                within="panx",
            )
            for train, dev, prefixed in (
                (("en/train",), ("en/dev",), True),
                (("en-train",), ("en-dev",), True),
                (*_XTREME_SPLITS, False),
            )
        ),
        rows="20,000 / 10,000",
    ),
    Dataset(
        "tydiqa",
        "span",
        "Apache-2.0",
        "https://github.com/google-research-datasets/tydiqa (GoldP)",
        Hub(
            "google-research-datasets/tydiqa",
            "secondary_task",
            ("train",),
            ("train",),
            _SQUAD,
            convert_targets.stripped_squad,
            select=tydiqa_english,
        ),
        (
            Upstream(
                ("tydiqa-goldp-v1.1-train.json",),
                ("tydiqa-goldp-v1.1-train.json",),
                readers.squad_json,
                convert.upstream_squad,
                select=tydiqa_english,
            ),
            Upstream(
                ("tydiqa.goldp.en.train.json",),
                ("tydiqa.goldp.en.train.json",),
                readers.squad_json,
                convert_targets.goldp,
                select=tydiqa_split,
            ),
        ),
        rows="3,696 in all",
    ),
    Dataset(
        "siqa",
        "choice",
        "CC BY 4.0",
        "https://maartensap.com/social-iqa",
        Hub(
            "lighteval/siqa",
            "default",
            ("train",),
            ("validation",),
            ("context", "question", "answerA", "answerB", "answerC", "label"),
            convert_targets.siqa,
        ),
        (Upstream(("socialIQa_v1.4_trn.jsonl",), ("socialIQa_v1.4_dev.jsonl",), readers.jsonl, convert_targets.siqa),),
        rows="33,410 / 1,954",
    ),
    Dataset(
        "copa",
        "choice",
        "BSD 2-clause",
        "https://super.gluebenchmark.com/tasks (COPA.zip)",
        Hub(
            "aps/super_glue",
            "copa",
            ("train",),
            ("validation",),
            ("premise", "choice1", "choice2", "question", "label", "idx"),
            convert_targets.copa,
        ),
        (
            Upstream(("COPA/train.jsonl",), ("COPA/val.jsonl",), readers.jsonl, convert_targets.copa),
            Upstream(("train-en.jsonl",), ("val-en.jsonl",), readers.jsonl, convert_targets.copa, within="xcopa"),
        ),
        rows="400 / 100",
    ),
    Dataset(
        "lareqa",
        "pair",
        "CC BY-SA 4.0",
        "https://rajpurkar.github.io/SQuAD-explorer/ (SQuAD v1.1)",
        Hub("rajpurkar/squad", "plain_text", ("train",), ("validation",), _SQUAD, convert_pairs.hub_squad),
        (Upstream(("train-v1.1.json",), ("dev-v1.1.json",), readers.squad_json, convert_pairs.upstream_squad),),
        rows="87,599 / 10,570",
    ),
    Dataset(
        "mewslix",
        "pair",
        "Apache-2.0; Wikipedia CC BY-SA 3.0",
        "https://github.com/google-research/google-research/tree/master/dense_representations_for_entity_retrieval/mel",
        Hub(
            "izhx/mewsli-x",
            "wikipedia_pairs",
            ("train",),
            ("validation",),
            ("mention", "entity"),
            convert_pairs.mewslix,
        ),
        (
            Upstream(
                ("wikipedia_pairs-train.jsonl",),
                ("wikipedia_pairs-dev.jsonl",),
                readers.jsonl,
                convert_pairs.mewslix,
            ),
        ),
        rows="number not recorded",
    ),
)
