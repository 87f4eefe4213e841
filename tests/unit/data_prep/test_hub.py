"""The Hub, through the stock clients, from a server on 127.0.0.1: pinned commits, checksums, offline, no code run;

and files that their authors publish.
"""

import hashlib
import json
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants

from data_prep.datasets import DATASETS, REVISIONS
from data_prep.datasets.schema import Published
from data_prep.sources import download
from data_prep.sources.download import fetch_published
from data_prep.sources.locate import locate_training
from data_prep.sources.sources_lock import SourcesLock
from tests.support.hub_server import Client, HubServer, Repo, repo_of
from tests.support.launch import the_error
from tests.support.rows import fails, hub_file, run_config, write
from tests.unit.data_prep.dataset_forms import ANSWERED, squad_json

SIQA, FILE = "lighteval/siqa", "train-00000-of-00001.parquet"

READ = """
import os
from common.errors import InputError
from eval.read import NoData, read
from eval.suites import TARGETS
os.chdir({folder!r})
try:
    loaded = read(TARGETS[{name!r}], tuple({codes!r}.split()), "hub")
    rows = {{code: [repr(row) for row in rows] for code, rows in loaded.rows.items()}}
    result = {{"split": loaded.split, "rows": rows, "files": loaded.files}}
except (NoData, InputError) as error:
    result = f"{{type(error).__name__}}: {{error}}"
"""


class Programs(Client):
    """Our programs in such a process."""

    home: Path
    tokenizer: Path

    def prepared(self, folder: Path, task: str, code: int = 0) -> tuple[str, str]:
        """(output, errors) of `data_prep`."""
        config = run_config(folder, self.tokenizer, [task])
        ended, out, err = self.data_prep("--config", config, "--source", "hub", "--jobs", "1")
        assert ended == code, err[-2000:]
        return out, err

    def read(self, folder: Path, name: str, codes: str):
        """The test data of a target."""
        return self.run(READ.format(name=name, codes=codes, folder=str(folder)))[0]


@pytest.fixture(scope="module")
def running(tmp_path_factory, tiny_tokenizer_dir) -> Iterator[tuple[HubServer, Programs, Programs]]:
    """The Hub, our programs, and ours without network, with the same cache."""
    home = Programs.home = tmp_path_factory.mktemp("hf")
    Programs.tokenizer = tiny_tokenizer_dir
    with HubServer() as server, Programs(server, home) as one, Programs(server, home, HF_HUB_OFFLINE="1") as other:
        yield server, one, other


@pytest.fixture
def hub(running) -> tuple[HubServer, Programs, Programs]:
    running[0].repos, running[0].faults, running[0].log = {}, {}, []
    return running


def siqa(folder: Path) -> Repo:
    """Its commit is not pinned, and no two folders have the same."""
    names = ("context", "question", "answerA", "answerB", "answerC")
    for split in ("train", "validation"):
        rows = [{**{name: f"{folder} {split} {name} {i}" for name in names}, "label": "3"} for i in range(8)]
        write(hub_file(folder / "siqa/default", split), rows)
    return repo_of(folder / "siqa", folder / "siqa/README.md")


def manifest(folder: Path, dataset: str) -> Path:
    (path,) = (folder / "data" / dataset).glob("*/manifest.json")
    return path


