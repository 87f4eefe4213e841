"""Ranks compare the code they run: a change in any module of it, in sub-folders too, changes the hash compared."""

import shutil
from pathlib import Path

import pytest

from common.run_config import REPOSITORY
from mtl.run.setup import PACKAGES, code_hash
from tests.support.launch import program


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The repository's product packages, with a module three folders deep."""
    shutil.copy(REPOSITORY / "train.py", tmp_path)
    for package in PACKAGES:
        shutil.copytree(REPOSITORY / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
        deep = tmp_path / package / "one" / "two"
        deep.mkdir(parents=True)
        (deep / "deep.py").write_text("x = 1\n")
    return tmp_path


def test_a_module_that_is_changed_added_removed_or_moved_changes_the_hash(copied: Path) -> None:
    hashes = [code_hash(copied)]
    for path in ("train.py", "mtl/run/setup.py", *(f"{package}/one/two/deep.py" for package in PACKAGES)):
        (copied / path).write_text((copied / path).read_text() + "\n")
        hashes.append(code_hash(copied))
    deep = copied / "mtl" / "one" / "two" / "deep.py"
    for change in (
        lambda: deep.with_name("more.py").touch(),
        lambda: deep.rename(deep.parent.parent / "deep.py"),
        lambda: (deep.parent.parent / "deep.py").unlink(),
    ):
        change()
        hashes.append(code_hash(copied))
    assert len(set(hashes)) == len(hashes)
    (copied / "mtl" / "notes.txt").write_text("not code")
    assert code_hash(copied) == hashes[-1]


def test_every_package_that_the_trainer_imports_is_compared(tmp_path: Path) -> None:
    """All modules of this repository that are loaded once everything below mtl/ is imported."""
    code = """
import importlib, pathlib, sys
house = pathlib.Path.cwd()
names = ["train", *(".".join(p.relative_to(house).with_suffix("").parts) for p in sorted(house.glob("mtl/**/*.py")))]
for name in names:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:  # Triton is only there for GPUs
        if error.name != "triton":
            raise
files = [pathlib.Path(m.__file__) for m in list(sys.modules.values()) if getattr(m, "__file__", None)]
print(*sorted({p.relative_to(house).parts[0] for p in files if p.is_relative_to(house) and ".venv" not in p.parts}))
"""
    (tmp_path / "imports.py").write_text(code)
    # tests/ is loaded by the process that forks it.
    assert set(program(tmp_path / "imports.py").stdout.split()) - {"tests"} == {"train.py", *PACKAGES}
