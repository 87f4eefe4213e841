"""Every dataset gives the same examples from the Hub's columns and from each of its upstream files; `list` agrees.

A new dataset adds a row to `FORMS` for each form in which it is read.
"""

import random
import re
from collections import Counter
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest

from data_prep.__main__ import main
from data_prep.datasets import DATASETS, mmarco
from tests.support.rows import examples, fails, find, hub_file, write

NO_GOLD = "no gold label"
NLI = ["entailment", "neutral", "contradiction"]


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
    names = train, dev or ("validation" if hub else "dev")
    files = [[pattern.format(name) for name in split.split()] for split in names]
    return Form(dataset, *files, [content] if hub else content, list(expected))


def squad_json(*questions: dict, context: str = "the dog runs") -> dict:
    return {"version": "1.1", "data": [{"title": "t", "paragraphs": [{"context": context, "qas": list(questions)}]}]}


ANSWERED = {"id": "1", "question": "who", "answers": [{"text": "dog", "answer_start": 4}] * 2}
IMPOSSIBLE = {
    "id": "2", "question": "why", "answers": [], "plausible_answers": [{"text": "dog"}], "is_impossible": True,
}  # fmt: skip
SPAN = ("1", "who", "the dog runs", [("dog", 4), ("dog", 4)])
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
        "text": "Ann left. She saw a dog there.",
        "sentence_spans": [{"start": 0, "end": 9}, {"start": 10, "end": 30}],
    },
    "mention": {
        "example_id": "m",
        "mention_span": {"start": 20, "end": 23, "text": "dog"},
        "source_document_title": "x",
    },
}
ENTITY = {"entity_id": "Q1", "description": "A beast. More.", "sentence_spans": [{"start": 0, "end": 8}]}
MEWSLIX_PAIR = ("dog: She saw a { dog } there.", "A beast.")
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
    form("mewslix", "izhx/mewsli-x/wikipedia_pairs", {"mention": "a: { a }", "entity": "b"}, ("a: { a }", "b")),
    form("mewslix", "wikipedia_pairs-{}.jsonl", [{"contextual_mention": MENTION, "entity": ENTITY}], MEWSLIX_PAIR),
]  # fmt: skip
XNLI_DEV = [  # in one file with other languages, or English alone
    form("xnli", "facebook/xnli/en", NLI_ROW, NLI_PAIR, train=""),
    form(
        "xnli", "XNLI-1.0/xnli.{}.tsv",
        [["language", *GLUE_NLI[0][1:]], ["fr", "x", "y", "", "neutral"], ["en", 'a "b', "c", "", "contradictory"]],
        NLI_PAIR, train="",
    ),
    form("xnli", "xnli.{}.jsonl", [{"language": code, **NLI_LINES[0]} for code in ("sw", "en")], NLI_PAIR, train=""),
    form("xnli", "xnli/{}-en.tsv", '"a ""b"\tc\tcontradiction\r\n', NLI_PAIR, train=""),
]  # fmt: skip


def listed(capsys, folder: Path) -> dict[str, str]:
    """Training set -> the last column of its line of `python -m data_prep list`."""
    assert main(["list", "--data", str(folder / "no data"), "--source", str(folder)]) == 0
    lines = capsys.readouterr().out.split("\n\n")[0].splitlines()
    return {line.split()[0]: re.split(r"  +", line)[-1] for line in lines[2:]}


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_every_form_gives_its_examples(form: Form, tmp_path: Path, capsys) -> None:
    form.write(tmp_path)
    assert examples(form.dataset, "train", tmp_path) == form.expected * len(form.train)
    assert examples(form.dataset, "dev", tmp_path) == form.expected * len(form.dev)
    assert listed(capsys, tmp_path)[form.dataset] == f"in {tmp_path.name}/"
    for path in form.dev:  # without which it is neither read nor listed
        (tmp_path / path).unlink()
    fails(lambda: find(form.dataset, tmp_path), f"dataset {form.dataset}: ")
    assert listed(capsys, tmp_path)[form.dataset] == "no"


@pytest.mark.parametrize("form", XNLI_DEV, ids=str)
def test_xnli_trains_on_mnli_and_is_selected_on_its_own_english(form: Form, tmp_path: Path, capsys) -> None:
    form.write(tmp_path)
    fails(lambda: find("xnli", tmp_path), "dataset mnli: not found")
    FORMS[0].write(tmp_path)
    assert examples("xnli", "train", tmp_path) == FORMS[0].expected
    assert examples("xnli", "dev", tmp_path) == form.expected
    assert listed(capsys, tmp_path)["xnli"] == f"in {tmp_path.name}/"