@pytest.mark.slow
def test_one_commit_is_downloaded_once(hub, tmp_path):
    server, online, offline = hub
    first = server.repos[SIQA] = siqa(tmp_path / "hub")
    said = (f"Hub: {SIQA}", "not in the cache, and HF_HUB_OFFLINE is")
    the_error(offline.prepared(tmp_path, "siqa", code=2)[1], *said)
    assert not server.log
    online.prepared(tmp_path, "siqa")
    fetched = [FILE, FILE.replace("train", "validation")]
    assert sorted(name for name in server.downloads() if "parquet" in name) == fetched
    source = json.loads(manifest(tmp_path, "siqa").read_text())["source"]
    assert f"commit {first.sha}" in source["from"]
    oid = first.entry(f"default/{FILE}")["lfs"]["oid"]
    assert source["files"][f"{SIQA}/default/{FILE}"] == oid
    # As where repositories share their files, the blob is a link.
    (blob,) = online.home.glob(f"hub/datasets--*/blobs/{oid}")
    blob.symlink_to(blob.rename(tmp_path / "shared"))
    # The main branch moves on: the commit of the first download stays, and nobody is asked.
    assert siqa(tmp_path / "hub2").sha != first.sha
    server.repos[SIQA], server.log = siqa(tmp_path / "hub2"), []
    assert "reused" in online.prepared(tmp_path, "siqa")[0] and not server.log
    manifest(tmp_path, "siqa").unlink()
    assert "built" in offline.prepared(tmp_path, "siqa")[0] and not server.log


def test_broken_transfers_are_repeated_and_then_refused(hub, tmp_path):
    server, online, _ = hub
    for fault in ("cut", "wrong"):
        repo = server.repos[SIQA] = siqa(tmp_path / fault / "hub")
        server.faults = {FILE: [fault]}
        online.prepared(tmp_path / fault, "siqa")
        assert not server.faults[FILE]
        source = json.loads(manifest(tmp_path / fault, "siqa").read_text())["source"]
        assert source["files"][f"{SIQA}/default/{FILE}"] == repo.entry(f"default/{FILE}")["lfs"]["oid"]
    server.repos[SIQA], server.faults = siqa(tmp_path / "hub"), {FILE: ["wrong"] * 20}
    parts = (f"{FILE}: another sha256, also after 3 downloads", "--source DIR")
    the_error(online.prepared(tmp_path, "siqa", code=2)[1], *parts)
    server.faults = {}
    online.prepared(tmp_path, "siqa")


def test_a_loading_script_is_never_run(hub, tmp_path):
    """Its repository is read at the Hub's own conversion."""
    server, online, offline = hub
    name = "tau/commonsense_qa"
    row = {"id": "q", "question": "How?", "choices": {"label": list("ABCDE"), "text": list("abcde")}, "answerKey": "B"}
    for split in ("train", "validation"):
        write(hub_file(tmp_path / "hub/default", split), [row])
    script = write(tmp_path / "commonsense_qa.py", f"open({str(tmp_path / 'RAN')!r}, 'w')\n")
    converted = repo_of(tmp_path / "hub", tmp_path / "README.md", "c" * 40)
    server.repos[name] = Repo({script.name: script}, REVISIONS[name] or "", {"refs/convert/parquet": converted})
    online.prepared(tmp_path, "commonsenseqa")
    assert f"commit {'c' * 40}" in manifest(tmp_path, "commonsenseqa").read_text()
    manifest(tmp_path, "commonsenseqa").unlink()
    offline.prepared(tmp_path, "commonsenseqa")
    assert not (tmp_path / "RAN").exists()


def test_only_the_first_files_of_a_large_corpus(hub, tmp_path):
    server, online, _ = hub
    name, articles = "wikimedia/wikipedia", 10_150  # two files hold the 200 and 20,000 that are wanted
    for shard in range(4):
        rows = [{"id": f"{shard}-{i}", "text": "a"} for i in range(articles if shard < 2 else 1)]
        write(hub_file(tmp_path / "hub/20231101.sw", "train", shard, 4), rows)
    server.repos[name] = repo_of(tmp_path / "hub", tmp_path / "README.md", REVISIONS[name])
    online.prepared(tmp_path, "wiki_sw")
    wanted = {f"train-0000{i}-of-00004.parquet" for i in (0, 1)}
    assert {file for file in server.downloads() if "parquet" in file} == wanted
    splits = json.loads(manifest(tmp_path, "wiki_sw").read_text())["splits"]
    assert (splits["dev"]["rows"], splits["train"]["rows"]) == (200, 20_000)


