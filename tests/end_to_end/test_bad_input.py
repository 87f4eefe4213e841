"""Whatever is spoilt in an input, a program ends with exit code 2 and one line, or with 0 and a correct result."""

import functools
import json
import operator
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deepspeed.runtime import constants as deepspeed_constants
from deepspeed.runtime.config import DeepSpeedConfig
from deepspeed.runtime.zero.config import DeepSpeedZeroConfig
from huggingface_hub import constants as hub_constants
from hypothesis import strategies as st

import data_prep.__main__ as data_prep_program
import train
from common.deepspeed_config import DeepSpeedFile, read_deepspeed
from common.errors import InputError
from common.run_config import load
from data_prep.storage.store import Prepared
from eval.__main__ import main as evaluate
from tests.support import second_reading as second
from tests.support.bad_input import accepted, explore
from tests.support.damage import FILE_NAMES, ODD, Draw, altered, damage, mangled, paths, pick, replace_file
from tests.support.eval_run import make_run, skip_reports
from tests.support.small import SHAPE, dry_run, write_run
from tests.support.tiny_tokenizer import LINES
from tests.support.training_files import FORMATS, Format, jsonl, spoilt

prepare = data_prep_program.main
DS_CONFIGS = Path(train.__file__).parent / "ds_configs"


class World(NamedTuple):
    """Made once: a tokenizer, a run config over prepared tasks, an exported encoder, test data of the toy targets."""

    tokenizer: Path
    run: Path
    encoder: Path
    targets: Path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer_dir: Path) -> Iterator[World]:
    base = tmp_path_factory.mktemp("world")
    question = {"id": "1", "question": "a dog", "answers": [{"text": "dog", "answer_start": 10}]}
    paragraph = {"context": "the small dog runs", "qas": [question]}
    for name, text in {
        "upstream/tatoeba.deu-eng.eng": "\n".join(LINES[:6]) + "\n",
        "upstream/tatoeba.deu-eng.deu": "\n".join(LINES[3:9]) + "\n",
        "upstream/xnli/test-en.tsv": "".join(f"a {label} dog,\tthe house\t{label}\r\n" for label in second.NLI),
        "upstream/xquad.en.json": json.dumps({"data": [{"title": "t", "paragraphs": [paragraph]}], "version": "1.1"}),
    }.items():
        (base / "targets" / name).parent.mkdir(parents=True, exist_ok=True)
        (base / "targets" / name).write_bytes(text.encode())
    path = base / "targets" / "hub" / "facebook" / "xnli" / "de" / "test-00000-of-00001.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table({"premise": LINES[:3], "hypothesis": LINES[1:4], "label": [0, 1, 2]}), path)
    run, encoder = write_run(base, tiny_tokenizer_dir), make_run(base, tiny_tokenizer_dir)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hub_constants, "HF_HUB_OFFLINE", True)
        skip_reports(patch)
        made = World(tiny_tokenizer_dir, run, encoder, base / "targets")
        dry_run(["--config", str(run)])  # libraries write to their caches when they are first used
        arguments = ["--encoder", str(encoder), "--data", str(made.targets / "upstream"), "--out", str(base / "scores")]
        assert evaluate([*arguments, "--suite", "toy", "--direct"]) == 0
        yield made


# Training data


def config(folder: Path, tokenizer: Path, task: Any) -> list[str]:
    values = {
        "name": "bad", "encoder": {"config": SHAPE, "tokenizer": str(tokenizer)}, "tasks": [task], "max_length": 64,
        "batch": {"examples": 4}, "steps": 3, "deepspeed": "zero2_cpu.json",
    }  # fmt: skip
    path = folder / "in" / "run.json"
    path.write_text(json.dumps(values))
    return ["--config", str(path), "--out", str(folder / "out"), "--jobs", "1"]


def task_of(dataset: Format, files: list[Path]) -> dict[str, Any]:
    if dataset.dataset != "mine":
        return {"task": dataset.dataset}
    named = {"labels": dataset.labels} if dataset.kind == "classify" else {}
    return {"name": "mine", "kind": dataset.kind, **named, "train": str(files[0]), "dev": str(files[1])}


def whole_folders(out: Path) -> dict[str, Path]:
    """The prepared folder of each dataset; AssertionError for anything else that is left."""
    found = [path for path in out.glob("*/*") if path.name != ".lock"]
    assert all((path / "manifest.json").is_file() for path in found), found
    assert len({path.parent for path in found}) == len(found), found
    return {path.parent.name: path for path in found}


def check_rows(found: Path, folder: Path, world: World, dataset: Format, rows: list[list[Any]]) -> None:
    """A prepared folder holds what becomes of these rows in a user's own clean files, prepared below `folder`."""
    (folder / "in").mkdir(parents=True)
    files = [folder / "in" / "train.jsonl", folder / "in" / "dev.jsonl"]
    for path, some in zip(files, rows, strict=True):
        path.write_bytes(jsonl(*some))
    assert prepare(config(folder, world.tokenizer, task_of(dataset._replace(dataset="mine"), files))) == 0
    right = whole_folders(folder / "out")["mine"]
    labels = [json.loads((path / "manifest.json").read_text())["labels"] for path in (found, right)]
    assert labels[0] == labels[1]
    for path in right.glob("*.arrow"):
        tables = [pa.ipc.open_file(file.read_bytes()).read_all() for file in (found / path.name, path)]
        if "id" in tables[0].column_names and any(row["id"] is None for row in rows[1]):
            tables = [table.drop_columns("id") for table in tables]  # named by the line, which may be another
        assert tables[0].equals(tables[1]), path.name


