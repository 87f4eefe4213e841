"""A submission written from gold labels scores 100 officially: every target, language and layout of files."""

import csv
import io
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.labels import NER, NLI, UPOS
from common.languages import ISO3, TYDIQA_NAMES, UD_NAMES
from eval import submission
from eval.driver.suite import score_job
from eval.inference.artifacts import Job, Options
from eval.metrics import score_target
from eval.read import read
from eval.rows import UNLABELLED, Corpora, Loaded, joined
from eval.suites import LANGUAGES, TARGETS, Source, groups, parse_data
from tasks.classify.data import Classify
from tasks.span.data import Span
from tests.support import official
from tests.support.rows import fails, write

Rows = list[Any]
WORDS = ("ab", "Cd", '"ef', "gh\u2028i", "jk\x85", "l'm", "«no»", "pq", "Öst", "st")  # no line ends but to splitlines


def sentence(rng: random.Random, count: int = 4) -> str:
    return " ".join(rng.choices(WORDS, k=count))


def put_lines(path: Path, lines: list[Any]) -> None:
    write(path, "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))


def table(rows: Rows, quoted: bool = False) -> str:
    if not quoted:
        return "".join("\t".join(row) + "\n" for row in rows)
    text = io.StringIO()
    csv.writer(text, delimiter="\t").writerows(rows)  # as XTREME writes: quotes, and lines that end in CRLF
    return text.getvalue()


# Each target's made-up data of one language, in upstream's files. The Hub's say the same: test_eval_read.py
# They return the rows of the official test file, in its order and with their gold labels, as `official.score` takes
# them: what utils_preprocess.py of google-research/xtreme at 838c13b makes of these files.


def pairs(folder: Path, target: str, code: str, rng: random.Random) -> Rows:
    labels = NLI if target == "xnli" else ("0", "1")
    rows = [(sentence(rng), sentence(rng), rng.choice(labels)) for _ in range(9)]
    rows[3] = ("", *rows[3][1:])  # an empty text counts as a row
    if target == "xnli":
        path = folder / "XNLI-1.0/xnli.test.tsv"
        head = ["language", "gold_label", *(f"{n}_parse" for n in range(4)), "sentence1", "sentence2", "pairID"]
        old = path.read_text("utf-8") if path.is_file() else table([head])
        lines = [[code, label, *"----", a, b, str(n)] for n, (a, b, label) in enumerate(rows)]
        write(path, old + table(lines))
    else:
        lines = [["id", "sentence1", "sentence2", "label"], *([str(n), *row] for n, row in enumerate(rows, 1))]
        write(folder / f"x-final/{code}/test_2k.tsv", table(lines))
    return rows


def treebanks(folder: Path, target: str, code: str, rng: random.Random) -> Rows:
    """Three treebanks, whose folders and files sort differently, with multi-word tokens and withheld sentences."""
    found: dict[str, Rows] = {}
    for name in ("PUD", "ParTUT", "HSE"):
        lines = []
        found[name.lower()] = sentences = []
        for number in range(4):
            lines.append(f"# sent_id = {number}")
            words = [(rng.choice(WORDS), rng.choice(UPOS)) for _ in range(5)]
            if number == 2:
                words = [("_", tag) for _, tag in words]
            else:  # a multi-word token has the tag of its highest part, here the second
                sentences.append([words[0], ("zumB", words[2][1]), *words[3:]])
            for n, (form, tag) in enumerate(words, 1):
                if n == 2 and number != 2:
                    lines.append("\t".join(["2-3", "zum \u200cB", *"________"]))
                head = 3 if n == 2 else 0 if n == 1 else 1
                lines.append("\t".join([str(n), form, "_", tag, "_", "_", str(head), "_", "_", "_"]))
            lines += ["5.1\tx" + "\t_" * 8] * (number == 3) + [""]
        put_lines(folder / f"UD_{UD_NAMES.get(code, code)}-{name}/{code}_{name.lower()}-ud-test.conllu", lines)
    return [sentence for name in sorted(found) for sentence in found[name]]  # by the name of the file


def entities(folder: Path, target: str, code: str, rng: random.Random) -> Rows:
    rows = [[(f"{rng.choice(WORDS)}:{n}", rng.choice(NER) if n else "B-PER") for n in range(6)] for _ in range(5)]
    write(folder / f"panx/{code}/test", "\n".join(table([(f"{code}:{w}", t) for w, t in row]) for row in rows))
    return rows


def questions(folder: Path, target: str, code: str, rng: random.Random) -> Rows:
    name = TYDIQA_NAMES[code] if target == "tydiqa" else code
    articles: Rows = []
    for number in range(3):
        words = sentence(rng, 8).split(" ")
        context, paragraph = " ".join(words), {"context": " ".join(words), "qas": []}
        for n in range(3):
            answer = " ".join(words[n : n + 2])
            begins = context.index(answer)
            asked = {"id": f"{name}-{number}-{n}", "question": sentence(rng)}
            paragraph["qas"].append({**asked, "answers": [{"text": answer, "answer_start": begins}]})
        articles.append({"title": "t", "paragraphs": [paragraph]})
    path = folder / official.QA_FILES[target].format(code=code, tydi=TYDIQA_NAMES.get(code))
    write(path, json.dumps({"data": articles, "version": "1.1"}))
    return articles


def corpora(folder: Path, target: str, code: str, rng: random.Random) -> Rows:
    for split, count in (("sample", 12), ("training", 20)):
        numbers = zip(rng.sample(range(count), 8), rng.sample(range(count), 8), strict=True)
        gold = [(f"{code}-{a:09}", f"en-{b:09}") for a, b in numbers]
        for suffix in (code, "en"):
            rows = [(f"{suffix}-{n:09}", f"{suffix} {split} {n}") for n in range(count)]
            write(folder / f"{code}-en/{code}-en.{split}.{suffix}", table(rows))
        write(folder / f"{code}-en/{code}-en.{split}.gold", table(gold))
    return gold  # of the shared task's training set


def translations(folder: Path, target: str, code: str, rng: random.Random) -> Rows:
    rows = [(f"{sentence(rng, 2)}" + " " * (n % 2), f"{code} {n}") for n in range(60)]  # some English ones are equal
    for suffix, side in (("eng", 0), (ISO3[code], 1)):
        put_lines(folder / f"tatoeba.{ISO3[code]}-eng.{suffix}", [row[side] for row in rows])
    return sorted(((english.strip(), line) for line, (english, _) in enumerate(rows)), key=lambda row: row[0])


def choices(folder: Path, target: str, code: str, rng: random.Random) -> Rows:
    fixed = {"choice1": "a", "choice2": "b", "question": "cause"}
    rows = [{"premise": sentence(rng), **fixed, "label": rng.randrange(2), "idx": n} for n in range(60)]
    put_lines(folder / f"xcopa/{code}/test.{code}.jsonl", rows)
    return rows


def mentions(folder: Path, target: str, code: str, rng: random.Random) -> Rows:
    path, pool = folder / "wikinews_mentions-test.jsonl", folder / "candidate_set_entities.jsonl"
    old, known = ([json.loads(x) for x in p.read_text().splitlines()] if p.is_file() else [] for p in (path, pool))
    context = {"language": code, "text": "One two.", "sentence_spans": [{"start": 0, "end": 8}]}
    some = [
        {"example_id": f"{code}{n}", "mention_span": {"start": 0, "end": 3, "text": "One"}, "entity_id": f"Q{code}{n}"}
        for n in range(5)
    ]
    entities = [{"entity_id": m["entity_id"], "description": "x", "description_language": "en"} for m in some]
    rows = [{"context": context, "mentions": part} for part in (some[:2], some[2:])]
    put_lines(path, old + rows)
    put_lines(pool, known + entities)
    return rows


MAKE: dict[str, Callable[[Path, str, str, random.Random], Rows]] = {
    "xnli": pairs, "pawsx": pairs, "udpos": treebanks, "panx": entities, "xquad": questions, "mlqa": questions,
    "tydiqa": questions, "bucc": corpora, "tatoeba": translations, "xcopa": choices, "mewslix": mentions,
}  # fmt: skip


def xtreme(folder: Path, target: str, code: str, upstream: Path, rows: Rows) -> None:
    """The files of XTREME's own download, made of the upstream ones, with the labels that it takes out of tests."""
    if target in ("xnli", "pawsx"):
        write(folder / target / f"test-{code}.tsv", table(rows, quoted=True))
    elif target in ("udpos", "panx"):
        write(folder / target / f"test-{code}.tsv", "\n".join(table(row) for row in rows))
    elif target in official.QA_FILES:
        name = f"tydiqa.goldp.{code}.dev.json" if target == "tydiqa" else official.QA_FILES[target].format(code=code)
        write(folder / target / Path(name).name, json.dumps({"version": "1.1", "data": rows}))
    elif target == "bucc":
        for path in (upstream / f"{code}-en").iterdir():
            name = path.name.replace("training", "test").replace("sample", "dev")
            write(folder / "bucc2018" / name, path.read_text("utf-8"))
    elif target == "tatoeba":
        put_lines(folder / f"tatoeba/{code}-en.en", [text for text, _ in rows])
        put_lines(folder / f"tatoeba/test-{code}.tsv", [str(line) for _, line in rows])
        other = upstream / f"tatoeba.{ISO3[code]}-eng.{ISO3[code]}"
        write(folder / f"tatoeba/{code}-en.{code}", other.read_text("utf-8"))
    elif target == "xcopa":
        put_lines(folder / f"xcopa/test-{code}.jsonl", rows)
    else:
        put_lines(folder / f"mewslix/wikinews_mentions/test-{code}.jsonl", rows)
        pool = upstream / "candidate_set_entities.jsonl"
        write(folder / "mewslix" / pool.name, pool.read_text("utf-8"))


def withhold(folder: Path, target: str, code: str) -> None:
    """Takes the labels out of the tests of `xtreme`, as XTREME's download script does; a labelled copy becomes dev."""
    if target in ("bucc", "tatoeba"):
        for path in [*folder.rglob("*.test.gold"), *folder.rglob("test-*.tsv")]:
            path.unlink()
    for path in sorted(folder.rglob("*.json")):
        blank = re.sub(r'"answers": \[.*?\]', '"answers": [{"text": "", "answer_start": 0}]', path.read_text("utf-8"))
        path.write_text(blank, encoding="utf-8")
    for path in sorted(folder.rglob("test-*.tsv")):
        whole = path.read_bytes().decode()
        write(path.with_name(path.name.replace("test", "dev")), whole)
        end = "\r\n" if target in ("xnli", "pawsx") else "\n"
        lines = [line.rpartition("\t")[0] for line in whole.removesuffix(end).split(end)]
        write(path, "".join(line + end for line in lines))
    for path in sorted(folder.rglob("test-*.jsonl")):
        put_lines(path, [{**json.loads(line), "label": 0} for line in path.read_text("utf-8").splitlines()])


def predict_gold(job: Job, loaded: Loaded, suffix: str = "") -> None:
    """The finished pieces of a model that is always right: gold labels, or vectors that are equal where they should."""
    folder = Path(job.folder)
    if loaded.pool:
        ids = [candidate.id for candidate in loaded.pool]
        np.save(folder / "pool.npy", np.eye(len(ids), dtype=np.float32))
    for code, rows in loaded.rows.items():
        if loaded.pool:
            np.save(folder / f"{code}.npy", np.eye(len(ids), dtype=np.float32)[[ids.index(q.gold[0]) for q in rows]])
        elif job.target == "tatoeba":
            for side in ("en", "xx"):
                # Without labels the English side is in the order of the official test file.
                texts = [row.english if suffix and side == "en" else "" for row in rows]
                one_hot = np.eye(len(rows), dtype=np.float32)[np.argsort(texts, kind="stable")]
                np.save(folder / f"{code}{suffix}.{side}.npy", one_hot)
        elif isinstance(rows[0], Corpora):
            for one in rows:
                partner = dict(one.gold)
                english = [one.sides["en"].ids[n] for n in one.sides["en"].distinct()]
                axes = {name: n for n, name in enumerate([*english, *one.sides["xx"].ids])}
                for side, names in (("en", english), ("xx", [partner.get(name, name) for name in one.sides["xx"].ids])):
                    vectors = np.eye(len(axes), dtype=np.float32)[[axes[name] for name in names]] + 0.1
                    np.save(folder / f"{code}{suffix}.{one.split}.{side}.npy", vectors)
        else:
            labels = score_target.labels_of(TARGETS[job.target])
            said = [
                labels[row.label] if isinstance(row, Classify)
                else row.answers[0][0] if isinstance(row, Span)
                else getattr(row, "tags", None) or row.label
                for row in rows
            ]  # fmt: skip
            (folder / f"{code}{suffix}.json").write_text(json.dumps(said), encoding="utf-8")


def gold_figures(target: str, loaded: Loaded, folder: Path, tests: Loaded | None = None) -> score_target.TargetScores:
    job = Job(target, "", None, None, "mean", 0, 0, folder, Options())
    folder.mkdir()
    predict_gold(job, loaded)
    if tests is not None:
        predict_gold(job, tests, f".{UNLABELLED}")
    names = {label: label for label in score_target.labels_of(TARGETS[target])}
    return score_job(TARGETS[target], job, loaded, names)


@pytest.mark.parametrize("target", MAKE)
def test_gold_labels_score_100(tmp_path: Path, target: str) -> None:
    upstream, codes, gold = tmp_path / "upstream", sorted(TARGETS[target].of_suite("both")), {}
    for code in codes:
        gold[code] = MAKE[target](upstream, target, code, random.Random(f"{target} {code}"))
        xtreme(tmp_path / "xtreme", target, code, upstream, gold[code])
    for layout in ("upstream", "xtreme"):
        loaded = read(TARGETS[target], tuple(codes), str(tmp_path / layout))
        found = gold_figures(target, loaded, tmp_path / f"job {layout}")
        assert sorted(found.details) == codes
        folder = tmp_path / f"submission {layout}"
        submission.replace(folder, target, found.submission)
        for suite, targets in LANGUAGES.items():
            said = submission.missing(folder / suite, suite) if target in targets and found.submission else []
            assert all("nothing there" in one and not one.startswith(target) for one in said)
            paths = {code: submission.path_of(folder / suite, target, code) for code in targets.get(target, ())}
            reached = {code: official.score(target, gold[code], path) for code, path in paths.items()}
            assert reached == dict.fromkeys(paths, 100), (layout, suite)


@pytest.mark.parametrize("target", sorted(MAKE.keys() - {"mewslix"}))
def test_a_test_without_labels_is_submitted(tmp_path: Path, target: str) -> None:
    """XTREME's own download: what is predicted for its tests scores 100 officially, and here dev alone is scored."""
    code = TARGETS[target].of_suite("both")[0]
    suite = next(iter(TARGETS[target].languages))
    upstream, folder = tmp_path / "upstream", tmp_path / "xtreme"
    gold = MAKE[target](upstream, target, code, random.Random(target))
    xtreme(folder, target, code, upstream, gold)
    tests = read(TARGETS[target], (code,), str(folder))
    withhold(folder, target, code)
    loaded = read(TARGETS[target], (code,), str(folder))
    assert list(loaded.unlabelled) == [code] and any("labels withheld" in note for note in loaded.notes)
    found = gold_figures(target, loaded, tmp_path / "job", tests)
    has_dev = target in ("xnli", "pawsx", "udpos", "panx", "bucc")
    assert loaded.dev == tuple(found.details) == ((code,) if has_dev else ())
    submission.replace(tmp_path / "submission", target, found.submission)
    path = submission.path_of(tmp_path / "submission" / suite, target, code)
    assert official.score(target, gold, path) == 100


def test_names_are_the_official_scorers_and_what_a_prediction_lacks(shared: Path, tmp_path: Path) -> None:
    mock = shared / "data" / "reference" / "xtreme_mock"  # labels as the scorer reads them
    of = {**LANGUAGES["xtreme"], "mewslix": LANGUAGES["xtreme-r"]["mewslix"]}
    assert {submission.path_of(mock, target, code) for target in of for code in of[target]} == {*mock.rglob("test-*")}
    path = submission.write(tmp_path, "udpos", "de", [["NOUN", None], ["VERB"]])
    assert path.read_text() == "NOUN\nO\n\nVERB\n"
    path = submission.write(tmp_path, "mewslix", "ta", {"m": [f"Q{n}" for n in range(30)]})
    assert json.loads(path.read_text()) == {"m": [f"Q{n}" for n in range(20)]}
    assert submission.write(tmp_path, "bucc", "de", []).read_text() == ""  # no pair found is a result


def test_two_releases_of_ud(tmp_path: Path) -> None:
    """Below one folder they are refused; each in its own is read for its languages."""
    for release in ("2.5", "2.7"):
        for code in ("de", "fr", "lt"):
            treebanks(tmp_path / "both" / release, "udpos", code, random.Random(release + code))
    udpos = TARGETS["udpos"]
    said = ("lt_hse-ud-test.conllu", "two different files of one name")
    fails(lambda: read(udpos, ("lt",), str(tmp_path / "both")), *said)
    old, new = (str(tmp_path / "both" / release) for release in ("2.5", "2.7"))
    sources = [parse_data(old), parse_data(f"udpos:lt,pl={new}")]
    (first, second) = groups(sources, udpos, ("de", "fr", "lt"))
    assert (first, second) == ((("lt",), [new]), (("de", "fr"), [old]))
    parts = [read(udpos, ("lt",), new), read(udpos, ("de", "fr"), old)]
    whole = joined(parts)
    assert whole.rows == {**parts[0].rows, **parts[1].rows} and whole.split == "test"


def test_data_of_one_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "udpos=c"):
        Path(name).mkdir()
    assert [parse_data(text) for text in ("a", "hub", "udpos=c", "panx=a", "udpos:lt,pl=hub")] == [
        Source("a"), Source("hub"), Source("udpos=c"), Source("a", "panx"), Source("hub", "udpos", ("lt", "pl")),
    ]  # fmt: skip
    given = [Source("a"), Source("b", "panx"), Source("hub", "udpos", ("lt",)), Source("b")]
    assert groups(given, TARGETS["panx"], ("de", "lt")) == [(("de", "lt"), ["b"])]
    fails(lambda: parse_data("nope"), "--data nope: no such folder")
    fails(lambda: parse_data("upos=a"), "unknown target 'upos'")
    fails(lambda: parse_data("udpos:lt,xx=a"), "udpos has no language 'xx'")
    fails(lambda: parse_data("lareqa:de=a"), "one pool for all languages", "--data lareqa=a")
