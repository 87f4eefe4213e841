"""The nine intermediate tasks of Phang et al. 2020 (arXiv 2005.13013): the datasets that they are made of.

Numbers of rows are those of the public releases. On the Hub, Cosmos QA is a loading script, which is never run; its
makers' files are downloaded instead.
"""

from data_prep import convert
from data_prep.datasets.published_files import COSMOSQA
from data_prep.datasets.schema import Dataset, Hub, Upstream
from data_prep.formats import readers

NLI_COLUMNS = ("premise", "hypothesis", "label")
SQUAD_COLUMNS = ("id", "question", "context", "answers")
ROUNDS = ("1", "2", "3")

INTERMEDIATE = (
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
        rows="392,702 / 9,815",
    ),
    Dataset(
        "snli",
        "classify",
        "CC BY-SA 4.0",
        "https://nlp.stanford.edu/projects/snli/",
        Hub("stanfordnlp/snli", "plain_text", ("train",), ("validation",), NLI_COLUMNS, convert.hub_snli),
        (Upstream(("snli_1.0_train.jsonl",), ("snli_1.0_dev.jsonl",), readers.jsonl, convert.upstream_nli),),
        rows="550,152 / 10,000",
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
        rows="162,865 / 3,200",
    ),
    Dataset(
        "qqp",
        "classify",
        "Quora terms, non-commercial",
        "https://gluebenchmark.com/tasks (QQP-clean.zip)",
        Hub("nyu-mll/glue", "qqp", ("train",), ("validation",), ("question1", "question2", "label"), convert.hub_qqp),
        (Upstream(("QQP/train.tsv",), ("QQP/dev.tsv",), readers.tsv, convert.glue_qqp),),
        rows="363,846 / 40,430",
    ),
    Dataset(
        "squad_v1",
        "span",
        "CC BY-SA 4.0",
        "https://rajpurkar.github.io/SQuAD-explorer/",
        Hub("rajpurkar/squad", "plain_text", ("train",), ("validation",), SQUAD_COLUMNS, convert.hub_squad),
        (Upstream(("train-v1.1.json",), ("dev-v1.1.json",), readers.squad_json, convert.upstream_squad),),
        rows="87,599 / 10,570",
    ),
    Dataset(
        "squad_v2",
        "span",
        "CC BY-SA 4.0",
        "https://rajpurkar.github.io/SQuAD-explorer/",
        Hub("rajpurkar/squad_v2", "squad_v2", ("train",), ("validation",), SQUAD_COLUMNS, convert.hub_squad),
        (Upstream(("train-v2.0.json",), ("dev-v2.0.json",), readers.squad_json, convert.upstream_squad),),
        rows="130,319 / 11,873",
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
        rows="39,905 / 10,042",
    ),
    Dataset(
        "ccg",
        "tag",
        "that of the files given; CCGbank: LDC User Agreement (LDC2005T13)",
        "https://catalog.ldc.upenn.edu/LDC2005T13",
        None,
        (Upstream(("*.train.tsv",), ("*.dev.tsv",), readers.words_tags, convert.tag, within="ccg"),),
        rows="39,604 / 1,913 (CCGbank)",
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
        rows="25,262 / 2,985",
        published=COSMOSQA,
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
        rows="9,741 / 1,221",
    ),
)