def test_triplets_pair_the_hypotheses_of_a_premise_in_order(tmp_path: Path) -> None:
    rng = random.Random(0)
    rows = [{"premise": rng.choice("pqr"), "hypothesis": f"h{i}", "label": rng.randrange(3)} for i in range(60)]
    folder = tmp_path / "stanfordnlp/snli/plain_text"
    for split in ("train", "validation"):  # of two shards, which are regrouped together
        for shard in range(2):
            write(hub_file(folder, split, shard, 2), rows[30 * shard : 30 * shard + 30])
    expected = []
    for premise in "pqr":
        said = [[r["hypothesis"] for r in rows if r["premise"] == premise and r["label"] == label] for label in (0, 2)]
        expected += [(premise, a, b, premise) for a, b in zip(*said, strict=False)]
    found = examples("snli_triplets", "train", tmp_path)
    assert sorted(one for one in found if isinstance(one, tuple)) == sorted(expected)
    dropped = Counter(one for one in found if isinstance(one, str))
    assert dropped["neutral"] == sum(row["label"] == 1 for row in rows)
    assert dropped.total() + 2 * len(expected) == len(rows) and len(dropped) == 2


def write_mmarco(folder: Path, language: str, **changes: str) -> None:
    """2,000 triples of 500 queries and 300 passages, of which a `TRIPLES` of 1,000 is read."""
    lines = "".join(f"{i % 500}\t{1000 + i % 200}\t{1200 + i % 100}\n" for i in range(2000))
    for name, content in {
        "triples.train.ids.small.tsv": lines,
        f"google/queries/train/{language}_queries.train.tsv": "".join(f"{i}\t{language} q{i}\n" for i in range(600)),
        f"google/collections/{language}_collection.tsv": "".join(
            f"{i}\t{language} p{i}\tx\n" for i in range(900, 1300)
        ),
    }.items():
        write(folder / "data" / name, changes.get(name.rpartition("/")[2], content))


def test_mmarco_is_joined_by_ids_and_parallel(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(mmarco, "TRIPLES", 1000)
    for language in ("english", "german"):
        write_mmarco(tmp_path, language)
    rows = {name: [examples(name, split, tmp_path) for split in ("train", "dev")] for name in ("mmarco", "mmarco.de")}
    train, dev = rows["mmarco"]
    ids = [(i % 500, 1000 + i % 200, 1200 + i % 100) for i in range(1000)]
    whole = {(f"english q{q}", f"english p{p}\tx", f"english p{n}\tx", f"{q}-{p}") for q, p, n in ids}
    assert set(train) | set(dev) == whole and len(train) + len(dev) == 1000 and dev
    assert not {one[0] for one in train} & {one[0] for one in dev}
    german = [[tuple(text.replace("english", "german") for text in one) for one in split] for split in (train, dev)]
    assert rows["mmarco.de"] == german
    assert listed(capsys, tmp_path)["mmarco"].startswith(f"in {tmp_path.name}/, 1 of 13 other languages")
    (tmp_path / "data/google/collections/german_collection.tsv").unlink()
    fails(lambda: find("mmarco.de", tmp_path), "german_collection.tsv: missing; it belongs to german_queries.train.tsv")


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("english_queries.train.tsv", "0\tq0\n", ["line 2: query 1 is not in", "english_queries.train.tsv"]),
        ("english_collection.tsv", "1000\tp\n1200\tp\n", ["line 2: positive 1001 is not in", "english_collection"]),
        ("english_collection.tsv", "1000 p\n", ["english_collection.tsv: line 1: expected `id<TAB>text`", "1000 p"]),
        ("triples.train.ids.small.tsv", "0\t1000\n", ["ids.small.tsv: line 1: expected the ids of query, positive"]),
    ],
)
def test_mmarco_that_does_not_fit_together(tmp_path: Path, name: str, content: str, parts: list[str]) -> None:
    write_mmarco(tmp_path, "english", **{name: content})
    fails(lambda: examples("mmarco", "train", tmp_path), *parts)


TYDIQA_CONTEXTS = [f"passage {i} dog" for i in range(400)]


@pytest.mark.parametrize("form", ["hub", "tydiqa-goldp-v1.1-train.json", "tydiqa.goldp.en.train.json"])
def test_tydiqa_is_english_and_its_dev_is_held_out_by_passage(form: str, tmp_path: Path) -> None:
    """Nine languages share two of the forms; official dev questions are XTREME's test, so dev is a part of train."""

    def qas(i: int, language: str) -> dict:
        return {
            "id": f"{language}-{i}",
            "question": "q",
            "answers": [{"text": "dog", "answer_start": len(f"passage {i} ")}],
        }

    english = [(context, qas(i, "english")) for i, context in enumerate(TYDIQA_CONTEXTS)]
    rows = english + ([] if "en." in form else [("passage sw dog", qas(1, "swahili"))])
    if form == "hub":
        answers = {"text": ["dog"], "answer_start": [0]}  # the Hub's copy lost spaces, and its offsets with them
        columns = [{"id": q["id"], "question": "q", "context": context, "answers": answers} for context, q in rows]
        write(hub_file(tmp_path / "google-research-datasets/tydiqa/secondary_task", "train"), columns)
    else:
        paragraphs = [{"context": context, "qas": [q]} for context, q in rows]
        write(tmp_path / form, {"data": [{"paragraphs": paragraphs}]})
    train, dev = examples("tydiqa", "train", tmp_path), examples("tydiqa", "dev", tmp_path)
    assert sorted(example[2] for example in train + dev) == sorted(TYDIQA_CONTEXTS)
    assert len({example[0] for example in train + dev}) == len(TYDIQA_CONTEXTS)  # predictions are kept by id
    assert all(context[start:] == "dog" for _, _, context, [(_, start)] in train + dev)
    held_out = {context for context in TYDIQA_CONTEXTS if sha256(context.encode()).digest()[0] % 10 == 0}
    assert {example[2] for example in dev} == held_out and 20 < len(dev) < 60


