"""A dataset is one file: that of docs/extending.md, in a copy of the package, is listed and prepared in both forms."""

import re
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from data_prep.datasets import REVISIONS
from tests.support.hub_server import Client, HubServer, repo_of
from tests.support.launch import REPOSITORY, the_error
from tests.support.rows import hub_file, run_config, write

ROWS = [("A dog ran.", "A dog runs.", 3.8), ("It sat.", "He left.", 0.25)]
COLUMNS = ["index", "genre", "sentence1", "sentence2", "score"]


def line_of(listed: tuple[int, str, str]) -> list[str]:
    """The columns of the dataset's line in the output of `list`."""
    (line,) = (line for line in listed[1].splitlines() if line.startswith("stsb "))
    return re.split(r"  +", line)


def prepared(data: Path) -> tuple[list[float], list[bytes]]:
    """(labels of the training rows, bytes of the Arrow files) of the one folder that was prepared."""
    train, dev = (next(data.glob(f"stsb/*/{split}.arrow")) for split in ("train", "dev"))
    with pa.memory_map(str(train)) as file:
        labels = pa.ipc.open_file(file).read_all()["label"].to_pylist()
    return labels, [train.read_bytes(), dev.read_bytes()]


def test_the_dataset_of_the_guide(tmp_path: Path, tiny_tokenizer_dir: Path) -> None:
    """In a copy of data_prep its file is the only change."""
    page, package = (REPOSITORY / "docs/extending.md").read_text(encoding="utf-8"), tmp_path / "package"
    (code,) = re.findall(r"^```python\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)
    shutil.copytree(REPOSITORY / "data_prep", package / "data_prep", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("common", "tasks"):
        (package / name).symlink_to(REPOSITORY / name)
    write(package / "data_prep/datasets/stsb.py", code)
    glue, damaged, hub = tmp_path / "glue", tmp_path / "damaged", tmp_path / "hub"
    first, second, scores = zip(*ROWS, strict=True)
    table = pa.table({"sentence1": first, "sentence2": second, "label": pa.array(scores, pa.float32())})
    upstream = [COLUMNS, *([str(i), "news", a, b, f"{score:.3f}"] for i, (a, b, score) in enumerate(ROWS))]
    for split, name in (("train", "train"), ("dev", "validation")):
        write(glue / f"STS-B/{split}.tsv", upstream)
        write(damaged / f"STS-B/{split}.tsv", [*upstream, ["2", "news", "a", "b", "high"]])
        write(hub_file(hub / "stsb", name), table)
    by_glue, by_hub = (run_config(tmp_path / name, tiny_tokenizer_dir, ["stsb"]) for name in ("by_glue", "by_hub"))
    revision = REVISIONS["nyu-mll/glue"]
    with (
        HubServer({"nyu-mll/glue": repo_of(hub, hub / "README.md", revision)}) as server,
        Client(server, tmp_path / "hf", package) as copy,
    ):
        before, glued, served, after, refused = (
            copy.data_prep(*arguments)
            for arguments in (
                ["list", "--data", tmp_path / "by_hub/data", "--source", glue],
                ["--config", by_glue, "--source", glue, "--jobs", "1"],
                ["--config", by_hub, "--source", "hub", "--jobs", "1"],
                ["list", "--data", tmp_path / "by_hub/data"],
                ["--config", by_glue, "--source", damaged, "--jobs", "1"],
            )
        )
    name, kind, language, rows, _, source, there = line_of(before)
    assert (name, kind, language, rows, there) == ("stsb", "regress", "en", "5,749 / 1,500", "in glue/")
    assert source == f"Hub: nyu-mll/glue, stsb @{revision[:7]}"
    assert line_of(after)[-1] == "prepared"
    assert (glued[0], served[0]) == (0, 0), (glued[2], served[2])
    labels, files = prepared(tmp_path / "by_glue/data")
    assert labels == pytest.approx(scores)
    assert (labels, files) == prepared(tmp_path / "by_hub/data")
    assert refused[0] == 2
    the_error(refused[2], "STS-B/train.tsv: line 4: field `score`: expected")
