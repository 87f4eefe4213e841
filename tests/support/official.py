"""The official preprocessing and scorer of XTREME and XTREME-R, written independently from their description.

google-research/xtreme at 838c13b, `utils_preprocess.py` and `evaluate.py`: from the files of the original publishers
`gold_rows` makes the rows of the official test file, in its order and with their gold labels, and `score` compares a
prediction file with them as the scorer does.
"""

import json
from pathlib import Path
from typing import Any

from seqeval.metrics import f1_score

from common.languages import ISO3, TYDIQA_NAMES

QA_FILES = {
    "xquad": "xquad/xquad.{code}.json",
    "mlqa": "mlqa/MLQA_V1/test/test-context-{code}-question-{code}.json",
    "tydiqa": "tydiqa/tydiqa-goldp-v1.1-dev/tydiqa-goldp-dev-{tydi}.json",
}
TOP = 20


def gold_rows(target: str, code: str, upstream: Path) -> list[Any]:
    """Rows of `test-{code}` with their gold, from the upstream files:

    xnli, pawsx: (text, text, label); udpos, panx: [(word, tag), ...] a sentence; tatoeba: (English sentence, its line
    from 0 in LASER's file); bucc: (id, English id); xcopa, mewslix: JSON objects; question answering: SQuAD's articles.
    """
    if target == "xnli":
        fields = [line.split("\t") for line in _lines(upstream / "XNLI-1.0/xnli.test.tsv")[1:]]
        return [(f[6], f[7], f[1].replace("contradictory", "contradiction")) for f in fields if f[0] == code]
    if target == "pawsx":
        return [tuple(line.split("\t")[1:]) for line in _lines(upstream / f"x-final/{code}/test_2k.tsv")[1:]]
    if target == "udpos":
        # Every treebank's file is copied into one folder per language; `sorted(files)` there compares file names.
        files = sorted(upstream.rglob(f"{code}_*-ud-test.conllu"), key=lambda file: file.name)
        return [sentence for file in files for sentence in _fused(_lines(file))]
    if target == "panx":
        return [
            [tuple(line.partition(":")[2].split("\t")) for line in block.split("\n")]
            for block in (upstream / f"panx/{code}/test").read_text("utf-8").strip("\n").split("\n\n")
        ]
    if target == "tatoeba":
        english = [line.strip() for line in _lines(upstream / f"tatoeba.{ISO3[code]}-eng.eng")]
        return sorted(((text, line) for line, text in enumerate(english)), key=lambda row: row[0])
    if target == "bucc":  # the shared task's training set
        return [tuple(line.split("\t")) for line in _lines(upstream / f"{code}-en/{code}-en.training.gold")]
    if target == "xcopa":
        return [json.loads(line) for line in _lines(upstream / f"xcopa/{code}/test.{code}.jsonl")]
    if target == "mewslix":
        rows = [json.loads(line) for line in _lines(upstream / "wikinews_mentions-test.jsonl")]
        return [row for row in rows if row["context"]["language"] == code]
    path = upstream / QA_FILES[target].format(code=code, tydi=TYDIQA_NAMES.get(code))
    return list(json.loads(path.read_text("utf-8"))["data"])


def score(target: str, rows: list[Any], predicted: Path) -> float:
    """The scorer's headline figure of one language, in percent; `AssertionError` where it refuses the file.

    Question answering: a question is right if its answer is a gold text letter by letter, which EM and F1 call right
    too; how they normalise is tested with `eval.score`.
    """
    text = predicted.read_text(encoding="ascii")  # the scorer opens files in the locale's encoding
    if target == "bucc":
        found, gold = {tuple(line.split("\t")) for line in text.splitlines()}, set(rows)
        right = len(found & gold)
        return 100 * 2 * right / (len(found) + len(gold))
    if target == "mewslix":
        wanted = {m["example_id"]: m["entity_id"] for row in rows for m in row["mentions"]}
        ranked = {key: found[:TOP] for key, found in json.loads(text).items()}
        places = [[*ranked.get(key, ()), one].index(one) + 1 for key, one in wanted.items()]
        return _percent([1 / place if place <= TOP else 0.0 for place in places])
    if target in QA_FILES:
        said = json.loads(text)
        asked = [qa for article in rows for paragraph in article["paragraphs"] for qa in paragraph["qas"]]
        return _percent([said.get(qa["id"]) in [answer["text"] for answer in qa["answers"]] for qa in asked])
    if target in ("udpos", "panx"):
        predictions = [block.split("\n") for block in text.removesuffix("\n").split("\n\n")]
        tags = [[tag for _, tag in sentence] for sentence in rows]
        assert [len(s) for s in predictions] == [len(s) for s in tags], f"{target}: sentences of another length"
        if target == "udpos":  # seqeval of 2020 took the whole tag as the type of a chunk (docs/protocol.md)
            predictions, tags = ([[f"B-{tag}" for tag in s] for s in side] for side in (predictions, tags))
        return 100 * float(f1_score(tags, predictions))
    lines = [json.loads(line)["label"] for line in text.splitlines()] if target == "xcopa" else text.splitlines()
    gold = [row["label"] if target == "xcopa" else str(row[-1]) for row in rows]
    assert len(lines) == len(gold), f"{target}: {len(lines)} lines, expected {len(gold)}"
    return _percent([line == label for line, label in zip(lines, gold, strict=True)])


def _percent(values: list[Any]) -> float:
    return 100 * sum(values) / len(values)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")


def _fused(lines: list[str]) -> list[list[tuple[str, str]]]:
    """Sentences of a CoNLL-U file with multi-word tokens as one word, which has the tag of its highest part.

    Sentences of which a licence withholds all words but one are left out. Here the highest part is the one whose head
    lies outside of the token; the test's treebanks have exactly one.
    """
    found = []
    for block in "\n".join(lines).split("\n\n"):
        rows = [line.split("\t") for line in block.strip("\n").split("\n") if not line.startswith("#")]
        spans = {int(a): int(b) for a, dash, b in (row[0].partition("-") for row in rows) if dash}
        words = {int(row[0]): row for row in rows if row[0].isdecimal()}
        inside = {n for first, last in spans.items() for n in range(first + 1, last + 1)}
        sentence = []
        for n in sorted(words.keys() - inside):
            span = range(n, spans.get(n, n) + 1)
            (tag,) = {words[part][3] for part in span if int(words[part][6]) not in span}
            form = next(row[1] for row in rows if row[0].partition("-")[0] == str(n))
            sentence.append((form.replace("\u200c", "").replace(" ", ""), tag))
        blanks = sum(word == "_" for word, _ in sentence)
        if not blanks or blanks < len(sentence) - 1:
            found.append(sentence)
    return found
