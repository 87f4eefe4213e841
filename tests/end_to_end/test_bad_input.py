"""Whatever is spoilt in an input, a program ends with exit code 2 and one line, or with 0 and a correct result.

Test data of every target: tests/unit/eval/test_eval_read.py.
"""

import functools
import json
import operator
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest
from deepspeed.runtime import constants as deepspeed_constants
from deepspeed.runtime.config import DeepSpeedConfig
from deepspeed.runtime.zero.config import DeepSpeedZeroConfig
from huggingface_hub import constants as hub_constants
from hypothesis import strategies as st

import data_prep.__main__ as data_prep_program
from common.deepspeed_config import DeepSpeedFile, read_deepspeed
from common.errors import InputError
from common.run_config import REPOSITORY, load
from data_prep.storage.store import Prepared
from eval.__main__ import main as evaluate
from tests.support import second_reading as second
from tests.support.bad_input import ODD, Draw, accepted, altered, damage, explore, mangled, paths, pick
from tests.support.eval_run import make_run, skip_reports, write_tests
from tests.support.rows import run_config
from tests.support.small import dry_run, write_run
from tests.support.target_files import laser

prepare = data_prep_program.main


class World(NamedTuple):
    """Made once: a tokenizer, a run config over prepared tasks, an exported encoder, test data of the toy targets."""

    tokenizer: Path
    run: Path
    encoder: Path
    targets: Path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer_dir: Path) -> Iterator[World]:
    base = tmp_path_factory.mktemp("world")
    laser(base / "targets", "deu", [(word, word) for word in ("dog", "river", "house")])
    write_tests(base / "targets")
    run, encoder = write_run(base, tiny_tokenizer_dir), make_run(base, tiny_tokenizer_dir)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hub_constants, "HF_HUB_OFFLINE", True)
        skip_reports(patch)
        dry_run(["--config", str(run)])  # libraries write to their caches when they are first used
        yield World(tiny_tokenizer_dir, run, encoder, base / "targets")


# Training data


def whole_folders(out: Path) -> dict[str, Path]:
    """The prepared folder of each dataset; AssertionError for anything else that is left."""
    found = [path for path in out.glob("*/*") if path.name != ".lock"]
    assert all((path / "manifest.json").is_file() for path in found), found
    assert len({path.parent for path in found}) == len(found), found
    return {path.parent.name: path for path in found}


def prepared(folder: Path, world: World, form: second.Form, files: list[tuple[str, bytes]]) -> tuple[bool, Path | None]:
    """Whether these files are taken, and the prepared folder; they are written below `folder`."""
    (folder / "in").mkdir(parents=True, exist_ok=True)
    paths = [folder / "in" / name for name, _ in files]
    for path, (_, content) in zip(paths, files, strict=True):
        path.write_bytes(content)
    labels = {"labels": second.LABELS} if form.kind == "classify" else {}
    task = {"name": "mine", "kind": form.kind, **labels, "train": str(paths[0]), "dev": str(paths[1])}
    config = run_config(folder / "in", world.tokenizer, [task])
    taken = accepted(prepare, ["--config", config, "--out", str(folder / "out"), "--jobs", "1"], folder)
    return taken, whole_folders(folder / "out").get("mine")


def test_training_files(world: World) -> None:
    """A file is refused, or prepared as the rows of its second reading are in a clean file."""

    def example(draw: Draw, folder: Path) -> bool:
        form: second.Form = draw(st.sampled_from(second.FORMS))
        contents, victim = [form.clean, form.clean], draw(st.integers(0, 1))
        contents[victim] = draw(second.spoilt(form.clean))
        names = [f"{split}.{form.suffix}" for split in ("train", "dev")]
        taken, found = prepared(folder, world, form, list(zip(names, contents, strict=True)))
        try:
            rows = [form.read(content) for content in contents]
        except second.Wrong:
            assert not taken and found is None
            return False
        clean = [(f"{split}.jsonl", second.jsonl(*some)) for split, some in zip(("train", "dev"), rows, strict=True)]
        (right_taken, right) = prepared(folder / "again", world, form, clean)
        assert taken and right_taken and found and right
        labels = [json.loads((path / "manifest.json").read_text())["labels"] for path in (found, right)]
        assert labels[0] == labels[1]
        for path in right.glob("*.arrow"):
            tables = [pa.ipc.open_file(file.read_bytes()).read_all() for file in (found / path.name, path)]
            if "id" in tables[0].column_names and any(row.get("id") is None for some in rows for row in some):
                tables = [table.drop_columns("id") for table in tables]  # named by the line, which may be another
            assert tables[0].equals(tables[1]), path.name
        return True

    explore(60, example)