@pytest.mark.parametrize(("of", "count"), [("own", 90), ("upstream", 80), ("hub", 60)])
def test_training_files(world: World, of: str, count: int) -> None:
    def example(draw: Draw, folder: Path) -> bool:
        dataset: Format = draw(st.sampled_from(FORMATS[of]))
        victim = draw(st.integers(0, 1))
        how = draw(st.sampled_from(["data"] * 7 + ["file", "nothing", "name"]))
        data, names = [dataset.clean, dataset.clean], list(dataset.files)
        if how == "data":
            data[victim] = spoilt(draw, dataset.clean)
        elif how == "name" and of == "own":
            names[victim] = draw(st.sampled_from(FILE_NAMES)) + Path(names[victim]).suffix
        files = [folder / "in" / "source" / name for name in names]
        for path, content in zip(files, data, strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        if how == "file":
            replace_file(draw, files[victim])
        arguments = [
            *config(folder, world.tokenizer, task_of(dataset, files)),
            "--source",
            str(folder / "in" / "source"),
        ]
        taken = accepted(prepare, arguments, folder)
        whole = whole_folders(folder / "out")
        try:
            second.need(how != "file" and "\udcff" not in names[victim])  # no manifest can hold such a name
            rows = [dataset.read(content) for content in data]
        except second.Wrong:
            assert not taken and not whole
            return False
        # A little more is refused in a public file than makes it unreadable here; a user's own is read if it can be.
        assert taken or (of != "own" and how == "data")
        if taken:
            check_rows(whole[dataset.dataset], folder / "again", world, dataset, rows)
        return taken

    explore(count, example)


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


@pytest.mark.parametrize("by", ["file", "--set"])
def test_run_configs(world: World, by: str) -> None:
    values = load(str(world.run), []).model_dump(mode="json")  # all fields, those that a file leaves out too
    now = {".".join(map(str, path)): functools.reduce(operator.getitem, path, values) for path in paths(values)}
    keys = [*now, "tasks.my_tag.cap", "tasks.99.cap", "tasks..", ".", "", "name.x", "tasks.-1.cap", "tasks.٣.cap"]

    def example(draw: Draw, folder: Path) -> bool:
        sets, written = [], values
        path = folder / "in" / "run.json"
        path.write_text(json.dumps(values))
        if by == "--set":
            key = pick(draw, keys)
            value = draw(st.one_of(ODD, ODD, ODD, st.just(now.get(key, 1))))
            sets = [f"--set={key}{draw(st.sampled_from(['=', '=', '=', '']))}{json.dumps(value)}"]
        elif way := draw(st.integers(0, 5)):
            written = draw(altered(values)) if way > 1 else values
            path.write_bytes(json.dumps(written).encode("utf-8", "surrogatepass"))
        else:
            written = None
            path.write_bytes(draw(mangled(json.dumps(values, indent=1).encode())))
        taken = accepted(dry_run, ["--config", str(path), *sets], folder)
        if taken:
            read = load(str(path), [one.removeprefix("--set=") for one in sets]).model_dump(mode="json")
            if sets:
                for part in key.split("."):
                    read = read[int(part) if isinstance(read, list) else part]
                written = value
            assert written is None or holds(read, written), (read, written)
        return taken

    explore(110, example)


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
    shipped = [path.read_bytes() for path in sorted(DS_CONFIGS.glob("*.json"))]

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
            names = [path.name for path in source.iterdir() if path.suffix == ".arrow"]
            return all(
                (mine / name).is_file() and (mine / name).read_bytes() == (source / name).read_bytes() for name in names
            )

        taken = accepted(dry_run, arguments, folder)
        if taken and not same():
            with pytest.raises(InputError):
                Prepared(mine).verify()
        assert accepted(prepare, [*arguments, "--jobs", "1"], folder)
        assert whole_folders(folder / "out" / "data") == {task["name"]: mine} and same()
        return taken

    explore(80, example)


def scored(encoder: Path, target: str, data: Path, folder: Path) -> bool:
    out = folder / "out"
    arguments = ["--encoder", str(encoder), "--suite", target, "--data", str(data), "--out", str(out), "--direct"]
    taken = accepted(evaluate, arguments, folder)
    assert not [path for path in out.rglob("*") if "tmp" in path.name or (path.name[0] == "." and path.name != ".lock")]
    if taken:
        languages = json.loads((out / "scores.json").read_text())["targets"][target]["languages"]
        assert languages and all(0 <= score <= 100 for score in languages.values())
    return taken


def test_test_data_of_eval(world: World) -> None:
    def example(draw: Draw, folder: Path) -> bool:
        data = folder / "in" / "data"
        shutil.copytree(world.targets / draw(st.sampled_from(["upstream", "upstream", "hub"])), data)
        victim = str(damage(draw, data))
        target = next(target for target in ("tatoeba", "xnli", "xquad") if target in victim)
        return scored(world.encoder, f"toy_{target}", data, folder)

    explore(35, example)


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
            return scored(home / "encoder", target, world.targets / "upstream", folder)
        arguments = ["export", "--encoder", str(home / "encoder"), "--task", "mnli", "--out", str(out / "x")]
        taken = accepted(evaluate, arguments, folder)
        assert [path.name for path in out.glob("*")] == (["x"] if taken else [])
        return taken

    explore(35, example)
