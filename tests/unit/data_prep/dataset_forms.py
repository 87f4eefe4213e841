"""The forms in which every dataset is read: small files of each, and the examples that they hold.

A new dataset adds a row to `FORMS` for each form in which it is read.
"""

from dataclasses import dataclass
from pathlib import Path

from tests.support.rows import write

NO_GOLD = "no gold label"


@dataclass
class Form:
    """Files of the training and the dev split, all with this content, and the examples in each file."""

    dataset: str
    train: list[str]
    dev: list[str]
    content: list | str | dict
    expected: list

    def write(self, folder: Path) -> None:
        for path in self.train + self.dev:
            write(folder / path, self.content)

    def __str__(self) -> str:
        return f"{self.dataset}-{(self.train or self.dev)[0].replace('/', '-')}"


def form(dataset: str, pattern: str, content, *expected, train: str = "train", dev: str | None = None) -> Form:
    """`pattern`: a path with {} for the names in `train` and `dev`, or a folder in the Hub's layout."""
    hub = "{}" not in pattern
    pattern = f"{pattern}/{{}}-00000-of-00001.parquet" if hub else pattern
    names = train, ("validation" if hub else "dev") if dev is None else dev
    files = [[pattern.format(name) for name in split.split()] for split in names]
    return Form(dataset, *files, [content] if hub else content, list(expected))


def squad_json(*questions: dict, context: str = "the dog runs") -> dict:
    return {"version": "1.1", "data": [{"title": "t", "paragraphs": [{"context": context, "qas": list(questions)}]}]}