def test_test_data_come_from_the_hub_as_well(hub, tmp_path):
    server, online, offline = hub
    for code in ("de", "sw"):
        for split in ("test", "train"):
            rows = [{"premise": code, "hypothesis": "h", "label": label} for label in range(3)]
            names = ["neutral", "entailment", "contradiction"]  # another order than ours: names decide
            write(hub_file(tmp_path / f"hub/xnli/{code}", split), rows, {"label": names})
    mention = write(tmp_path / "test.jsonl", [{"mention": "Hund: { Hund }", "entity_id": "Q1"}])
    entities = write(tmp_path / "entities.jsonl", [{"entity_id": "Q1", "description": "A dog."}])
    with tarfile.open(tmp_path / "entities.tar.gz", "w:gz") as archive:
        archive.add(entities, "candidate_entities.jsonl")
    codes = ["ar", "de", "en", "es", "fa", "ja", "pl", "ro", "ta", "tr", "uk"]
    files = {f"wikinews_mentions/{code}/test.jsonl": mention for code in codes}
    files["candidate_entities.jsonl.tar.gz"] = tmp_path / "entities.tar.gz"
    server.repos["facebook/xnli"] = repo_of(tmp_path / "hub/xnli", tmp_path / "README.md", REVISIONS["facebook/xnli"])
    server.repos["izhx/mewsli-x"] = Repo(files, REVISIONS["izhx/mewsli-x"] or "")
    wanted = {"xnli": "de sw", "mewslix": "de uk"}
    found = {name: online.read(tmp_path, name, codes) for name, codes in wanted.items()}
    assert found["xnli"]["split"] == "test" and [row[-2] for row in found["xnli"]["rows"]["de"]] == ["1", "0", "2"]
    assert not any("train" in name for name in server.downloads())
    assert {code: len(rows) for code, rows in found["mewslix"]["rows"].items()} == {"de": 1, "uk": 1}
    # A repository whose columns nobody has confirmed is named as missing.
    assert online.read(tmp_path, "udpos", "lt").startswith("NoData: ")
    assert {name: offline.read(tmp_path, name, codes) for name, codes in wanted.items()} == found
    assert "not in the cache" in offline.read(tmp_path, "xnli", "de fr")
    for name in ("bucc", "lareqa"):
        message = offline.read(tmp_path, name, "de")
        assert message.startswith("NoData: ") and "HF_HUB_OFFLINE is set" in message and "--data DIR" in message


# Files that their authors publish: resumed, checked against a checksum, mirrored, or refused with a sentence


BYTES = bytes(range(256)) * 2000


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_PAUSE", 0.001)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # read from the environment once, at import
    monkeypatch.setenv("no_proxy", "*")
    file = tmp_path / "served.bin"
    file.write_bytes(BYTES)
    with HubServer(files={"a.bin": file, "b.bin": file}) as running:
        yield running


def published(files: HubServer, *names: str, sha256: str | None = hashlib.sha256(BYTES).hexdigest()) -> Published:
    return Published("set/file.bin", tuple(f"{files.url}/files/{name}" for name in names or ("a.bin",)), sha256)


def fetch(folder: Path, file: Published) -> Path:
    """The file where it should be, whole, with nothing beside it."""
    path = fetch_published([file], SourcesLock(folder / "data")) / "set/file.bin"
    assert path == folder / "data/downloads/set/file.bin" and path.read_bytes() == BYTES
    assert [p.name for p in path.parent.iterdir()] == ["file.bin"]
    return path


@pytest.mark.parametrize(
    ("faults", "mirrors", "asked", "whole"),
    [
        ([], ["a.bin"], ["a.bin"], 1),
        (["cut", "cut"], ["a.bin"], ["a.bin"] * 3, 1),  # not a byte twice
        (["wrong"], ["a.bin"], ["a.bin"] * 2, 2),
        (["error"] * 99, ["a.bin", "missing.bin", "b.bin"], ["a.bin"] * 3 + ["missing.bin"] * 3 + ["b.bin"], 1),
    ],
)
def test_whole_after_broken_transfers_and_then_kept(files, tmp_path, faults, mirrors, asked, whole):
    files.faults = {"a.bin": faults}
    fetch(tmp_path, published(files, *mirrors))
    fetch(tmp_path, published(files, *mirrors))
    assert files.downloads() == asked
    assert files.sent == whole * len(BYTES)


