"""PAN-X, named entities of WikiAnn (Pan et al. 2017; Rahimi et al. 2019): its English part or another."""

from dataclasses import replace
from functools import partial

from common.labels import NER
from common.languages import codes
from data_prep.datasets import udpos
from data_prep.datasets.schema import Dataset, Files, Hub, Task, by_language, in_languages
from data_prep.formats import tagged

LANGUAGES = codes(
    "af ar bg bn de el en es et eu fa fi fr he hi hu id it ja jv ka kk ko ml mr ms my nl pt ru sw ta te th tl tr ur vi"
    " yo zh"
)


hub_ner = partial(udpos.hub_tags, column="ner_tags", order=NER)

ENGLISH = Dataset(
    "panx",
    "tag",
    "not stated (ODC-BY claimed elsewhere)",
    "https://github.com/afshinrahimi/mmner",
    "20,000 / 10,000",
    (Hub("unimelb-nlp/wikiann", "{code}", ("tokens", "ner_tags"), hub_ner, label="ner_tags"),),
    tuple(
        Files(path, partial(tagged.word_lines, prefixed=prefixed), udpos.word_tags, label="tags", within="panx")
        for path, prefixed in (("{code}/{split}", True), ("{code}-{split}", True), ("{split}-{code}.tsv", False))
    ),
)
TEST = replace(
    ENGLISH,
    rows="1,000 to 10,000 sentences",
    labels=NER,
    splits=("test", "validation"),
    layout="panx/xx/{test,dev}; XTREME's panx/{test,dev}-xx.tsv",
    suites={"xtreme": LANGUAGES, "xtreme-r": codes(*LANGUAGES, "az gu lt pa pl qu ro uk")},
)
TRAINING = (ENGLISH, *in_languages(ENGLISH, TEST.languages))
TASKS = Task("panx", "tag", "token_accuracy", ("panx",), NER, others=by_language(TRAINING[1:]))
