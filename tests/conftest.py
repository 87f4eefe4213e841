"""Fixtures: the real samples where they are, and a tiny XLM-R tokenizer where nothing is needed but a working one."""

import os
from pathlib import Path

# Models here are tiny: threads would only wait for one another. Before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

from tests.support.tiny_tokenizer import make_tokenizer

# How long an example takes says more of the machine than of the program.
settings.register_profile("intermezzo", deadline=None)
settings.load_profile("intermezzo")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real samples; tests that need it are skipped where it is not."""
    folder = Path(os.environ.get("INTERMEZZO_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    if not (folder / "data" / "README.md").is_file():
        absent = pytest.fail if os.environ.get("INTERMEZZO_REQUIRE_REAL") == "1" else pytest.skip
        absent(f"no real samples in {folder}")
    return folder


@pytest.fixture(scope="session")
def xlmr_tokenizer(shared: Path):
    """XLM-R's tokenizer from the real samples."""
    from data_prep.encoding import tokenizer

    return tokenizer.load(shared / "data" / "tokenizer" / "xlmr")


@pytest.fixture(scope="session")
def tiny_tokenizer_dir(tmp_path_factory) -> Path:
    """A tiny tokenizer, see `make_tokenizer`."""
    return make_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="session")
def small_run(tmp_path_factory, tiny_tokenizer_dir: Path) -> str:
    """The config of a prepared run over a task of every type, see `write_run`; for tests that only read it."""
    from tests.support.small import write_run

    return str(write_run(tmp_path_factory.mktemp("small"), tiny_tokenizer_dir))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long modules come first, so that workers end together; GPU tests are skipped, and said to be, without a GPU."""
    import torch

    long = {item.path for item in items if {"slow", "real"} & {mark.name for mark in item.iter_markers()}}
    items.sort(key=lambda item: item.path not in long)
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):  # keywords have the names of folders too
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))
