"""The official scorer of XTREME and XTREME-R, `evaluate.py` of google-research/xtreme at 838c13b, written anew."""

import json
from pathlib import Path
from typing import Any

from seqeval.metrics import f1_score

QA_FILES = {
    "xquad": "xquad/xquad.{code}.json",
    "mlqa": "mlqa/MLQA_V1/test/test-context-{code}-question-{code}.json",
    "tydiqa": "tydiqa/tydiqa-goldp-v1.1-dev/tydiqa-goldp-dev-{tydi}.json",
}
TOP = 20


def score(target: str, rows: list[Any], predicted: Path) -> float:
    """The scorer's headline score of one language, in percent; `AssertionError` where it refuses the file.

    `rows`: of the official test file, with their gold:
    xnli, pawsx: (text, text, label); udpos, panx: [(word, tag), ...] a sentence; tatoeba: (English sentence, its line
    from 0 in LASER's file); bucc: (id, English id); xcopa, mewslix: JSON objects; question answering: SQuAD's articles.

    Question answering: a question is right if its answer is a gold text letter by letter, which EM and F1 call right
    too; how they normalise is tested with `eval.score`.
    """
    text = predicted.read_text(encoding="ascii")  # the scorer opens files in the locale's encoding
    if target == "bucc":
        found, gold = {tuple(line.split("\t")) for line in text.splitlines()}, set(rows)
        return 100 * 2 * len(found & gold) / (len(found) + len(gold))
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