ANSWERED = {"id": "1", "question": "who", "answers": [{"text": "dog", "answer_start": 4}] * 2}
IMPOSSIBLE = {
    "id": "2", "question": "why", "answers": [], "plausible_answers": [{"text": "dog"}], "is_impossible": True,
}  # fmt: skip
SPAN = ("1", "who", "the dog runs", [("dog", 4), ("dog", 4)])
UNANSWERED = {"id": "2", "question": "who", "answers": []}
LOST = {"id": "2", "question": "who", "answers": [{"text": "cat", "answer_start": 4}]}
NONE: dict = {"text": [], "answer_start": []}
SQUAD_ROW = {
    "title": "t",
    **ANSWERED,
    "context": "the dog runs",
    "answers": {"text": ["dog"] * 2, "answer_start": [4, 4]},
}
NLI_ROW = {"premise": 'a "b', "hypothesis": "c", "label": 2}
NLI_LINES = [
    {"gold_label": "contradiction", "sentence1": 'a "b', "sentence2": "c", "annotator_labels": ["neutral"]},
    {"gold_label": "-", "sentence1": "a", "sentence2": "b"},
]
NLI_PAIR = ('a "b', "c", "contradiction")
TRIPLET_LINES = [{"gold_label": "entailment", "sentence1": 'a "b', "sentence2": "d"}, *NLI_LINES]
TRIPLET = ('a "b', "d", "c", 'a "b')
GLUE_NLI = [["index", "sentence1", "sentence2", "label1", "gold_label"], ["0", *NLI_PAIR[:2], "neutral", NLI_PAIR[2]]]
QQP_ROW, QQP_PAIR = {"question1": 'say "x"?', "question2": "y?", "label": 1}, ('say "x"?', "y?", "duplicate")
GLUE_QQP = 'id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\r\n1\t2\t3\tsay "x"?\ty?\t1\r\n'
ENDINGS, HE = ["a", "b", "c", "d"], ["he a", "he b", "he c", "he d"]
HELLASWAG = {"ind": 5, "ctx_a": "A man sits.", "ctx_b": "he", "endings": ENDINGS, "label": "2"}
COSMOS = {"id": "i", "context": 'He said "no",\nand left .', "question": "Why ?", "label": 3}
COSMOS |= {f"answer{i}": ENDINGS[i] for i in range(4)}
COSMOS_CSV = (
    'id,context,question,answer0,answer1,answer2,answer3,label\ni,"He said ""no"",\nand left .",Why ?,a,b,c,d,3\n'
)
COSMOS_CHOICE = ('He said "no",\nand left . Why ?', ENDINGS, 3)
LETTERS = ["tA", "tB", "tC", "tD", "tE"]
CSQA_ROW = {"id": "q", "question": "How?", "choices": {"label": list("ABCDE"), "text": LETTERS}, "answerKey": "E"}
CSQA_LINE = CSQA_ROW | {"question": {"stem": "How?", "choices": [{"label": t[1], "text": t} for t in LETTERS]}}
PAWSX_ROW, PAWSX_PAIR = {"id": 7, "sentence1": 'a "b', "sentence2": "c", "label": 1}, ('a "b', "c", "paraphrase")
SIQA = {"context": "Kim ran.", "question": "Why?", "answerA": "x", "answerB": "y", "answerC": "z"}
SIQA_CHOICE = ("Kim ran. Why?", ["x", "y", "z"], 1)
COPA = {"premise": "It rained.", "choice1": "x", "choice2": "y", "question": "cause", "idx": 3, "label": 1}
COPA_CHOICE = ("It rained. What was the cause?", ["x", "y"], 1)
UPOS_LINES, UPOS = "In\tADP\nim:b\tNOUN\n\nYes\tINTJ\n", [(["In", "im:b"], ["ADP", "NOUN"]), (["Yes"], ["INTJ"])]
# Two words that are written as one (`im`) count once, with the tag of the one that is higher in the tree.
CONLLU = "".join(
    "\t".join([place, form, "_", tag, "_", "_", head, "_", "_", "_"]) + "\n"
    for place, form, tag, head in (
        ("1-2", "im", "_", "_"), ("1", "in", "ADP", "3"), ("2", "dem", "DET", "1"), ("3", "Haus", "NOUN", "0"),
        ("3.1", "left out", "X", "_"),
    )
)  # fmt: skip
HAUS = (["im", "Haus"], ["ADP", "NOUN"])
NER = (["Ann", "a:b"], ["B-PER", "O"])
PARAGRAPH = "A dog ran. It sat!"
LAREQA_PAIR = ("who", "It sat!" + PARAGRAPH)
LAREQA_ROW = {"id": "1", "question": "who", "context": PARAGRAPH, "answers": {"text": ["sat"], "answer_start": [14]}}
LAREQA = squad_json({**ANSWERED, "answers": [{"text": "sat", "answer_start": 14}]}, context=PARAGRAPH)
MENTION = {
    "context": {
        "text": "Ann left. She saw a dog go.",
        "sentence_spans": [{"start": 0, "end": 9}, {"start": 10, "end": 27}],
    },
    "mention": {
        "example_id": "m",
        "mention_span": {"start": 20, "end": 23, "text": "dog"},
        "source_document_title": "x",
    },
}
ENTITY = {"entity_id": "Q1", "description": "A beast. More.", "sentence_spans": [{"start": 0, "end": 8}]}
MEWSLIX_PAIR = ("dog: She saw a { dog } go.", "A beast.")
LEAVES = (
    r"(<T S[dcl] 0 2> (<T NP 1 2> (<L NP[nb]/N DT DT The NP[nb]_1/N_1>) (<L N NN NN <dog> N>) )"
    r" (<L S[dcl]\NP VBZ VBZ > S\NP>) )"
)
CCG = (["The", "<dog>", ">"], ["NP[nb]/N", "N", r"S[dcl]\NP"])

