"""multilingual-NLI-26lang-2mil7 (Laurer et al. 2022): 105,000 pairs a language, another random sample for each.

Sampled from MultiNLI, Fever-NLI, ANLI, LingNLI and WANLI and machine-translated; the dev set is MultiNLI's, in English.
"""

from dataclasses import replace
from itertools import chain

from common.labels import NLI
from common.languages import codes
from data_prep.datasets import mnli
from data_prep.datasets.schema import MULTIPLE, Dataset, Hub, Task, by_language, splits

HUB = Hub("MoritzLaurer/multilingual-NLI-26lang-2mil7", "default", mnli.COLUMNS, mnli.hub_nli)
SOURCES = ("mnli", "fever", "anli", "ling", "wanli")
TRAINING = tuple(
    Dataset(
        f"nli_26lang.{code}",
        "classify",
        "of each source; of the translation not stated",
        "https://huggingface.co/datasets/MoritzLaurer/multilingual-NLI-26lang-2mil7",
        "105,000",
        (replace(HUB, splits=splits(" ".join(f"{code}_{source}" for source in SOURCES))),),
        language=code,
        splits=("train",),
        dev_from="mnli",
        translated="OPUS-MT or M2M100, 2022",
    )
    for code in codes("ar bn de es fa fr he hi id it ja ko mr nl pl ps pt ru sv sw ta tr uk ur vi zh")
)
_OTHERS = by_language(TRAINING)
TASKS = Task("nli_26lang", "classify", "accuracy", tuple(chain(*_OTHERS.values())), NLI, MULTIPLE, others=_OTHERS)