# Configs


def holds(read: Any, written: Any) -> bool:
    """Whether a config, as it was read, says what was written."""
    if isinstance(written, dict):
        return isinstance(read, dict) and all(key in read and holds(read[key], value) for key, value in written.items())
    if isinstance(written, list):
        return len(read) == len(written) and all(map(holds, read, written))
    if isinstance(written, str) and isinstance(read, int | float):  # "1" where a number is wanted
        return float(written) == read
    return read == written and isinstance(read, bool) == isinstance(written, bool)


def test_run_configs(world: World) -> None:
    """In the file or by `--set`: what is let through says what was written."""
    values = load(str(world.run), []).model_dump(mode="json")  # all fields, those that a file leaves out too
    now = {".".join(map(str, path)): functools.reduce(operator.getitem, path, values) for path in paths(values)}
    keys = [*now, "tasks.my_tag.cap", "tasks.99.cap", "tasks..", ".", "", "name.x", "tasks.-1.cap", "tasks.٣.cap"]

    def example(draw: Draw, folder: Path) -> bool:
        path, text, written = folder / "in" / "run.json", json.dumps(values, indent=1).encode(), None
        how, key, sets = draw(st.sampled_from(["set", "set", "altered", "bytes"])), "", []
        if how == "set":
            key, sign = pick(draw, keys), draw(st.sampled_from(["=", "=", "=", ""]))
            written = draw(st.one_of(ODD, ODD, ODD, st.just(now.get(key, 1))))
            sets = [f"--set={key}{sign}{json.dumps(written)}"]
        elif how == "altered":
            written = draw(altered(values))
            text = json.dumps(written).encode()
        else:
            text = draw(mangled(text))
        path.write_bytes(text)
        taken = accepted(dry_run, ["--config", str(path), *sets], folder)
        if taken and how != "bytes":
            read = load(str(path), [one.removeprefix("--set=") for one in sets]).model_dump(mode="json")
            for part in key.split(".") if sets else ():
                read = read[int(part) if isinstance(read, list) else part]
            assert holds(read, written), (read, written)
        return taken

    explore(90, example)


def test_deepspeed_configs(world: World) -> None:
    """What is let through is a config to DeepSpeed's own reader too, of a stage that trains here."""
    known = [value for name, value in vars(deepspeed_constants).items() if name.isupper() and isinstance(value, str)]
    keys = {
        "": sorted({*known, *DeepSpeedFile.model_fields, "zero_optimisation"}),
        "zero_optimization": sorted(DeepSpeedZeroConfig.model_fields),
    }
    likely: list[Any] = [
        True, False, 1, 2, 10**7, "auto", "fp32", "bf16", "fp16", {"enabled": True}, {"enabled": "yes"}, {"stage": 2},
        {"device": "cpu"}, {"device": "nvme"}, {"grad_accum_dtype": "fp32"}, {"grad_accum_dtype": "fp8"},
        {"stage": "2"}, {"type": "Adam", "params": {"lr": 1}}, {"tag_validation": "Nope"},
    ]  # fmt: skip
    values_of_keys = st.sampled_from(likely) | ODD
    shipped = [path.read_bytes() for path in sorted((REPOSITORY / "ds_configs").glob("*.json"))]

    def example(draw: Draw, folder: Path) -> bool:
        text = draw(st.sampled_from(shipped))
        values, how = json.loads(text), draw(st.sampled_from(["key", "key", "any", "defaults", "bytes"]))
        if how == "key":
            section = draw(st.sampled_from(list(keys)))
            (values[section] if section else values)[pick(draw, keys[section])] = draw(values_of_keys)
        elif how != "bytes":
            values = draw(altered(values if how == "any" else DeepSpeedFile().model_dump(), values_of_keys))
        path = folder / "in" / "ds.json"
        path.write_bytes(draw(mangled(text)) if how == "bytes" else json.dumps(values).encode("utf-8", "replace"))
        taken = accepted(dry_run, ["--config", str(world.run), "--set", f"deepspeed={path}"], folder)
        if taken:
            read = DeepSpeedConfig(read_deepspeed(load(str(world.run), [f"deepspeed={path}"])))
            stage = json.loads(path.read_bytes().decode("utf-8-sig")).get("zero_optimization", {}).get("stage", 0)
            assert read.zero_optimization_stage == stage and stage in (0, 1, 2)
        return taken

    explore(120, example)


