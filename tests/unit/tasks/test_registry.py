"""Data preparation knows every task type and loads neither torch nor a model of transformers."""

import pkgutil
import subprocess
import sys

import data_prep
from tasks.registry import NAMES
from tests.support.launch import environment


def test_data_preparation_imports_no_torch() -> None:
    """Every module of data_prep; a run needs no other."""
    modules = [module.name for module in pkgutil.walk_packages(data_prep.__path__, "data_prep.")]
    assert "data_prep.__main__" in modules and "data_prep.storage.store" in modules
    program = f"import sys, {', '.join(modules)}; print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", program], env=environment(), text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert {f"tasks.{name}.data" for name in NAMES} <= loaded
    assert not {"torch", "transformers.modeling_utils", *(f"tasks.{name}.model" for name in NAMES)} & loaded
