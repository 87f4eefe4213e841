"""The command itself: own files, the Hub layout, the table, errors in one line with exit code 2."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_prep.__main__ import main
from data_prep.storage import store
from tests.support.rows import write_jsonl, write_parquet

HOUSE = Path(__file__).resolve().parents[2]
NINE = ["anli_plus", "mnli", "qqp", "squad_v1", "squad_v2", "hellaswag", "ccg", "cosmosqa", "commonsenseqa"]


def config(folder: Path, tokenizer: Path, tasks: list, **more) -> str:
    values = {
        "name": "x", "data": str(folder / "data"), "encoder": {"config": {}, "tokenizer": str(tokenizer)},
        "tasks": tasks, "max_length": 64, "steps": 1, **more,
    }  # fmt: skip
    path = folder / "run.json"
    path.write_text(json.dumps(values))
    return str(path)


def mine(folder: Path, n: int = 5, **more) -> dict:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps({"text_a": f"dog {i}", "label": "yes"}) + "\n" for i in range(n)))
    entry = {"name": "mine", "kind": "classify", "labels": ["no", "yes"], "train": str(path), "dev": str(path)}
    return {**entry, **more}


def ccg(folder: Path) -> Path:
    (folder / "raw/ccg").mkdir(parents=True)
    for split in ("train", "dev"):
        (folder / f"raw/ccg/x.{split}.tsv").write_text("a dog\tNP/N N\n")
    return folder / "raw"


def test_prepares_then_reuses_and_prints_a_table(tmp_path, tiny_tokenizer_dir, capsys):
    raw = ccg(tmp_path)
    other = mine(tmp_path, name="other", max_length=32)
    arguments = ["--config", config(tmp_path, tiny_tokenizer_dir, [mine(tmp_path), other, "ccg"]), "--source", str(raw)]
    assert main(arguments) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].split() == ["dataset", "length", "train", "dev", "tokens", "mean", "dropped", "cut", "folder"]
    assert [line.split()[:4] for line in out[1:4]] == [
        ["mine", "64", "5", "5"], ["other", "32", "5", "5"], ["ccg", "64", "1", "1"],
    ]  # fmt: skip
    assert all(line.endswith("built") for line in out[1:4])
    assert main([*arguments, "--jobs", "2"]) == 0
    assert all(line.endswith("reused") for line in capsys.readouterr().out.splitlines()[1:4])
    folder = Path(out[1].split()[-2])
    assert store.Prepared(folder).labels == ("no", "yes")
    assert main([*arguments, "--out", str(tmp_path / "elsewhere"), "--set", "max_length=48"]) == 0
    assert (tmp_path / "elsewhere/ccg").is_dir()


def test_ccg_from_files_named_in_the_config(tmp_path, tiny_tokenizer_dir, capsys):
    raw = ccg(tmp_path)
    entry = {"task": "ccg", "train": str(raw / "ccg/x.train.tsv"), "dev": str(raw / "ccg/x.dev.tsv")}
    assert main(["--config", config(tmp_path, tiny_tokenizer_dir, [entry])]) == 0  # no Hub is asked
    assert "built" in capsys.readouterr().out


def test_drops_and_doubts_are_counted_and_shown(tmp_path, tiny_tokenizer_dir, capsys):
    folder = tmp_path / "raw/stanfordnlp/snli/plain_text"
    for split in ("train", "validation"):
        columns = {"premise": ["a", " ", "c", "d"], "hypothesis": ["x"] * 4, "label": [0, 1, -1, 2]}
        write_parquet(folder, split, columns)
    for split in ("train", "dev"):
        row = {"ind": 1, "ctx_a": "a dog", "ctx_b": "", "endings": ["a", "b", "c", "d"], "label": 1}
        write_jsonl(tmp_path / f"raw/hellaswag_{'val' if split == 'dev' else split}.jsonl", [row])
    for name in ("mnli", "anli"):  # the rest of ANLI+
        for part in ("train", "validation_matched", *(f"{s}_r{r}" for s in ("train", "dev") for r in "123")):
            columns = {"uid": ["u"], "premise": ["a"], "hypothesis": ["b"], "label": [0]}
            write_parquet(
                tmp_path / ("raw/nyu-mll/glue/mnli" if name == "mnli" else "raw/facebook/anli/plain_text"),
                part,
                columns,
            )
    path = config(tmp_path, tiny_tokenizer_dir, ["anli_plus", "hellaswag"])
    assert main(["--config", path, "--source", str(tmp_path / "raw")]) == 0
    out = capsys.readouterr().out
    rows = {line.split()[0]: line.split() for line in out.splitlines()[1:5]}
    assert rows["snli"][2:4] == ["2", "2"] and rows["snli"][6] == "4"
    assert "snli train: 1 dropped: empty text; 1 dropped: no gold label" in out
    assert "hellaswag: hellaswag_train.jsonl is not the published file" in out
    manifest = json.loads((Path(rows["snli"][-2]) / "manifest.json").read_text())
    assert manifest["splits"]["dev"]["dropped"] == {"empty text": 1, "no gold label": 1}


def test_errors_are_one_line_and_exit_code_2(tmp_path, tiny_tokenizer_dir, capsys):
    def error(tasks, *more: str, **fields) -> str:
        assert main(["--config", config(tmp_path, tiny_tokenizer_dir, tasks, **fields), *more]) == 2
        captured = capsys.readouterr()
        lines = [line for line in captured.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1 and captured.err.rstrip().endswith(lines[0]) and "Traceback" not in captured.err
        return lines[0]

    assert "no such folder" in error([mine(tmp_path)], "--source", str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    message = error([mine(tmp_path), "ccg"], "--source", str(tmp_path / "empty"))
    assert "LDC2005T13" in message and "configs/mtl_open.json" in message
    assert not (tmp_path / "data").exists()  # missing input is found before any work
    assert "--jobs 0" in error([mine(tmp_path)], "--jobs", "0")
    assert "max_length 600 is more than the tokenizer's 512" in error([mine(tmp_path)], max_length=600)
    assert "max_length 8: at least 12" in error([mine(tmp_path)], max_length=8)
    assert "cannot be loaded" in error([mine(tmp_path)], encoder={"config": {}, "tokenizer": str(tmp_path / "no")})
    entry = mine(tmp_path)
    (tmp_path / "rows.jsonl").write_text('{"text_a": "a"}\n')
    assert "rows.jsonl: line 1: field `label` is missing" in error([entry])
    twice = [{"task": "mnli", "train": entry["train"], "dev": entry["dev"]}, "anli_plus"]
    assert "mnli is to be read from two places" in error(twice)
    (tmp_path / "file").write_text("")
    assert "cannot be written" in error([mine(tmp_path)], "--out", str(tmp_path / "file"))


def test_the_program_dies_cleanly_on_ctrl_c_and_starts_over(tmp_path, tiny_tokenizer_dir):
    path = config(tmp_path, tiny_tokenizer_dir, [mine(tmp_path, 60_000)])
    command = [sys.executable, "-m", "data_prep", "--config", path, "--jobs", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command,
        cwd=HOUSE,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A test run in the background inherits an ignored SIGINT, which a terminal's child would not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        until = time.monotonic() + 90
        while not list(tmp_path.glob("data/mine/.tmp-*/train.arrow")) and time.monotonic() < until:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers as well
        out, err = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130, err
    assert "interrupted" in err and "Traceback" not in err and out == ""
    assert [p.name for p in (tmp_path / "data/mine").iterdir()] == [".lock"]
    assert subprocess.run(command, cwd=HOUSE, env=environment, capture_output=True, timeout=120).returncode == 0


@pytest.mark.real
def test_nine_tasks_on_real_rows(shared, tmp_path, capsys):
    path = config(tmp_path, shared / "data/tokenizer/xlmr", NINE, max_length=256)
    assert main(["--config", path, "--source", str(shared / "data"), "--jobs", "1"]) == 0
    rows = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines()[1:11]}
    assert set(rows) == {"mnli", "snli", "anli", *NINE[2:]}
    assert rows["mnli"][2:4] == ["8,006", "1,815"] and rows["anli"][2:4] == ["5,127", "1,280"]
    assert rows["commonsenseqa"][2:4] == ["9,741", "1,221"] and rows["ccg"][2:4] == ["7,745", "1,174"]
    for row in rows.values():
        prepared = store.Prepared(Path(row[-2]))
        for split in (prepared.train, prepared.dev):
            taken = split.take(range(min(split.rows, 500)))
            assert all(r["length"] == r["lengths"].sum() == len(r["input_ids"]) for r in taken)
            assert all(r["lengths"].max() <= 256 and r["input_ids"][0] == 0 and r["input_ids"][-1] == 2 for r in taken)
            assert split.units.min() >= (0 if row[0] == "ccg" else 1)
