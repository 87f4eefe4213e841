"""Finished runs on two ranks that several modules look at or go on from; each is made once a session."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import FileLock

from tests.support.launch import program
from tests.support.small import KINDS, STEADY, write_run, write_tasks


@contextmanager
def _once(factory: pytest.TempPathFactory, name: str) -> Iterator[tuple[Path, bool]]:
    """(folder, whether this process has to fill it). pytest-xdist's workers share it; the others wait."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with FileLock(f"{folder}.lock"):
        folder.mkdir(exist_ok=True)
        yield folder, not (folder / "finished").exists()
        (folder / "finished").touch()


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer_dir: Path) -> tuple[Path, Path]:
    """A run over all task types, with dropout: (config, run folder), and what it printed in printed.txt."""
    with _once(tmp_path_factory, "finished-run") as (folder, make):
        config, run = folder / "small.json", folder / "runs" / "small"
        if make:
            write_run(
                folder, tiny_tokenizer_dir, steps=40, optimizer={"lr": 3e-3}, evaluate={"every": 3, "examples": 8},
                hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1, export={"average": 3},
                dynamics=True,
            )  # fmt: skip
            (folder / "printed.txt").write_text(program("train.py", "--config", config, ranks=2).printed)
    return config, run


@pytest.fixture(scope="session")
def steady(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer_dir: Path) -> tuple[Path, Path]:
    """A run of 50 steps without dropout and without `mlm`, so that word embeddings are trimmed: (config, run folder).

    `regress` is among its tasks. Every checkpoint is kept, and every step is clipped.
    """
    with _once(tmp_path_factory, "steady-run") as (folder, make):
        config, run = folder / "small.json", folder / "runs" / "small"
        if make:
            optimizer = {key: STEADY[key] for key in ("lr", "weight_decay", "clip", "warmup")}
            write_run(
                folder, tiny_tokenizer_dir, tasks=write_tasks(folder, kinds=(*KINDS[:4], "regress")), log_every=1,
                steps=STEADY["steps"], optimizer={**optimizer, "eps": 1e-6}, evaluate={"every": 25, "examples": 8},
                checkpoint={"every": 10, "keep": 9},
            )  # fmt: skip
            program("train.py", "--config", config, ranks=2)
    return config, run