# What the programs wrote themselves


def test_prepared_folders(world: World) -> None:
    """A dry run refuses a damaged folder or training finds it before it starts; data_prep makes it anew."""
    run = json.loads(world.run.read_text())

    def example(draw: Draw, folder: Path) -> bool:
        task = draw(st.sampled_from(run["tasks"]))
        (source,) = (path for path in (Path(run["data"]) / task["name"]).iterdir() if path.name != ".lock")
        mine = folder / "out" / "data" / task["name"] / source.name
        shutil.copytree(source, mine)
        damage(draw, mine)
        values = {**run, "tasks": [task], "data": str(folder / "out" / "data"), "output": str(folder / "out" / "runs")}
        (folder / "in" / "run.json").write_text(json.dumps(values))
        arguments = ["--config", str(folder / "in" / "run.json")]

        def same() -> bool:
            pairs = [(path, mine / path.name) for path in source.glob("*.arrow")]
            return all(copy.is_file() and copy.read_bytes() == path.read_bytes() for path, copy in pairs)

        taken = accepted(dry_run, arguments, folder)
        if taken and not same():
            with pytest.raises(InputError):
                Prepared(mine).verify()
        assert accepted(prepare, [*arguments, "--jobs", "1"], folder)
        assert whole_folders(folder / "out" / "data") == {task["name"]: mine} and same()
        return taken

    explore(50, example)


def scored(encoder: Path, target: str, data: Path, folder: Path) -> bool:
    out = folder / "out"
    arguments = ["--encoder", str(encoder), "--suite", target, "--data", str(data), "--out", str(out), "--direct"]
    taken = accepted(evaluate, arguments, folder)
    assert not [path for path in out.rglob("*") if "tmp" in path.name or (path.name[0] == "." and path.name != ".lock")]
    if taken:
        languages = json.loads((out / "scores.json").read_text())["targets"][target]["languages"]
        assert languages and all(0 <= score <= 100 for score in languages.values())
    return taken


def test_exported_encoders_and_heads(world: World) -> None:
    def example(draw: Draw, folder: Path) -> bool:
        home, out = folder / "in" / "run", folder / "out"
        shutil.copytree(world.encoder, home / "encoder")
        shutil.copytree(world.encoder.parent / "heads", home / "heads")
        part = home / draw(st.sampled_from(["encoder", "heads"]))
        if draw(st.booleans()):
            victim = draw(st.sampled_from(sorted(part.glob("*.json"))))
            victim.write_text(json.dumps(draw(altered(json.loads(victim.read_text())))))
        else:
            damage(draw, part)
        target = draw(st.sampled_from(["toy_tatoeba", "toy_xnli", "toy_xquad", None, None, None]))
        if target is not None:
            return scored(home / "encoder", target, world.targets, folder)
        arguments = ["export", "--encoder", str(home / "encoder"), "--task", "mnli", "--out", str(out / "x")]
        taken = accepted(evaluate, arguments, folder)
        assert [path.name for path in out.glob("*")] == (["x"] if taken else [])
        return taken

    explore(24, example)
