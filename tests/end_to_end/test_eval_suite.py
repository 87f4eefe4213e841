"""The whole program on a few files written here: scores, resuming, reports, and what it says if something is wrong.

Targets by the intermediate heads (`--direct`) and by vectors, in one process; target training: test_eval_driver.py.
"""

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from transformers import AutoModel, AutoTokenizer

from common.errors import InputError
from eval import report
from eval.__main__ import main
from eval.driver import suite
from eval.inference.encoder import Subject, head_fingerprint
from eval.read import read
from eval.suites import TARGETS
from mtl.run import provenance
from tests.support.eval_run import make_run
from tests.unit.eval.test_eval_read import laser, nli, parquet

HOUSE = Path(__file__).resolve().parents[2]
ENGLISH = ["the small dog runs", "a teacher reads a long letter", "stone bread music", "winter summer", "never always"]
GERMAN = ["der kleine Hund", "zum alten Haus", "am Fluss", "Hund Haus", "läuft"]


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """Test data of three targets: German equals English word for word, so that its retrieval is perfect."""
    folder = tmp_path_factory.mktemp("world")
    laser(folder / "tatoeba", "deu", [(text, text) for text in ENGLISH])
    laser(folder / "tatoeba", "rus", list(zip(ENGLISH, GERMAN, strict=True)))
    for code in ("en", "de"):
        parquet(folder / "facebook" / "xnli" / code / "test-00000-of-00001.parquet", nli([0, 1, 2, 0]))
        context = "the small dog runs to the old house"
        rows = {
            "id": ["1", "2"],
            "question": ["a dog", "a house"],
            "context": [context] * 2,
            "answers": [{"text": ["dog"], "answer_start": [10]}, {"text": ["house"], "answer_start": [30]}],
        }
        parquet(folder / "google" / "xquad" / f"xquad.{code}" / "validation-00000-of-00001.parquet", rows)
    return folder


@pytest.fixture
def run(tmp_path: Path, tiny_tokenizer_dir: Path) -> Path:
    return make_run(tmp_path / "first", tiny_tokenizer_dir)


