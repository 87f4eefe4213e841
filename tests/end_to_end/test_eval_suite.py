"""`python -m eval` in one process: scores, reports, what is reused, what is continued, and errors of one line.

By the intermediate heads (`--direct`) and by vectors; target training: test_eval_training.py and test_eval_driver.py.
"""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from sklearn.metrics import average_precision_score
from sklearn.metrics.pairwise import cosine_similarity
from tqdm import tqdm

from eval.__main__ import main
from eval.driver import results
from eval.metrics import aggregate
from eval.read import read
from eval.suites import LANGUAGES, TARGETS, by_protocol
from tests.support import masked_lm
from tests.support.eval_live import fork_programs
from tests.support.eval_run import (
    QUESTIONS,
    error_line,
    make_run,
    nearest,
    padded_vectors,
    scores_in,
    skip_reports,
    without_seconds,
    write_tests,
)
from tests.support.rows import write
from tests.support.target_files import laser, nli, squad, write_parquet
from tests.support.tokenizers_by_style import gemma

ENGLISH = ["the small dog runs", "a teacher reads a long letter", "stone bread music", "winter summer", "never always"]
GERMAN = ["der kleine Hund", "zum alten Haus", "am Fluss", "Hund Haus", "läuft"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Test data of three targets: German equals English word for word, so that its retrieval is perfect."""
    folder = tmp_path_factory.mktemp("world")
    laser(folder / "tatoeba", "deu", [(text, text) for text in ENGLISH])
    laser(folder / "tatoeba", "rus", list(zip(ENGLISH, GERMAN, strict=True)))
    write_tests(folder)
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer_dir: Path) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "first", tiny_tokenizer_dir)


@pytest.fixture
def evaluate(
    encoder: Path, world: Path, tmp_path: Path, capsys: Any, monkeypatch: Any
) -> Callable[..., tuple[dict[str, Any], set[str]]]:
    """Runs `python -m eval` into tmp_path/out: (scores.json, which targets were taken from earlier)."""
    skip_reports(monkeypatch)

    def run(suite: str, *more: object, encoder: Path = encoder, data: Path = world, code: int = 0) -> Any:
        capsys.readouterr()
        places = ("--encoder", encoder, "--data", data, "--out", tmp_path / "out")
        assert main([str(word) for word in ("--suite", suite, *places, *more)]) == code
        taken = set(re.findall(r"first: (\w+): same encoder, training, protocol and data", capsys.readouterr().err))
        return scores_in(tmp_path / "out" / ("nlu-evals" if "nlu-evals" in more else "")), taken

    return run


def test_scores_report_and_submission(encoder: Path, world: Path, tmp_path: Path, capsys: Any) -> None:
    """Test data come from the first folder that has them; what is not there is named, and no average is over a part."""
    (tmp_path / "other").mkdir()
    places = ["--data", str(tmp_path / "other"), "--data", str(world), "--out", str(tmp_path / "out")]
    assert main(["--encoder", str(encoder), "--suite", "xtreme", "--direct", *places]) == 0
    scores, printed = scores_in(tmp_path / "out"), capsys.readouterr().out
    tatoeba, xnli, xquad = (scores["targets"][name] for name in ("tatoeba", "xnli", "xquad"))
    assert tatoeba["metric"] == "accuracy" and tatoeba["languages"]["de"] == 100.0
    assert tatoeba["score"] == pytest.approx((100 + tatoeba["languages"]["ru"]) / 2)
    assert tatoeba["details"]["ru"]["n"] == 5 and tatoeba["chance"] == 20.0
    assert not tatoeba["complete"] and len(tatoeba["missing_languages"]) == 34
    assert tatoeba["supplied"] == [f"test data of {world}, as {tmp_path / 'other'} lacks them"]
    protocol = tatoeba["protocol"]
    assert (protocol["layer"], protocol["depth"], protocol["pooling"], protocol["centred"]) == (2, 4, "mean", False)
    assert xnli["protocol"]["head"] == "mnli" and xnli["chance"] == 50.0 and xnli["details"]["de"]["n"] == 4
    assert xnli["score_without_english"] == xnli["languages"]["de"]
    assert set(xquad["scores"]) == {"f1", "em"} and xquad["chance"] is None

    assert set(scores["not_run"]) == {"pawsx", "udpos", "panx", "mlqa", "tydiqa", "bucc"}
    assert all(f"--data {place}" in scores["not_run"]["bucc"] for place in (tmp_path / "other", world))
    assert "2 of 36" in printed and "have data for" in printed and "udpos, panx: not run: --direct: no" in printed
    (line,) = (line for line in printed.splitlines() if line.startswith(f"{tmp_path}/out/submission/xtreme: "))
    assert "pawsx: nothing there" in line and "xnli: no file for ar bg el" in line and "bucc2018: nothing there" in line
    assert "| ru | 5 |" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert (tmp_path / "out" / "report.html").is_file()


@pytest.mark.parametrize("centre", [False, True])
def test_accuracies_are_those_of_a_padded_loop(evaluate: Any, encoder: Path, tmp_path: Path, centre: bool) -> None:
    """Layer, pooling, centring and direction reach scores and submission."""
    pairs = [(f"{a} {b[:3]}", f"{b} {a[:9]}") for a in ENGLISH for b in GERMAN if len(a) % 2 or len(b) % 2]
    laser(tmp_path / "data", "deu", pairs)
    options = ("--layer", 3, "--pooling", "cls", *["--centre"] * centre)
    detail = evaluate("tatoeba", *options, data=tmp_path / "data")[0]["targets"]["tatoeba"]["details"]["de"]

    x, y = (padded_vectors(encoder, side, 3, "cls") for side in zip(*pairs, strict=True))
    if centre:
        x, y = x - x.mean(0), y - y.mean(0)
    found = {}
    for direction, query, index in (("en->xx", x, y), ("xx->en", y, x)):
        found[direction] = nearest(query, index)
        assert detail[direction] == pytest.approx(100 * (found[direction] == np.arange(len(pairs))).mean())
    assert centre or detail["en->xx"] != detail["xx->en"]  # so that an exchange of the two would show
    # XTREME's file: for each English sentence, in their order, the line of what it finds.
    order = sorted(range(len(pairs)), key=lambda i: pairs[i][0])
    said = (tmp_path / "out/submission/xtreme/tatoeba/test-de.tsv").read_text().split()
    assert said == [str(found["en->xx"][i]) for i in order]


@pytest.mark.parametrize("how", ["plain", "centred", "trained", pytest.param("nlu-evals", marks=pytest.mark.slow)])
def test_lareqa_is_ranked_by_vectors(evaluate: Any, encoder: Path, tmp_path: Path, monkeypatch: Any, how: str) -> None:
    """Directly as Tatoeba is, by the mean of a layer; every sentence has a question, the same in both.

    Once trained, by what was trained: without a pooler (ModernBERT), or as nlu-evals, the first token.
    """
    trained, protocol = how in ("trained", "nlu-evals"), how if how == "nlu-evals" else "xtreme"
    target = by_protocol(TARGETS["lareqa"], protocol)
    for code, texts in (("en", ENGLISH), ("de", GERMAN)):
        context, ends = ". ".join(texts), np.cumsum([len(text) + 2 for text in texts])
        breaks = [[int(end) - len(text) - 2, int(end) - 2] for text, end in zip(texts, ends, strict=True)]
        asked = {f"q{i}": [(text, breaks[i][0])] for i, text in enumerate(texts)}
        content = squad(asked, context, sentences=texts, sentence_breaks=breaks)
        for row, text in zip(content["data"][0]["paragraphs"][0]["qas"], reversed(texts), strict=True):
            row["question"] = f"{text}?"
        content["data"] += [squad({}, text)["data"][0] for text in texts if target.protocol]  # candidates: paragraphs
        write(tmp_path / f"data/xquad-r/{code}.json", content)
    centre = how == "centred"
    expected = {"layer": 3, "pooling": "mean", "centred": centre, "training_on_target": "none", "passage_length": 512}
    options = ["--direct", "--layer", 3, *["--centre"] * centre]
    if trained:
        fork_programs(monkeypatch)
        for split in ("train", "validation"):
            write_parquet(tmp_path / "data/rajpurkar/squad/plain_text", split, {**QUESTIONS, "title": ["t", "t"]})
        options = ["--prepared", tmp_path / "prepared", "--num_gpus", 1, "--set=steps=2", "--set=batch.examples=2"]
        expected = {"pooling": "the first token, length 1", "training_on_target": "English", "passage_length": 256}
    if how == "trained":
        fields = {"family": "modernbert", "max_position_embeddings": 512}
        encoder = masked_lm.checkpoint(tmp_path / "encoder", gemma(tmp_path / "tokenizer"), **fields)
    more = ["--query-prefix", "query: ", "--passage-prefix", "passage: ", "--protocol", protocol]
    scores, _ = evaluate("lareqa", *options, *more, encoder=encoder, data=tmp_path / "data")
    made = tmp_path / "out" / target.protocol / "targets" / target.training[0]
    encoder, *by = (made / "encoder", -1, "cls") if trained else (encoder, 3, "mean")
    record, loaded = scores["targets"]["lareqa"], read(target, ("de", "en"), str(tmp_path / "data"))
    assert {**expected, "query_length": 96, "passage_prefix": "passage: "}.items() <= record["protocol"].items()
    assert "max_length" not in record["protocol"]
    pool = padded_vectors(encoder, [f"passage: {candidate.text}" for candidate in loaded.pool], *by)
    for code in loaded.rows if centre else ():
        own = [candidate.language == code for candidate in loaded.pool]
        pool[own] -= pool[own].mean(0)
    for code, rows in loaded.rows.items():
        asking = padded_vectors(encoder, [f"query: {row.text}" for row in rows], *by)
        similar = cosine_similarity(asking - asking.mean(0) if centre else asking, pool)
        gold = [[candidate.id in row.gold for candidate in loaded.pool] for row in rows]
        average = np.mean([average_precision_score(*one) for one in zip(gold, similar, strict=True)])
        assert record["languages"][code] == pytest.approx(100 * average)
    assert not target.protocol or load_file(made / "heads/heads.safetensors")["lareqa_paragraphs.logit_scale"] == 20


def test_nlu_evals_is_another_protocol(encoder: Path, world: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """Last layer, first token, in a folder of its own, in no average and no submission."""
    skip_reports(monkeypatch)
    places = ["--encoder", str(encoder), "--data", str(world), "--out", str(tmp_path)]
    assert main([*places, "--protocol", "nlu-evals", "--suite", "tatoeba"]) == 0
    folder = tmp_path / "nlu-evals"
    assert not (tmp_path / "scores.json").exists()
    scores = scores_in(folder)
    record = scores["targets"]["tatoeba"]
    protocol = record["protocol"]
    assert [protocol[key] for key in ("protocol", "layer", "pooling", "split")] == ["nlu-evals", 4, "cls", "test"]
    x, y = (padded_vectors(encoder, side, 4, "cls") for side in (GERMAN, ENGLISH))
    assert record["languages"]["ru"] == pytest.approx(100 * (nearest(x, y) == np.arange(5)).mean())
    assert record["languages"]["de"] == 100.0 and record["suites"] == {} and not (folder / "submission/xtreme").exists()
    assert aggregate.average(scores, "xtreme", [TARGETS["tatoeba"]])["missing"]["tatoeba"].endswith("of nlu-evals")


def test_a_finished_target_is_reused_and_only_then(
    evaluate: Any, encoder: Path, world: Path, tiny_tokenizer_dir: Path, tmp_path: Path
) -> None:
    """Not with other settings, other test data, another head or another encoder."""
    run, data, everything = tmp_path / "first", tmp_path / "data", {"toy_tatoeba", "toy_xnli", "toy_xquad"}
    shutil.copytree(encoder.parent, run)
    shutil.copytree(world, data)

    def again(*more: object) -> Any:
        return evaluate("toy", "--direct", *more, encoder=run / "encoder", data=data)

    first, taken = again()
    assert first["targets"].keys() == everything and not taken and not first["not_run"]
    assert first["average"]["score"] is None and first["targets"]["toy_xnli"]["complete"]
    second, taken = again()
    assert second["targets"] == first["targets"] and taken == everything
    assert again("--centre")[1] == {"toy_xnli", "toy_xquad"}  # which have no vectors
    scores, taken = again("--examples", 2)
    assert not taken and scores["targets"]["toy_tatoeba"]["details"]["de"]["n"] == 2
    assert not again()[1]
    laser(data / "tatoeba", "deu", [(text, text) for text in ENGLISH[1:]])
    scores, taken = again()
    assert taken == {"toy_xnli", "toy_xquad"} and scores["targets"]["toy_tatoeba"]["details"]["de"]["n"] == 4
    heads = load_file(run / "heads" / "heads.safetensors")
    name = next(name for name in heads if "mnli" in name and name.endswith("bias"))
    save_file({**heads, name: heads[name] + 1}, run / "heads" / "heads.safetensors")
    assert again()[1] == {"toy_tatoeba", "toy_xquad"}
    make_run(run, tiny_tokenizer_dir, seed=9)
    assert not again()[1]


def test_one_suite_after_the_other_loses_nothing(evaluate: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """Polish is in XTREME-R's Tatoeba alone; a submission of either suite has what it asks for."""
    data, out = tmp_path / "data", tmp_path / "out" / "submission"
    for iso3 in ("deu", "pol"):
        laser(data, iso3, list(zip(ENGLISH, GERMAN, strict=True)))
    assert list(evaluate("xtreme", "--direct", data=data)[0]["targets"]["tatoeba"]["languages"]) == ["de"]
    both, taken = evaluate("xtreme-r", "--direct", data=data)
    assert list(both["targets"]["tatoeba"]["languages"]) == ["de", "pl"] and not taken
    for suite in ("xtreme", "tatoeba"):
        scores, taken = evaluate(suite, "--direct", data=data)
        assert scores["targets"] == both["targets"] and taken == {"tatoeba"}
    written = {str(path.relative_to(out)) for path in out.glob("*/*/*")}
    assert written == {"xtreme/tatoeba/test-de.tsv", *(f"xtreme-r/tatoeba/test-{code}.tsv" for code in ("de", "pl"))}
    # With noise as well, if all languages have it; otherwise what is lost is said.
    both, _ = evaluate("xtreme-r", "--direct", "--perturb", "case", data=data)
    scores, taken = evaluate("xtreme", "--direct", "--perturb", "case", data=data)
    assert scores["targets"] == both["targets"] and taken == {"tatoeba"}
    with monkeypatch.context() as patch:
        patch.setattr(tqdm, "write", said := Mock())
        scores, _ = evaluate("xtreme", "--direct", "--perturb", "typo", data=data)
    assert list(scores["targets"]["tatoeba"]["languages"]) == ["de"]
    assert "over 1 languages, not 2" in str(said.call_args_list)
    # A part of the rows is no submission.
    assert not evaluate("xtreme", "--direct", "--examples", 3, data=data)[1] and not list(out.glob("*/tatoeba"))


def test_interrupted_anywhere_the_same_command_goes_on(evaluate: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """To the same scores; finished targets and finished pieces of a target are kept."""
    out, update = tmp_path / "out", tqdm.update
    whole = without_seconds(evaluate("toy", "--direct", "--micro-tokens", 20)[0])

    def interrupted_after(texts: int) -> dict[str, Any]:
        """scores.json after ctrl-C once the progress bar has counted so many of the 20 + 8 + 4 texts."""

        def stop(bar: Any, count: float = 1) -> None:
            update(bar, count)
            if bar.unit == "example" and bar.n >= texts:  # transformers has a bar over weights
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(tqdm, "update", stop)
            return evaluate("toy", "--direct", "--micro-tokens", 20, code=130)[0]

    shutil.rmtree(out)
    assert interrupted_after(22)["targets"].keys() == {"toy_tatoeba"}
    scores, taken = evaluate("toy", "--direct", "--micro-tokens", 20)
    assert without_seconds(scores) == whole and taken == {"toy_tatoeba"} and not list((out / "work").iterdir())

    # A finished piece is not computed again: what stands in it now, gold labels, is what is scored.
    shutil.rmtree(out)
    interrupted_after(25)
    (piece,) = (out / "work").glob("toy_xnli-*/*.json")  # of the first of two languages
    piece.write_text(json.dumps(["entailment", "neutral", "contradiction", "entailment"]))
    scores, _ = evaluate("toy", "--direct", "--micro-tokens", 20)
    assert scores["targets"]["toy_xnli"]["languages"][piece.stem] == 100.0 != whole["toy_xnli"]["languages"][piece.stem]


def test_dev_is_a_last_resort(evaluate: Any, tmp_path: Path) -> None:
    """A test is preferred wherever it lies; dev enters no submission and no average."""
    for code in LANGUAGES["xtreme"]["xnli"]:
        for split in ("validation", "test"):
            write_parquet(tmp_path / split / "facebook" / "xnli" / code, split, nli([0, 1, 2, 0]))

    def scored(*more: object) -> tuple[dict[str, Any], dict[str, Any], list[Path]]:
        scores = evaluate("xtreme", "--direct", *more, data=tmp_path / "validation")[0]
        return scores["targets"]["xnli"], scores["average"], list((tmp_path / "out/submission/xtreme").glob("xnli/*"))

    xnli, average, written = scored()
    assert xnli["protocol"]["split"] == "validation" and not written
    assert average["missing"]["xnli"] == "scored on dev" and "xnli" not in average["targets"]
    assert xnli["supplied"][0].startswith(f"dev, not test, in 15 languages, as {tmp_path / 'validation'} has no")
    xnli, average, written = scored("--data", tmp_path / "test")
    assert xnli["protocol"]["split"] == "test" and "xnli" in average["targets"] and len(written) == 15
    assert [said[:9] for said in xnli["supplied"]] == ["test data"]
    # Asked for, it is scored wherever there are tests, in a folder of its own.
    evaluate("xtreme", "--direct", "--dev", "--data", tmp_path / "validation", data=tmp_path / "test")
    assert scores_in(tmp_path / "out")["targets"]["xnli"] == xnli
    dev = scores_in(tmp_path / "out" / "dev")
    assert list(dev["targets"]) == ["xnli"] and "no dev data" in dev["not_run"]["tatoeba"]
    assert dev["targets"]["xnli"]["protocol"]["split"] == "validation" and len(dev["targets"]["xnli"]["dev"]) == 15


def test_two_encoders_side_by_side(
    encoder: Path, world: Path, tiny_tokenizer_dir: Path, tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    """As before and after training: the first has no heads."""
    skip_reports(monkeypatch)
    second = tmp_path / "first" / "encoder"
    shutil.copytree(encoder.parent, second.parent)
    plain = make_run(tmp_path / "plain", tiny_tokenizer_dir, seed=7, heads=())
    arguments = ["--encoder", str(plain), "--encoder", str(second), "--suite", "toy", "--direct", "--data", str(world)]
    assert main([*arguments, "--out", str(tmp_path / "both")]) == 0
    before, after = (scores_in(one.parent / "eval") for one in (plain, second))
    assert set(before["targets"]) == {"toy_tatoeba"} and len(after["targets"]) == 3
    assert "no head of mnli or anli_plus" in before["not_run"]["toy_xnli"]
    table = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert table["target"][2:5] == ["plain", "first", "Δ"] and table["toy_xnli"][2] == "–"
    old, new, difference = map(float, table["toy_tatoeba"][3:6])
    assert difference == pytest.approx(new - old, abs=0.11)
    assert not (tmp_path / "both" / "scores.json").exists()


def test_errors_are_one_line(encoder: Path, world: Path, tmp_path: Path, capsys: Any) -> None:
    out, lexicon = tmp_path / "out", write(tmp_path / "own.tsv", "Hund\tdog\n")
    data = ("--encoder", encoder, "--data", world)
    noise, align = (*data, "--suite", "tatoeba", "--perturb"), ("align", *data)
    for *arguments, said in (
        (*data, "--suite", "tatoba", "unknown name 'tatoba'"),
        ("--encoder", encoder.parent, "--data", world, "--suite", "tatoeba", f"did you mean {encoder}?"),
        (*data, "--suite", "tatoeba", "--layer", 5, "layers 0 (embeddings) to 4"),
        (*data, "--suite", "bucc", "nothing to run: bucc: no data at"),
        (*data, "--suite", "udpos", "--direct", "nothing to run: udpos: --direct: no inter"),
        (*data, "--suite", "toy", "--set", "stpes=5", "did you mean `steps`"),
        ("--encoder", encoder, "--suite", "toy", "not on the Hub"),
        # At once, and not as a reason why targets cannot be trained.
        (*data, "--suite", "toy", "--source", "no", "--source no: no such folder"),
        (*data, "--suite", "tatoeba", "--protocol", "nlu-evals", "--layer", 3, "sets --layer"),
        (*data, "--suite", "toy_xnli", "--protocol", "nlu-evals", "defined for tatoeba and lareqa"),
        (*noise, "codeswitch@0.2", "no lexicon of de ru; give --lexicon de=FILE"),
        (*noise, "codeswitch", "--lexicon", "de=nowhere.tsv", "--lexicon de=nowhere.tsv: expected CODE=FILE"),
        (*noise, "codeswitch", "--lexicon", f"qq={lexicon}", "unknown language 'qq'"),
        (*noise, "typo", "--lexicon", f"de={lexicon}", "only codeswitch reads it"),
        (*data, "--suite", "toy_xnli", "--perturb", "typo", "no retrieval target"),
        (*align, "--languages", "de", "xx", "--languages xx: no sentence pairs"),
        (*align, "--layers", 5, "--layers 5: first has layers 0 (embeddings) to 4"),
        (*align, "--data", "nowhere", "nowhere: no such folder"),
    ):
        assert said in error_line(capsys, *arguments, "--out", out), arguments
    assert not (out / "align.json").exists()
    assert not (out / "scores.json").exists() or not scores_in(out)["targets"]
    with results.locked(out):
        assert f"{out}: another evaluation is at work there" in error_line(capsys, *align, "--out", out)

    run = tmp_path / "relabelled"
    shutil.copytree(encoder.parent, run)
    about = json.loads((run / "heads" / "heads.json").read_text())
    about["mnli"]["labels"] = ["yes", "no", "maybe"]
    (run / "heads" / "heads.json").write_text(json.dumps(about))
    line = error_line(capsys, "--encoder", run / "encoder", "--data", world, "--suite", "toy_xnli", "--direct")
    assert "its head mnli: its labels are yes, no, maybe; toy_xnli has entailment, neutral, contradiction" in line