def test_refused_with_a_sentence(files, tmp_path):
    files.faults = {"a.bin": ["wrong"] * 99, "b.bin": ["cut"] * 99}
    path = tmp_path / "data/downloads/set/file.bin"
    parts = ("set/file.bin: could not be downloaded", "3 attempts each", "a.bin: sha256 ", "instead of", str(path))
    fails(lambda: fetch(tmp_path, published(files, "a.bin", "b.bin")), *parts, "b.bin: the connection ended after")
    assert not path.exists()


def test_without_a_published_checksum_the_first_one_counts(files, tmp_path, capsys):
    unknown = published(files, sha256=None)
    path = fetch(tmp_path, unknown)
    path.write_bytes(b"altered")
    fetch(tmp_path, unknown)  # not what was downloaded first: fetched again
    assert "another sha256" in capsys.readouterr().err
    (tmp_path / "served.bin").write_bytes(b"another release")
    path.unlink()
    fails(lambda: fetch(tmp_path, unknown), "sha256", "instead of")


def test_archives_are_unpacked_once_and_only_below_their_folder(files, tmp_path):
    inner = tmp_path / "x.txt"
    inner.write_text("text")
    (tmp_path / "link").symlink_to(inner)

    def unpack(name: str, member: Path) -> Path:
        with tarfile.open(tmp_path / "x.tar.bz2", "w:bz2") as tar:
            info = tar.gettarinfo(member)
            info.name = name
            tar.addfile(info, member.open("rb") if info.isfile() else None)
        files.files["x.tar.bz2"] = tmp_path / "x.tar.bz2"
        file = Published("bucc/x.tar.bz2", (f"{files.url}/files/x.tar.bz2",), None)
        return fetch_published([file], SourcesLock(tmp_path / "data")) / "bucc" / name

    unpacked = unpack("bucc2018/x.txt", inner)
    assert unpacked.read_text() == "text"
    unpacked.write_text("kept")
    assert unpack("bucc2018/x.txt", inner).read_text() == "kept"
    for name, member in (("../../../escaped", inner), (str(tmp_path / "escaped"), inner), ("x", tmp_path / "link")):
        shutil.rmtree(tmp_path / "data")
        fails(lambda n=name, m=member: unpack(n, m), f"x.tar.bz2: holds {name!r}", "refused")
        assert not (tmp_path / "escaped").exists()


def test_the_archive_of_mlqa_serves_all_its_languages(files, tmp_path):
    files.files = {"mlqa.tar.gz": tmp_path / "mlqa.tar.gz"}
    with tarfile.open(tmp_path / "mlqa.tar.gz", "w:gz") as tar:
        for code in ("de", "vi"):
            for split in ("train", "dev"):
                path = f"mlqa-translate-train/{code}_squad-translate-train-{split}-v1.1.json"
                tar.add(write(tmp_path / path, squad_json({**ANSWERED, "id": code})), path)
    for code in ("de", "vi"):
        (file,) = DATASETS[f"squad_v1.{code}"].published
        served = replace(file, urls=(f"{files.url}/files/mlqa.tar.gz",), sha256=None)
        dataset = replace(DATASETS[f"squad_v1.{code}"], published=(served,))
        found = locate_training(dataset, [None], SourcesLock(tmp_path / "x"))
        assert next(found.train[0].rows())[1]["id"] == code
        assert found.licence == "CC BY-SA 3.0, machine-translated (Facebook, 2019)"
    assert files.downloads() == ["mlqa.tar.gz"]