FORMS = [
    form("mnli", "nyu-mll/glue/mnli", NLI_ROW, NLI_PAIR, dev="validation_matched"),
    form("mnli", "m/multinli_1.0_{}.jsonl", NLI_LINES, NLI_PAIR, NO_GOLD, dev="dev_matched"),
    form("mnli", "MNLI/{}.tsv", GLUE_NLI, NLI_PAIR, dev="dev_matched"),
    form("snli", "stanfordnlp/snli/plain_text", NLI_ROW, NLI_PAIR),
    form("snli", "hub/stanfordnlp/snli/plain_text", NLI_ROW | {"label": -1}, NO_GOLD),
    form("snli", "snli_1.0_{}.jsonl", NLI_LINES, NLI_PAIR, NO_GOLD),
    form(
        "anli", "facebook/anli/plain_text", NLI_ROW | {"uid": "u"}, NLI_PAIR,
        train="train_r1 train_r2 train_r3", dev="dev_r1 dev_r2 dev_r3",
    ),
    form(
        "anli", "anli_v1.0/{}.jsonl", [{"uid": "u", "context": 'a "b', "hypothesis": "c", "label": "c"}], NLI_PAIR,
        train="R1/train R2/train R3/train", dev="R1/dev R2/dev R3/dev",
    ),
    form("qqp", "nyu-mll/glue/qqp", QQP_ROW, QQP_PAIR),
    form("qqp", "QQP/{}.tsv", GLUE_QQP, QQP_PAIR),
    form("squad_v1", "rajpurkar/squad/plain_text", SQUAD_ROW, SPAN),
    form("squad_v1", "{}-v1.1.json", squad_json(ANSWERED), SPAN),
    form("squad_v2", "rajpurkar/squad_v2/squad_v2", SQUAD_ROW | {"answers": NONE}, ("1", "who", "the dog runs", [])),
    form(
        "squad_v2", "{}-v2.0.json", squad_json({**ANSWERED, "is_impossible": False}, IMPOSSIBLE),
        SPAN, ("2", "why", "the dog runs", []),
    ),
    form("hellaswag", "Rowan/hellaswag/default", HELLASWAG | {"ctx_b": ""}, ("A man sits.", ENDINGS, 2)),
    form("hellaswag", "h/hellaswag_{}.jsonl", [HELLASWAG | {"label": 2}], ("A man sits.", HE, 2), dev="val"),
    form("cosmosqa", "allenai/cosmos_qa/default", COSMOS, COSMOS_CHOICE),
    form("cosmosqa", "cosmosqa/{}.csv", COSMOS_CSV, COSMOS_CHOICE, dev="valid"),
    form("commonsenseqa", "tau/commonsense_qa/default", CSQA_ROW, ("How?", LETTERS, 4)),
    form("commonsenseqa", "{}_rand_split.jsonl", [CSQA_LINE], ("How?", LETTERS, 4)),
    form("ccg", "ccg/x.{}.tsv", [[" ".join(column) for column in CCG]], CCG),
    form(
        "ccg", "ccgbank/AUTO/{}.auto", f"ID=wsj_0001.1 PARSER=GOLD NUMPARSE=1\n{LEAVES}\n", CCG,
        train=" ".join(f"{section:02d}/wsj_{section:02d}01" for section in range(2, 22)), dev="00/wsj_0001 00/wsj_0002",
    ),
    form("pawsx", "google-research-datasets/paws-x/en", PAWSX_ROW, PAWSX_PAIR),
    form("pawsx", "x-final/en/{}.tsv", [list(PAWSX_ROW), ["7", 'a "b', "c", "1"]], PAWSX_PAIR, dev="dev_2k"),
    form("pawsx", "pawsx/{}-en.tsv", '"a ""b"\tc\t1\r\n', PAWSX_PAIR),
    form("udpos", "google/xtreme/udpos.English", {"tokens": UPOS[0][0], "pos_tags": UPOS[0][1]}, UPOS[0]),
    form("udpos", "udpos/{}-en.tsv", UPOS_LINES, *UPOS),
    form("udpos", "UD/en_a-ud-{}.conllu", CONLLU, HAUS),
    form("panx", "unimelb-nlp/wikiann/en", {"tokens": ["Ann", "a:b"], "ner_tags": [1, 0]}, NER),
    form("panx", "panx/en/{}", "en:Ann\tB-PER\nen:a:b\tO\n", NER),
    form("panx", "panx/en-{}", "en:Ann\tB-PER\nen:a:b\tO\n", NER),
    form("panx", "panx/{}-en.tsv", "Ann\tB-PER\na:b\tO\n", NER),
    form("siqa", "lighteval/siqa/default", SIQA | {"label": "2"}, SIQA_CHOICE),
    form("siqa", "socialIQa_v1.4_{}.jsonl", [SIQA | {"correct": "B"}], SIQA_CHOICE, train="trn"),
    form("copa", "aps/super_glue/copa", COPA, COPA_CHOICE),
    form("copa", "COPA/{}.jsonl", [COPA], COPA_CHOICE, dev="val"),
    form("copa", "xcopa/{}-en.jsonl", [COPA], COPA_CHOICE, dev="val"),
    form("lareqa", "rajpurkar/squad/plain_text", LAREQA_ROW, LAREQA_PAIR),
    form("lareqa", "{}-v1.1.json", LAREQA, LAREQA_PAIR),
    form("mnli_triplets", "m/multinli_1.0_{}.jsonl", TRIPLET_LINES, TRIPLET, NO_GOLD, dev="dev_matched"),
    form("snli_triplets", "snli_1.0_{}.jsonl", TRIPLET_LINES, TRIPLET, NO_GOLD),
    form(
        "anli_triplets", "anli_v1.0/{}.jsonl",
        [{"uid": "u", "context": 'a "b', "hypothesis": text, "label": label} for label, text in ("ed", "cc")], TRIPLET,
        train="R1/train R2/train R3/train", dev="R1/dev R2/dev R3/dev",
    ),
    form("lareqa_paragraphs", "rajpurkar/squad/plain_text", LAREQA_ROW, ("who", PARAGRAPH)),
    form("lareqa_paragraphs", "{}-v1.1.json", LAREQA, ("who", PARAGRAPH)),
    form("mewslix", "izhx/mewsli-x/wikipedia_pairs", {"mention": "a: { a }", "entity": "b"}, ("a: { a }", "b")),
    form("mewslix", "wikipedia_pairs-{}.jsonl", [{"contextual_mention": MENTION, "entity": ENTITY}], MEWSLIX_PAIR),
    # In other languages
    form("xnli.de", "facebook/xnli/de", NLI_ROW, NLI_PAIR),
    form("pawsx.ja", "google-research-datasets/paws-x/ja", PAWSX_ROW, PAWSX_PAIR),
    form(
        "pawsx.ja", "x-final/ja/{}.tsv", [list(PAWSX_ROW), ["7", 'a "b', "c", "1"]], PAWSX_PAIR,
        train="translated_train", dev="dev_2k",
    ),
    form("udpos.lt", "izhx/xtreme-r-udpos/lt", {"tokens": HAUS[0], "pos_tags": HAUS[1]}, HAUS),
    form("udpos.de", "UD/de_a-ud-{}.conllu", CONLLU, HAUS),
    form("panx.sw", "unimelb-nlp/wikiann/sw", {"tokens": NER[0], "ner_tags": [1, 0]}, NER),
    form("panx.sw", "panx/sw/{}", "sw:Ann\tB-PER\nsw:a:b\tO\n", NER),
    form(
        "squad_v1.de", "mlqa-translate-train/de_squad-translate-train-{}-v1.1.json", squad_json(ANSWERED, LOST),
        SPAN, "answer not in the translated context",
    ),
]  # fmt: skip
# One split; the other is that of English data.
HALVES = [
    form("xnli", "facebook/xnli/en", NLI_ROW, NLI_PAIR, train=""),
    form(
        "xnli", "XNLI-1.0/xnli.{}.tsv",
        [["language", *GLUE_NLI[0][1:]], ["fr", "x", "y", "", "neutral"], ["en", 'a "b', "c", "", "contradictory"]],
        NLI_PAIR, train="",
    ),
    form("xnli", "xnli.{}.jsonl", [{"language": code, **NLI_LINES[0]} for code in ("sw", "en")], NLI_PAIR, train=""),
    form("xnli", "xnli/{}-en.tsv", '"a ""b"\tc\tcontradiction\r\n', NLI_PAIR, train=""),
    form(
        "mnli_xtreme.de", "XNLI/translate-train/en-de-{}.tsv", 'x\ty\ta "b\tc\tcontradictory\n', NLI_PAIR,
        train="translated", dev="",
    ),
    form(
        "pawsx_xtreme.ja", "PAWSX/translate-train/en-ja-{}.tsv", 'x\ty\t"a ""b"\tc\t1\nx\ty\tz\tc\t1\td\n', PAWSX_PAIR,
        "no label 0 or 1", train="translated", dev="",
    ),
    form(
        "squad_v1_xtreme.th", "SQuAD/translate-train/squad.translate.{}.en-th.json", squad_json(ANSWERED, UNANSWERED),
        SPAN, "answer not in the translated context", dev="",
    ),
    form(
        "nli_26lang.ps", "MoritzLaurer/multilingual-NLI-26lang-2mil7/default", NLI_ROW, NLI_PAIR,
        train="ps_mnli ps_fever ps_anli ps_ling ps_wanli", dev="",
    ),
]  # fmt: skip
