"""Machine-translated training data: what counts, on the toy world's exact translator and on one that spoils markers;
mechanics, on random models of every family.
"""

import json
import os
import random
import re
import signal
from collections import Counter
from pathlib import Path

import pytest

from data_prep.__main__ import main
from data_prep.translation.checks import failure
from data_prep.translation.families import FAMILIES
from data_prep.translation.seq2seq import Seq2Seq
from data_prep.translation.texts import Texts
from examples.toyworld.pairs import NLI_LABELS
from examples.toyworld.targets import xnli, xnli_meanings, xquad, xquad_meanings
from examples.toyworld.translator import EXACT
from mtl.run.export import model_card
from mtl.run.setup import read
from tasks.base import LeftOut
from tasks.registry import TASK_TYPES
from tests.support import translation_models
from tests.support.launch import program, run, start, wait_until
from tests.support.rows import fails, run_config, write

TOY = "examples.toyworld.translator:EXACT"
LANGUAGES = ("de", "es", "ru", "hi", "sw", "ja")
QUESTIONS = xquad_meanings(7, 60)
NLI = xnli_meanings(7, 12)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MNLI with an empty text, QQP (half of whose rows are MNLI's) and SQuAD in the Hub's layout, of the toy world."""
    folder = tmp_path_factory.mktemp("world")
    rows = {
        "nyu-mll/glue/mnli": ("validation_matched", xnli(NLI, "en")),
        "nyu-mll/glue/qqp": ("validation", [
            {"question1": row["premise"], "question2": row["hypothesis"], "label": 0}
            for row in xnli([*NLI[:6], *xnli_meanings(8, 6)], "en")
        ]),
        "rajpurkar/squad/plain_text": ("validation", xquad(QUESTIONS, "en")),
    }  # fmt: skip
    for name, (dev, some) in rows.items():
        empty = [{**some[0], "premise": ""}] if "premise" in some[0] else []
        for split, part in (("train", [*empty, *some]), (dev, some[:2])):
            labels = {"label": list(NLI_LABELS)} if "premise" in part[0] else None
            write(folder / name / f"{split}-00000-of-00001.parquet", part, labels)
    return folder


def translate(world: Path, out: Path, model: str, tasks: str, *more: str) -> int:
    return main(["translate", "--tasks", tasks, "--source", str(world), "--data", str(out), "--model", model, *more])


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def cached(folder: Path) -> list[str]:
    """The lines of all translations that are kept."""
    return sorted(line for shard in folder.rglob("cache/**/*.jsonl") for line in shard.read_text().splitlines(True))


def of_questions(code: str, say) -> tuple[list[tuple], Counter[str]]:
    """(row, its truth) of the questions whose translation by `say` is kept, and why the others are not."""
    kept, reasons = [], Counter()

    def lookup(text: str) -> str:
        found = say(text, EXACT.translate([text], "en", code)[0])
        if reason := failure(text, found, code):
            raise LeftOut(reason)
        return found

    span = TASK_TYPES["span"]
    for source, truth in zip(xquad(QUESTIONS, "en"), xquad(QUESTIONS, code), strict=True):
        answers = [{"text": source["answers"]["text"][0], "start": source["answers"]["answer_start"][0]}]
        try:
            row = span.translated(span.from_row({**source, "answers": answers}, "", ()), (), Texts(code, lookup))
        except LeftOut as reason:
            reasons[str(reason)] += 1
        else:
            kept.append((row, truth))
    return kept, reasons


def right(row: dict, truth: dict) -> bool:
    (answer,) = row["answers"]
    return (answer["text"], answer["start"]) == (truth["answers"]["text"][0], truth["answers"]["answer_start"][0])


def test_an_exact_translator_loses_few_answers_and_misplaces_none() -> None:
    for code in LANGUAGES:
        kept, reasons = of_questions(code, lambda _, said: said)
        correct = sum(right(row, truth) for row, truth in kept)
        print(f"{code}: {len(kept)} of {len(QUESTIONS)} kept, {correct} of these right; {dict(reasons)}")
        assert 2 * len(kept) > len(QUESTIONS) and correct == len(kept)
        assert all((row["context"], row["question"]) == (truth["context"], truth["question"]) for row, truth in kept)


def spoiled(text: str, said: str) -> str:
    """A translation whose brackets moved to other words, are wider or narrower, dropped, doubled or turned around."""
    if "[" not in text:
        return said
    rng = random.Random(text)
    plain, words = re.sub(r"[\[\]]", "", said), list(re.finditer(r"\S+", re.sub(r"[\[\]]", "", said)))
    first, last = sorted(rng.choices(range(len(words)), k=2))
    a, b = words[first].start(), words[last].end()
    moved = f"{plain[:a]}[{plain[a:b]}]{plain[b:]}"
    return rng.choice([
        moved, moved, moved, moved, plain, said.replace("[", ""), said.replace("]", ""), f"{said} {said}",
        said.replace("[", "[[").replace("]", "]]"), said.translate(str.maketrans("[]", "][")), f"[]{plain}",
    ])  # fmt: skip


def test_no_spoiled_marker_gives_a_wrong_answer() -> None:
    wrong, accepted, reasons = 0, 0, Counter()
    for code in LANGUAGES:
        kept, why = of_questions(code, spoiled)
        accepted, wrong = accepted + len(kept), wrong + sum(not right(row, truth) for row, truth in kept)
        reasons += why
    print(f"{accepted} of {len(LANGUAGES) * len(QUESTIONS)} kept, {wrong} of these wrong; {dict(reasons)}")
    assert not wrong and {"markers dropped", "markers doubled or broken"} < set(reasons)


def test_from_the_command_to_the_model_card(world, tmp_path, tiny_tokenizer_dir, capsys) -> None:
    assert translate(world, tmp_path / "data", TOY, "squad_v1", "--to", "sw", "--dry-run") == 0
    printed = re.search(r"([\d,]+) source tokens: about [\d.e-]+ hours at [\d,]+ tokens/s", capsys.readouterr().out)
    assert printed and int(printed[1].replace(",", "")) > 100 and not (tmp_path / "data/translated/squad_v1").exists()
    for more in (["squad_v1", "--to", "sw,ru"], ["mnli", "--to", "sw"], ["mnli", "--to", "sw,ru", "--limit", "3"]):
        assert translate(world, tmp_path / "data", TOY, *more) == 0
    printed = capsys.readouterr().out
    for task in ("mnli", "squad_v1_xtreme"):
        assert f'{{"task": "{task}", "language": "ru"}}' in printed and printed.count(" hours at ") == 3
    truth = [(row["premise"], row["hypothesis"], NLI_LABELS[row["label"]]) for row in xnli(NLI, "sw")][:3]
    folder = tmp_path / "data/translated/mnli/sw"
    rows = lines(folder / "train.jsonl")
    assert [(row["text_a"], row["text_b"], row["label"]) for row in rows] == truth
    assert json.loads((folder / "translation.json").read_text())["train"]["left_out"] == {"empty text": 1}

    task = {"task": "mnli", "languages": ["en", "sw"], "translated": str(tmp_path / "data/translated")}
    config = run_config(tmp_path, tiny_tokenizer_dir, [task])
    assert main(["--config", config, "--source", str(world), "--jobs", "1"]) == 0
    setup = read(config, [])
    (found,) = setup.tasks
    assert [(source.language, source.rows) for source in found.sources] == [("en", len(NLI)), ("sw", 3)]
    assert len(found.dev) == 2 and [one.manifest["language"] for one in found.prepared] == ["en", "sw"]
    assert f"; translated into sw by toyworld 1 ({EXACT.licence}) |" in model_card(setup, 0, {})
    (folder / "translation.json").unlink()  # as when the command was stopped while it wrote the rows
    fails(lambda: read(config, []), "no training data in sw", str(folder.parent))


def test_choices_that_become_equal_are_left_out() -> None:
    choice = TASK_TYPES["choice"]
    example = choice.from_row({"prompt": "p", "choices": ["fast", "quick"], "label": 1}, "", ())
    assert choice.translated(example, (), Texts("de", str.upper))["label"] == 1
    with pytest.raises(LeftOut, match="no longer differ"):
        choice.translated(example, (), Texts("de", lambda text: "Schnell"))


@pytest.mark.parametrize(
    ("source", "text", "code", "reason"),
    [
        ("The dog sleeps in the garden.", "Der Hund schläft im Garten.", "de", ""),
        ("The dog sleeps in the garden.", "小狗睡在花园里。", "zh", ""),
        ("He lives here, e.g. in winter.", "Er lebt hier, z. B. im Winter.", "de", ""),
        ("The dog sleeps in the garden.", None, "de", "not finished"),
        ("The dog sleeps in the garden.", "the dog  sleeps in the garden.", "de", "copies"),
        ("The dog sleeps in the garden and the cat on the roof of it.", "Hund.", "de", "too short"),
        ("The dog.", "Der Hund schläft im Garten und die Katze auf dem Dach des Hauses.", "de", "too long"),
        ("The dog sleeps in the garden.", "Der Hund und und und und und und schläft.", "de", "repeats"),
        ("The dog sleeps in the garden.", "Der Hund. Schläft. Im. Garten.", "de", "number of sentences"),
    ],
)  # fmt: skip
def test_checks(source, text, code, reason) -> None:
    found = failure(source, text, code)
    assert reason in found and bool(reason) == bool(found)


def test_what_cannot_be_translated_is_said_in_one_line(world, tmp_path) -> None:
    from data_prep.translation.command import main as command

    for arguments, *parts in (
        (["--tasks", "udpos", "--to", "de", "--model", TOY], "udpos", "classify, span, choice"),
        (["--tasks", "nli_26lang", "--to", "de", "--model", TOY], "only English"),
        (["--tasks", "mnli", "--to", "zh", "--model", TOY], "--to zh"),
        (["--tasks", "mnli", "--to", "de", "--model", str(tmp_path)], str(tmp_path), "translation model"),
        (["--tasks", "mnli", "--to", "de", "--model", "examples.toyworld.translator:NONE"], "MODULE:ATTRIBUTE"),
    ):
        fails(lambda arguments=arguments: command([*arguments, "--source", str(world)]), *parts)


MODELS = (translation_models.m2m100, translation_models.nllb, translation_models.madlad)


@pytest.mark.parametrize(("make", "family"), zip(MODELS, FAMILIES, strict=True))
def test_where_each_family_names_the_languages(make, family, tmp_path, monkeypatch) -> None:
    system = Seq2Seq(str(make(tmp_path / "model")), 2)
    assert system.licence == family.licence
    system.check("en", "he")
    fails(lambda: system.check("en", "xx"), "--to xx")
    generate, seen = system._model.generate, {}

    def spy(**given):
        seen.update(given, made=generate(**given))
        return seen["made"]

    monkeypatch.setattr(system._model, "generate", spy)
    assert len(system.translate(["a small dog", "the river near the old house"], "en", "he")) == 2
    read, made = (system._tokenizer.convert_ids_to_tokens(seen[name][0]) for name in ("input_ids", "made"))
    if make is translation_models.madlad:
        assert "<2iw>" in read
    else:
        source, target = ("__en__", "__he__") if make is translation_models.m2m100 else ("eng_Latn", "heb_Hebr")
        assert source in read and made[1] == target


def test_killed_and_reused(world, tmp_path, monkeypatch) -> None:
    log, out = tmp_path / "log", tmp_path / "out"
    monkeypatch.setenv("TRANSLATION_MODEL", str(translation_models.m2m100(tmp_path / "model")))
    monkeypatch.setenv("TRANSLATION_LOG", str(log))
    model = "tests.support.translation_models:LOGGED"
    command = ["-m", "data_prep", "translate", "--tasks", "mnli", "--to", "de", "--source", world, "--data", out]
    more = ["--model", model, "--batch-tokens", "40"]
    (process,) = start([*command, *more], 1, tmp_path / "printed", tmp_path / "errors")
    wait_until(lambda: log.exists() and len(log.read_text().splitlines()) >= 4, 120, (tmp_path / "errors").read_text)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    batches = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("]")]
    kept = [line for line in cached(out) if line.endswith("\n")]
    assert sum(map(len, batches[:-1])) <= len(kept) <= sum(map(len, batches)) and not (out / "translated/mnli").exists()

    log.unlink()
    assert translate(world, out, model, "mnli", "--to", "de", "--batch-tokens", "40") == 0
    again = [text for batch in lines(log) for text in batch]
    texts = {text for row in xnli(NLI, "en") for text in (row["premise"], row["hypothesis"])}
    assert len(again) == len(set(again)) == len(texts) - len(kept) and len(again) > 0
    log.unlink()
    assert translate(world, out, model, "qqp", "--to", "de") == 0
    new = {text for row in xnli(xnli_meanings(8, 6), "en") for text in (row["premise"], row["hypothesis"])}
    assert sorted(text for batch in lines(log) for text in batch) == sorted(new - texts)


@pytest.mark.slow
def test_two_processes_of_accelerate_give_what_one_gives(world, tmp_path) -> None:
    one, two, model = tmp_path / "one", tmp_path / "two", translation_models.m2m100(tmp_path / "model")
    command = ["-m", "data_prep", "translate", "--tasks", "mnli", "--to", "de,ja", "--source", world, "--model", model]
    command += ["--batch-tokens", 1, "--data"]  # each sentence by itself, whichever others its process has
    program(*command, one)
    run("accelerate", "launch", "--multi_gpu", "--num_processes", 2, "--main_process_port", 0, *command, two)
    processes = {path.stem.partition("-")[2] for path in two.rglob("cache/**/*.jsonl")}
    assert len(processes) == 2 and cached(one) == cached(two)
    rows = [{p.relative_to(out): p.read_bytes() for p in out.glob("translated/mnli/*/*.json*")} for out in (one, two)]
    assert rows[0] == rows[1] and len(rows[0]) == 6
