"""Ranks compare the code they run: a change in any module of it, in sub-folders too, changes the hash compared.

What programs import: the trainer nothing that is not compared, data preparation no torch.
"""

import pkgutil
import shutil
import sys
from pathlib import Path
from types import ModuleType

import data_prep
import mtl
from common.run_config import REPOSITORY
from mtl.run.setup import PACKAGES, code_hash
from tasks.registry import NAMES
from tests.support.launch import run


def test_a_module_that_is_changed_added_removed_or_moved_changes_the_hash(tmp_path: Path) -> None:
    """Of the repository's product packages, with a module three folders deep."""
    shutil.copy(REPOSITORY / "train.py", tmp_path)
    for package in PACKAGES:
        shutil.copytree(REPOSITORY / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
        deep = tmp_path / package / "one" / "two"
        deep.mkdir(parents=True)
        (deep / "deep.py").write_text("x = 1\n")
    hashes = [code_hash(tmp_path)]
    for path in ("train.py", "mtl/run/setup.py", *(f"{package}/one/two/deep.py" for package in PACKAGES)):
        (tmp_path / path).write_text((tmp_path / path).read_text() + "\n")
        hashes.append(code_hash(tmp_path))
    deep = tmp_path / "mtl" / "one" / "two" / "deep.py"
    for change in (
        lambda: deep.with_name("more.py").touch(),
        lambda: deep.rename(deep.parent.parent / "deep.py"),
        lambda: (deep.parent.parent / "deep.py").unlink(),
    ):
        change()
        hashes.append(code_hash(tmp_path))
    assert len(set(hashes)) == len(hashes)
    (tmp_path / "mtl" / "notes.txt").write_text("not code")
    assert code_hash(tmp_path) == hashes[-1]


def loaded(package: ModuleType, *more: str) -> set[str]:
    """The modules that are loaded once all of a package are imported (Triton: on GPUs only)."""
    modules = [one.name for one in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
    wanted = ", ".join(name for name in (*modules, *more) if "triton" not in name)
    return set(run(sys.executable, "-c", f"import sys, {wanted}; print(*sys.modules)").stdout.split())


def test_every_package_that_the_trainer_imports_is_compared() -> None:
    ours = {path.stem for path in REPOSITORY.iterdir()}
    assert {name.partition(".")[0] for name in loaded(mtl, "train")} & ours == {"train", *PACKAGES}


def test_data_preparation_imports_no_torch() -> None:
    """Every module of data_prep; and it knows every task type. A run needs no other."""
    found = loaded(data_prep)
    assert {f"tasks.{name}.data" for name in NAMES} | {"data_prep.__main__", "data_prep.storage.store"} <= found
    assert not {"torch", "transformers.modeling_utils", *(f"tasks.{name}.model" for name in NAMES)} & found