def test_every_dataset_has_a_form_here(tmp_path: Path, capsys) -> None:
    tested = {form.dataset for form in FORMS} | {"xnli", "tydiqa", "mmarco"}
    assert tested == {name for name in DATASETS if "." not in name and not name.startswith("wiki_")}
    assert tested < set(listed(capsys, tmp_path))


def test_several_treebanks_and_their_copies(tmp_path: Path) -> None:
    more = CONLLU + "\n1\tYes\t_\tINTJ\t_\t_\t0\t_\t_\t_\n"
    for name, text in (("ewt", CONLLU), ("gum", more), ("copy", CONLLU)):
        for split in ("train", "dev"):
            write(tmp_path / f"UD-{name}/en_{name}-ud-{split}.conllu", text)
    found = examples("udpos", "train", tmp_path)
    assert len(found) == 3 and (["Yes"], ["INTJ"]) in found  # byte-identical copies count once


def test_shards_all_or_none(tmp_path: Path) -> None:
    folder = tmp_path / "hub/stanfordnlp/snli/plain_text"
    write(hub_file(folder, "train", 0, 2), [{**NLI_ROW, "label": 0}])
    write(hub_file(folder, "validation"), [NLI_ROW])
    fails(lambda: find("snli", tmp_path), "expected 2 files train-*", "found 1")
    write(hub_file(folder, "train", 1, 2), [NLI_ROW])
    assert [label for _, _, label in examples("snli", "train", tmp_path)] == ["entailment", "contradiction"]


def test_the_first_folder_that_has_all_of_it(tmp_path: Path) -> None:
    form = next(form for form in FORMS if form.dataset == "pawsx")
    part, whole, empty = tmp_path / "part", tmp_path / "whole", tmp_path / "empty"
    empty.mkdir()
    form.write(whole)
    write(part / form.dev[0], form.content)
    fails(lambda: find("pawsx", part), "pawsx: ", "part", "is there, but no train-*.parquet in it")
    found = find("pawsx", empty, part, whole)
    assert "whole/" in found.origin and found.remark.startswith("passed over: dataset pawsx")
    assert find("pawsx", whole, part).remark == ""
    fails(lambda: find("pawsx", tmp_path / "nowhere"), "no such folder")


def test_copies_of_a_file_and_rivals(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        for split in ("train", "dev"):
            write(tmp_path / folder / f"snli_1.0_{split}.jsonl", NLI_LINES[:1])
    assert examples("snli", "train", tmp_path) == [NLI_PAIR]  # copies of one file
    write(tmp_path / "two/snli_1.0_train.jsonl", NLI_LINES)
    names = ("one/snli_1.0_train.jsonl", "two/snli_1.0_train.jsonl")
    fails(lambda: find("snli", tmp_path), "several different files", *names)
    (tmp_path / "two/snli_1.0_dev.jsonl").unlink()  # a folder that holds only some of the files is no rival
    assert examples("snli", "train", tmp_path) == [NLI_PAIR]


@pytest.mark.real
def test_real_upstream_files_give_what_the_hub_gives(shared: Path, tmp_path: Path) -> None:
    """As far as the samples hold the same rows in both forms."""
    raw, hub = shared / "data/raw", shared / "data/hub"
    for name in ("mnli", "snli", "anli", "qqp", "hellaswag", "ccg", "cosmosqa", "commonsenseqa", "panx", "pawsx"):
        assert examples(name, "train", raw) and examples(name, "dev", raw), name
    assert examples("commonsenseqa", "dev", hub) == examples("commonsenseqa", "dev", raw)
    assert examples("cosmosqa", "dev", hub)[-1] == examples("cosmosqa", "dev", raw)[-1]
    assert examples("udpos", "train", raw / "udpos") == examples("udpos", "train", hub)[:400]
    upstream = {(e[1], e[2]): e[3] for e in examples("tydiqa", "train", raw / "tydiqa/tydiqa-goldp-v1.1-train")}
    both = [e for e in examples("tydiqa", "train", hub) if (e[1], e[2]) in upstream]
    assert len(both) > 300 and all(upstream[e[1], e[2]] == e[3] for e in both)
    (tmp_path / "train-v1.1.json").symlink_to(raw / "xquad/xquad.en.json")  # SQuAD's dev set
    (tmp_path / "dev-v1.1.json").symlink_to(raw / "squad/squad_fixture.json")
    assert examples("squad_v1", "train", tmp_path)[:1000] == examples("squad_v1", "train", hub)
