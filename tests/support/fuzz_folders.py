"""Families of fuzz.py on what the programs wrote themselves: prepared folders and exported encoders, damaged."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa

import data_prep.__main__ as prepare_program
from common.errors import InputError
from data_prep.storage.manifest import MANIFEST, checksum
from data_prep.storage.store import Prepared, file_sha256
from eval.__main__ import main as evaluate
from tests.support.fuzz import Case
from tests.support.fuzz_configs import dry_run
from tests.support.fuzz_mutate import alter, mangle, spoil_file


def damage(folder: Path, rng: random.Random) -> tuple[str, Path]:
    """(what was done, to which file) of a folder of files."""
    victim = rng.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
    how = rng.choice(("bytes",) * 7 + ("file", "double", "tail"))
    data = victim.read_bytes()
    if how == "file":
        return spoil_file(victim, rng), victim
    if how == "double":
        victim.write_bytes(data + data)
    elif how == "tail":
        victim.write_bytes(data + b"\n")
    else:
        how, data = mangle(data, rng)
        victim.write_bytes(data)
    return f"{victim.name}: {how}", victim


def _forge(folder: Path, rng: random.Random) -> tuple[str, Path]:
    """Another table with the right hashes everywhere: only a look at the columns tells."""
    victim = folder / rng.choice(("train.arrow", "dev.arrow"))
    table = pa.ipc.open_file(victim.read_bytes()).read_all()
    name = rng.choice(table.column_names)
    index = table.column_names.index(name)
    how = rng.choice(("drop", "rename", "type", "nulls", "add", "values", "values", "values"))
    if how == "values":
        # One number out of its range: only a look at the numbers tells.
        name = rng.choice([n for n in table.column_names if n not in ("example", "units") and "offset" not in n])
        index = table.column_names.index(name)
        column = table[name].to_pylist()
        row, wrong = rng.randrange(len(column)), rng.choice((-2, 2**30))
        if isinstance(column[row], list):
            column[row][rng.randrange(len(column[row]))] = wrong
        else:
            column[row] = wrong
        table = table.set_column(index, table.schema.field(name), pa.array(column, table.schema.field(name).type))
    elif how == "drop":
        table = table.remove_column(index)
    elif how == "rename":
        table = table.rename_columns([f"{c}x" if c == name else c for c in table.column_names])
    elif how == "add":
        table = table.append_column("more", pa.array([1] * table.num_rows))
    else:
        new = pa.nulls(table.num_rows, pa.int32()) if how == "nulls" else pa.array(["x"] * table.num_rows)
        table = table.set_column(index, name, new)
    with pa.OSFile(str(victim), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    manifest["files"][victim.name] = {"bytes": victim.stat().st_size, "sha256": file_sha256(victim)}
    manifest["sha256"] = checksum(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    return f"{victim.name}: {how} {name}, hashes made to fit", victim


def prepared_folders(rng: random.Random, folder: Path, world: Any) -> Case:
    """A prepared folder damaged: a dry run (and the check at the start of training) refuses it, data_prep mends it."""
    values = json.loads(world.run.read_text(encoding="utf-8"))
    entry = rng.choice(values["tasks"])
    source = next((Path(values["data"]) / entry["name"]).glob("*-*"))
    data = folder / "out" / "data"
    mine = data / entry["name"] / source.name
    shutil.copytree(source, mine)
    before = {path.name: path.read_bytes() for path in mine.iterdir()}
    how = rng.choice(("damage",) * 5 + ("manifest",) * 2 + ("forge",) * 2)
    if how == "manifest":
        # Its own hash made to fit, so that the fields themselves must be found wrong, or not matter.
        what, manifest = alter(json.loads(before[MANIFEST]), rng)
        if isinstance(manifest, dict) and rng.random() < 0.7:
            manifest["sha256"] = checksum(manifest)
        (mine / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
        what = f"{MANIFEST}: {what}"
    else:
        what, _ = damage(mine, rng) if how == "damage" else _forge(mine, rng)
    values |= {"tasks": [entry], "data": str(data), "output": str(folder / "out" / "runs")}
    path = folder / "in" / "run.json"
    path.write_text(json.dumps(values), encoding="utf-8")

    def same(prepared: Prepared) -> bool:
        for name, old in before.items():
            new = (prepared.path / name).read_bytes()
            if name == MANIFEST:
                old_manifest, new_manifest = json.loads(old), json.loads(new)
                for manifest in (old_manifest, new_manifest):
                    for key in ("created", "sha256", "fingerprint"):
                        manifest.pop(key, None)
                if old_manifest != new_manifest:
                    return False
            elif old != new:
                return False
        return True

    vocabulary = len(world.tokenizer)
    if rng.random() < 0.5 or "values" in what:

        def check(accepted: bool) -> None:
            if not accepted:
                return
            found = Prepared(mine)
            try:
                found.verify(vocabulary)
            except InputError:
                return
            assert how == "manifest" or same(found), "damaged, and neither opening nor verify() tells"

        arguments = ["--config", str(path)]
        return Case(f"dry run: {entry['kind']}, {what}", dry_run(arguments), None, None, check)

    def mended(accepted: bool) -> None:
        assert accepted, "data_prep must prepare it again"
        assert how == "manifest" or same(Prepared(mine))
        assert [p.name for p in mine.parent.iterdir() if p.name != ".lock"] == [mine.name]

    arguments = ["--config", str(path), "--jobs", "1"]
    expect = None if how == "manifest" else "accept"
    return Case(
        f"data_prep: {entry['kind']}, {what}", lambda: prepare_program.main(arguments), folder / "out", expect,
        mended if expect else None,
    )  # fmt: skip


# Evaluation

_TARGETS = {"toy_tatoeba": "toy_tatoeba", "toy_xnli": "toy_xnli", "toy_xquad": "toy_xquad"}


def eval_data(rng: random.Random, folder: Path, world: Any) -> Case:
    """Test data of `python -m eval` damaged; Parquet, LASER's pairs of files, XTREME's TSV and JSON."""
    data = folder / "in" / "data"
    shutil.copytree(world.targets / rng.choice(("hub", "upstream")), data)
    what, victim = damage(data, rng)
    target = "toy_tatoeba" if "tatoeba" in str(victim) else "toy_xnli" if "xnli" in str(victim) else "toy_xquad"
    return _evaluation(what, world.encoder, target, data, folder)


def eval_folders(rng: random.Random, folder: Path, world: Any) -> Case:
    """An exported encoder or its heads damaged, for scoring or for `python -m eval export`."""
    home = folder / "in" / "run"
    shutil.copytree(world.encoder.parent, home)
    part = home / rng.choice(("encoder", "heads"))
    small = [path for path in sorted(part.iterdir()) if path.suffix == ".json"]
    if rng.random() < 0.5 and small:
        victim = rng.choice(small)
        what, values = alter(json.loads(victim.read_text(encoding="utf-8")), rng)
        what = f"{victim.name}: {what}"
        victim.write_text(json.dumps(values), encoding="utf-8")
    else:
        what, _ = damage(part, rng)
    if rng.random() < 0.5:
        out = folder / "out"
        arguments = ["export", "--encoder", str(home / "encoder"), "--task", "mnli", "--out", str(out / "x")]

        def check(accepted: bool) -> None:
            left = sorted(p.name for p in out.iterdir()) if out.exists() else []
            assert left == (["x"] if accepted else []), left

        return Case(f"export: {what}", lambda: evaluate(arguments), out, None, check)
    target = rng.choice(list(_TARGETS))
    return _evaluation(what, home / "encoder", target, world.targets / "upstream", folder)


def _evaluation(what: str, encoder: Path, target: str, data: Path, folder: Path) -> Case:
    out = folder / "out"
    arguments = ["--encoder", str(encoder), "--suite", target, "--data", str(data), "--out", str(out), "--direct"]

    def check(accepted: bool) -> None:
        left = sorted(p.name for p in out.rglob("*") if "tmp" in p.name or (p.name[0] == "." and p.name != ".lock"))
        assert not left, left
        if accepted:
            scores = json.loads((out / "scores.json").read_text(encoding="utf-8"))
            for figure in scores["targets"][target]["languages"].values():
                assert 0 <= figure <= 100

    return Case(f"{target}: {what}", lambda: evaluate(arguments), out, None, check)