def scores_of(encoder: Path) -> dict:
    return json.loads((encoder.parent / "eval" / "scores.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("program", [["--suite", "tatoeba"], ["align"]])
def test_a_full_disk_is_one_line(program: list[str], run: Path, world: Path, monkeypatch, capsys) -> None:
    """Also after hours of work, when the scores are written; a mistake of the program's is still a traceback."""
    command = [*program, "--encoder", str(run), "--data", str(world)]

    def full(path: Path, values: dict) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(provenance, "write", full)
    assert main(command) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.fullmatch(r"error: \S+/(scores|align)\.json: No space left on device; .*", last)
    monkeypatch.setattr(provenance, "write", lambda path, values: [].index(path))
    with pytest.raises(ValueError, match="not in list"):
        main(command)


def test_suite_of_one_encoder(run: Path, world: Path, capsys) -> None:
    assert main(["--encoder", str(run), "--suite", "xtreme", "--direct", "--data", str(world)]) == 0
    scores = scores_of(run)
    assert list(scores["targets"]) == ["xnli", "xquad", "tatoeba"]
    tatoeba, xnli, xquad = (scores["targets"][name] for name in ("tatoeba", "xnli", "xquad"))
    assert tatoeba["metric"] == "accuracy" and tatoeba["languages"]["de"] == 100.0
    assert tatoeba["score"] == pytest.approx((100 + tatoeba["languages"]["ru"]) / 2)
    assert tatoeba["details"]["ru"]["n"] == 5 and tatoeba["chance"] == 20.0
    assert not tatoeba["complete"] and "fr" in tatoeba["missing_languages"] and len(tatoeba["missing_languages"]) == 34
    protocol = tatoeba["protocol"]
    assert (protocol["layer"], protocol["depth"], protocol["pooling"], protocol["centred"]) == (2, 4, "mean", False)
    assert protocol["direction"].startswith("en->xx") and protocol["split"] == "test" and protocol["max_length"] == 512
    assert xnli["protocol"]["head"] == "mnli" and xnli["chance"] == 50.0 and xnli["details"]["de"]["n"] == 4
    assert xnli["score_without_english"] == xnli["languages"]["de"]
    assert xquad["metric"] == "f1" and set(xquad["scores"]) == {"f1", "em"} and xquad["chance"] is None
    # What is not there is named, and nothing is averaged over a part.
    assert set(scores["not_run"]) == {"pawsx", "udpos", "panx", "mlqa", "tydiqa", "bucc"}
    assert scores["average"]["score"] is None and scores["average"]["missing"]["pawsx"] == "not run"
    printed = capsys.readouterr().out
    assert "2 of 36" in printed and "no data for" in printed and "udpos, panx (--direct: no" in printed
    (line,) = (line for line in printed.splitlines() if line.startswith(f"{run.parent}/eval/submission/xtreme: "))
    assert "pawsx: nothing there" in line and "xnli: no file for ar bg el" in line and "bucc2018: nothing there" in line
    markdown = (run.parent / "eval" / "report.md").read_text(encoding="utf-8")
    assert "| ru | 5 |" in markdown and "(plots/tatoeba.png)" in markdown and "not run" in markdown
    page = (run.parent / "eval" / "report.html").read_text(encoding="utf-8")
    assert all(f'<figure id="plot-{name}">' in page for name in scores["targets"])
    assert "http" not in page.replace(str(world), "")


def test_one_suite_after_the_other_loses_nothing(run: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    """Polish is in XTREME-R's Tatoeba alone; a submission of either suite has what it asks for."""
    ran: list[str] = []
    compute = suite._compute
    monkeypatch.setattr(suite, "_compute", lambda job, *more: (ran.append(job.target), compute(job, *more)))
    for iso3 in ("deu", "pol"):
        laser(tmp_path / "data", iso3, list(zip(ENGLISH, GERMAN, strict=True)))
    arguments = ["--encoder", str(run), "--direct", "--data", str(tmp_path / "data"), "--suite"]
    assert main([*arguments, "xtreme"]) == 0 and list(scores_of(run)["targets"]["tatoeba"]["languages"]) == ["de"]
    assert main([*arguments, "xtreme-r"]) == 0 and ran == ["tatoeba", "tatoeba"]
    both = scores_of(run)["targets"]["tatoeba"]
    assert list(both["languages"]) == ["de", "pl"]
    capsys.readouterr()
    assert main([*arguments, "xtreme"]) == 0 and main([*arguments, "tatoeba"]) == 0 and len(ran) == 2
    assert scores_of(run)["targets"]["tatoeba"] == both and "1 of 36" in capsys.readouterr().out
    written = {str(p.relative_to(run.parent / "eval/submission")) for p in run.parent.glob("eval/submission/*/*/*")}
    assert written == {"xtreme/tatoeba/test-de.tsv", *(f"xtreme-r/tatoeba/test-{code}.tsv" for code in ("de", "pl"))}
    # Other data or another setting are not covered by the earlier record.
    laser(tmp_path / "data", "deu", [(text, text) for text in ENGLISH])
    assert main([*arguments, "xtreme"]) == 0 and len(ran) == 3
    assert main([*arguments, "xtreme", "--pooling", "cls", "--examples", "3"]) == 0 and len(ran) == 4
    assert not list(run.parent.glob("eval/submission/*/tatoeba"))


def test_reasons_of_all_places(run: Path, world: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    places = ["--data", str(tmp_path / "other"), "--data", str(world)]
    assert main(["--encoder", str(run), "--suite", "tatoeba,bucc", *places]) == 0
    scores = scores_of(run)
    assert scores["targets"]["tatoeba"]["supplied"] == [f"test data of {world}, as {tmp_path / 'other'} lacks them"]
    reason = scores["not_run"]["bucc"]
    assert f"--data {tmp_path / 'other'}" in reason and f"--data {world}" in reason


def test_a_finished_target_is_reused_and_only_then(run: Path, world: Path, monkeypatch) -> None:
    ran: list[str] = []
    compute = suite._compute

    def counting(job, *more):
        ran.append(job.target)
        return compute(job, *more)

    monkeypatch.setattr(suite, "_compute", counting)
    arguments = ["--encoder", str(run), "--suite", "toy", "--direct", "--data", str(world)]
    assert main(arguments) == 0 and ran == ["toy_tatoeba", "toy_xnli", "toy_xquad"]
    first = scores_of(run)
    assert first["average"]["score"] is None and not first["not_run"] and first["targets"]["toy_xnli"]["complete"]

    ran.clear()
    assert main(arguments) == 0 and ran == []
    assert scores_of(run)["targets"] == first["targets"]

    # Targets of an earlier call stay in scores.json, the report is of this call.
    assert main([*arguments[:2], "--suite", "toy_xnli", *arguments[4:]]) == 0 and ran == []
    assert scores_of(run)["targets"] == first["targets"]
    markdown = (run.parent / "eval" / "report.md").read_text(encoding="utf-8")
    assert "## toy_xnli" in markdown and "toy_xquad" not in markdown

    assert main([*arguments, "--centre"]) == 0 and ran == ["toy_tatoeba"]  # the others have no vectors
    ran.clear()
    assert main([*arguments, "--examples", "2"]) == 0 and len(ran) == 3
    assert scores_of(run)["targets"]["toy_tatoeba"]["details"]["de"]["n"] == 2

    # Stopped in the middle: what was finished stays.
    ran.clear()

    def stops(job, *more):
        if job.target == "toy_xnli":
            raise KeyboardInterrupt
        return counting(job, *more)

    monkeypatch.setattr(suite, "_compute", stops)
    assert main(arguments) == 130 and ran == ["toy_tatoeba"]
    # Those of other settings that were to be replaced are not shown as if they were of these.
    assert list(scores_of(run)["targets"]) == ["toy_tatoeba"]
    monkeypatch.setattr(suite, "_compute", counting)
    assert main(arguments) == 0 and ran == ["toy_tatoeba", "toy_xnli", "toy_xquad"]
    assert scores_of(run)["targets"].keys() == first["targets"].keys()


def test_other_data_or_weights_are_scored_again(run: Path, tiny_tokenizer_dir: Path, tmp_path: Path, capfd) -> None:
    data = tmp_path / "data"
    laser(data, "deu", [("a", "a"), ("b", "b")])
    arguments = ["--encoder", str(run), "--suite", "tatoeba", "--data", str(data), "--out", str(tmp_path / "out")]
    assert main(arguments) == 0
    before = json.loads((tmp_path / "out" / "scores.json").read_text(encoding="utf-8"))["targets"]["tatoeba"]
    laser(data, "deu", [("a", "a"), ("b", "b"), ("dog", "dog")])
    assert main(arguments) == 0
    after = json.loads((tmp_path / "out" / "scores.json").read_text(encoding="utf-8"))["targets"]["tatoeba"]
    assert (before["details"]["de"]["n"], after["details"]["de"]["n"]) == (2, 3)
    assert after["suites"]["xtreme"]["languages"] == 1 and len(after["suites"]["xtreme-r"]["missing_languages"]) == 40
    capfd.readouterr()
    make_run(tmp_path / "first", tiny_tokenizer_dir, seed=9)
    assert main(arguments) == 0
    assert "of other weights" in capfd.readouterr().err


def test_two_encoders_side_by_side(run: Path, world: Path, tiny_tokenizer_dir: Path, tmp_path: Path, capsys) -> None:
    # As before and after training: the first has no heads.
    plain = make_run(tmp_path / "plain", tiny_tokenizer_dir, seed=7, heads=())
    arguments = ["--encoder", str(plain), "--encoder", str(run), "--suite", "toy", "--direct", "--data", str(world)]
    assert main([*arguments, "--out", str(tmp_path / "both")]) == 0
    assert set(scores_of(plain)["targets"]) == {"toy_tatoeba"}
    assert "no head of mnli or anli_plus" in scores_of(plain)["not_run"]["toy_xnli"]
    assert len(scores_of(run)["targets"]) == 3
    lines = capsys.readouterr().out.splitlines()
    header = next(line for line in lines if line.startswith("target"))
    assert header.split()[2:5] == ["plain", "first", "Δ"]
    retrieval = next(line for line in lines if line.startswith("toy_tatoeba")).split()
    first, second, difference = map(float, retrieval[3:6])
    assert difference == pytest.approx(second - first, abs=0.11) and retrieval[5][0] in "+-"
    assert next(line for line in lines if line.startswith("toy_xnli")).split()[2] == "–"
    assert any(line.startswith("not run for plain: toy_xnli, ") or "plain" in line for line in lines)
    assert (tmp_path / "both" / "report.html").is_file() and not (tmp_path / "both" / "scores.json").exists()


def test_differences_are_over_shared_languages() -> None:
    def scores(name: str, languages: dict[str, float]) -> dict:
        record = {
            "metric": "accuracy", "score": sum(languages.values()) / len(languages), "languages": languages,
            "missing_languages": [], "protocol": {}, "scores": {"accuracy": 0.0}, "chance": None,
        }  # fmt: skip
        return {
            "name": name, "encoder": name, "suite": "xnli", "targets": {"xnli": record}, "not_run": {},
            "average": {"score": None},
        }  # fmt: skip

    table = report.terminal_table([scores("a", {"de": 10.0, "fr": 90.0}), scores("b", {"de": 12.0})])
    assert "10.0  12.0  +2.0" in table


def test_errors_are_one_line(run: Path, world: Path, tmp_path: Path, capsys) -> None:
    def says(*arguments: str) -> str:
        assert main(list(arguments)) == 2
        captured = capsys.readouterr()
        lines = [line for line in captured.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1 and not captured.out
        return lines[0]

    encoder, data = ("--encoder", str(run)), ("--data", str(world))
    assert "unknown name 'tatoba'" in says(*encoder, *data, "--suite", "tatoba")
    assert "no such folder" in says("--encoder", str(tmp_path / "no"), *data, "--suite", "tatoeba")
    assert f"did you mean {run}?" in says("--encoder", str(run.parent), *data, "--suite", "tatoeba")
    assert "layers 0 (embeddings) to 4" in says(*encoder, *data, "--suite", "tatoeba", "--layer", "5")
    assert "nothing to run: bucc: no data at" in says(*encoder, *data, "--suite", "bucc")
    assert "nothing to run: udpos: --direct: no inter" in says(*encoder, *data, "--suite", "udpos", "--direct")
    assert "`encoder` of a target run is set by" in says(*encoder, *data, "--suite", "toy", "--set", "encoder=x")
    assert "did you mean `steps`" in says(*encoder, *data, "--suite", "toy", "--set", "stpes=5")
    assert "not on the Hub" in says(*encoder, "--suite", "toy")
    assert "no such folder" in says(*encoder, "--suite", "toy", "--data", str(tmp_path / "no"))
    # At once, and not as a reason why targets cannot be trained.
    assert "--source no: no such folder" in says(*encoder, "--suite", "toy", *data, "--source", "no")
    assert "--data no: no such folder" in says(*encoder, "--suite", "toy_tatoeba", *data, "--data", "no")
    assert not (run.parent / "eval").exists()
    with pytest.raises(SystemExit):
        main([*encoder, "--suite", "tatoeba", "--examples", "0"])


@pytest.mark.parametrize("centre", [False, True])
def test_direction_layer_and_centring_reach_the_scores(run: Path, tmp_path: Path, centre: bool) -> None:
    pairs = [(a, b) for a in ENGLISH for b in GERMAN if len(a) % 2 or len(b) % 2]
    laser(tmp_path / "data", "deu", [(f"{a} {b[:3]}", f"{b} {a[:9]}") for a, b in pairs])
    sides = [[f"{a} {b[:3]}" for a, b in pairs], [f"{b} {a[:9]}" for a, b in pairs]]
    folder = tmp_path / "out"
    arguments = ["--encoder", str(run), "--suite", "tatoeba", "--data", str(tmp_path / "data"), "--out", str(folder)]
    assert main([*arguments, "--layer", "3", "--pooling", "cls", *["--centre"] * centre]) == 0
    detail = json.loads((folder / "scores.json").read_text(encoding="utf-8"))["targets"]["tatoeba"]["details"]["de"]

    tokenizer, model = AutoTokenizer.from_pretrained(run), AutoModel.from_pretrained(run).eval()
    with torch.no_grad():
        english, german = (
            model(**tokenizer(s, padding=True, return_tensors="pt"), output_hidden_states=True).hidden_states[3][:, 0]
            for s in sides
        )
    x, y = (v - v.mean(0) if centre else v for v in (english.numpy(), german.numpy()))
    for direction, query, index in (("en->xx", x, y), ("xx->en", y, x)):
        nearest = NearestNeighbors(n_neighbors=1, metric="cosine").fit(index).kneighbors(query, return_distance=False)
        assert detail[direction] == pytest.approx(100 * (nearest[:, 0] == np.arange(len(pairs))).mean())
    assert centre or detail["en->xx"] != detail["xx->en"]  # so that an exchange of the two would show


def test_sha_of_a_head_counts(run: Path, world: Path) -> None:
    subject = Subject(str(run), torch.device("cpu"))
    head = subject.heads["mnli"]
    before = head_fingerprint(head)
    with torch.no_grad():
        head.module.out_proj.bias[0] += 1  # type: ignore[union-attr,operator,index]
    assert head_fingerprint(head) != before
    with pytest.raises(InputError):
        read(TARGETS["tatoeba"], ("xx",), str(world))


@pytest.mark.slow
def test_as_a_program(run: Path, world: Path, tmp_path: Path) -> None:
    """Started as a user does, once for each of the two commands."""
    command = [sys.executable, "-m", "eval", "--encoder", str(run), "--suite", "tatoeba", "--data", str(world)]
    done = subprocess.run([*command, "--layer", "1"], cwd=HOUSE, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "tatoeba" in done.stdout and scores_of(run)["targets"]["tatoeba"]["protocol"]["layer"] == 1
    command = [
        sys.executable,
        "-m",
        "eval",
        "export",
        "--encoder",
        str(run),
        "--task",
        "mnli",
        "--out",
        str(tmp_path / "x"),
    ]
    done = subprocess.run(command, cwd=HOUSE, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "XLMRobertaForSequenceClassification" in done.stdout and (tmp_path / "x" / "model.safetensors").is_file()
