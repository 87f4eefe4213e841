"""`python -m data_prep` as a process: interrupted, killed, two at once."""

import os
import signal
import time
from pathlib import Path

from data_prep.__main__ import main
from data_prep.storage.store import Prepared
from tests.support.launch import start, wait_until
from tests.support.rows import run_config, write


def written(home: Path) -> int:
    """When a file of training rows that is being written last changed, in nanoseconds; 0 if there is none."""
    try:
        return max((file.stat().st_mtime_ns for file in home.glob(".writing-*/train.arrow")), default=0)
    except FileNotFoundError:  # removed meanwhile
        return 0


class Running:
    """`python -m data_prep`, forked and observed until it has begun to write."""

    def __init__(self, config: str, home: Path, jobs: str) -> None:
        before, self.files = written(home), [home.with_name(f"{time.monotonic_ns()}.{x}") for x in ("out", "err")]
        home.parent.mkdir(exist_ok=True)
        (self.process,) = start(["-m", "data_prep", "--config", config, "--jobs", jobs], 1, *self.files)
        wait_until(lambda: written(home) > before, 120, "nothing is written")

    def end(self, by: int | None = None) -> tuple[int | None, str, str]:
        """(exit code, output, errors); a signal goes to all its processes, as a terminal sends it."""
        if by is not None:
            os.killpg(self.process.pid, by)
        self.process.join(120)
        out, err = (file.read_text() for file in self.files)
        return self.process.exitcode, out, err


def test_interrupted_killed_and_two_at_once(tmp_path, tiny_tokenizer_dir, capfd):
    task: dict = {"name": "mine", "kind": "classify", "labels": ["no", "yes"]}
    for split, count in (("train", 20_000), ("dev", 10)):
        rows = [{"text_a": f"dog {i}", "label": "yes"} for i in range(count)]
        task[split] = str(write(tmp_path / f"{split}.jsonl", rows))
    small = run_config(tmp_path / "small", tiny_tokenizer_dir, [task | {"train": task["dev"]}])
    assert main(["--config", small]) == 0  # what this process needs is imported before it races another one
    config, home = run_config(tmp_path, tiny_tokenizer_dir, [task]), tmp_path / "data/mine"

    code, out, err = Running(config, home, "2").end(signal.SIGINT)
    assert code == 130 and "interrupted" in err and "Traceback" not in err and out == ""
    assert [p.name for p in home.iterdir()] == [".lock"]

    Running(config, home, "1").end(signal.SIGKILL)
    (leftover,) = home.glob(".writing-*")
    assert sorted(p.name for p in home.iterdir()) == [".lock", leftover.name]  # nothing that looks finished

    other = Running(config, home, "1")
    capfd.readouterr()
    assert main(["--config", config, "--jobs", "1"]) == 0  # meanwhile, in this process
    code, out, err = other.end()
    assert code == 0 and out.splitlines()[1].endswith("built"), err
    mine = capfd.readouterr()
    assert "another data_prep is at work there" in mine.err and mine.out.splitlines()[1].endswith("reused")
    (folder,) = (p for p in home.iterdir() if p.name != ".lock")
    Prepared(folder).verify()
