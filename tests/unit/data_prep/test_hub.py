"""The Hub, through the stock clients, from a server on 127.0.0.1: pinned commits, checksums, offline, no code run."""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_prep.datasets import REVISIONS
from tests.support.hub_server import Client, HubServer, Repo, repo_of
from tests.support.launch import the_error
from tests.support.rows import hub_file, run_config, write

SIQA, FILE = "lighteval/siqa", "train-00000-of-00001.parquet"

READ = """
import os
from common.errors import InputError
from eval.read import NotThere, read
from eval.suites import TARGETS
os.chdir({folder!r})
try:
    loaded = read(TARGETS[{name!r}], tuple({codes!r}.split()), "hub")
    rows = {{code: [repr(row) for row in rows] for code, rows in loaded.rows.items()}}
    result = {{"split": loaded.split, "rows": rows, "files": loaded.files}}
except (NotThere, InputError) as error:
    result = f"{{type(error).__name__}}: {{error}}"
"""


class Programs(Client):
    """Our programs in such a process."""

    def data_prep(self, folder: Path, tokenizer: Path, tasks: list[str], source: str = "hub") -> tuple[int, str, str]:
        arguments = ["--config", run_config(folder, tokenizer, tasks), "--source", source, "--jobs", "1"]
        return self.run(f"from data_prep.__main__ import main; result = main({arguments!r})")

    def refused(self, folder: Path, tokenizer: Path, tasks: list[str], *parts: str) -> None:
        """One sentence and exit code 2."""
        code, _, err = self.data_prep(folder, tokenizer, tasks)
        assert code == 2
        the_error(err, *parts)

    def read(self, folder: Path, name: str, codes: str):
        """The test data of a target."""
        return self.run(READ.format(name=name, codes=codes, folder=str(folder)))[0]


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[tuple[HubServer, Programs, Programs]]:
    home = tmp_path_factory.mktemp("hf")
    with HubServer() as server, Programs(server, home) as one, Programs(server, home, HF_HUB_OFFLINE="1") as other:
        yield server, one, other


@pytest.fixture
def server(running) -> HubServer:
    running[0].repos, running[0].faults, running[0].log = {}, {}, []
    return running[0]


@pytest.fixture
def online(running) -> Programs:
    return running[1]


@pytest.fixture
def offline(running) -> Programs:
    """Without network, with the same cache."""
    return running[2]


def siqa(folder: Path, splits: str = "train validation") -> Repo:
    """Its commit is not pinned, and no two folders have the same."""
    names = ("context", "question", "answerA", "answerB", "answerC")
    for split in splits.split():
        rows = [{**{name: f"{folder} {split} {name} {i}" for name in names}, "label": "3"} for i in range(8)]
        write(hub_file(folder / "siqa/default", split), rows)
    return repo_of(folder / "siqa", folder / "siqa/README.md")


def manifest(folder: Path, dataset: str) -> Path:
    (path,) = (folder / "data" / dataset).glob("*/manifest.json")
    return path


def test_one_commit_is_downloaded_once(server, online, offline, tmp_path, tiny_tokenizer_dir):
    first = server.repos[SIQA] = siqa(tmp_path / "hub")
    offline.refused(
        tmp_path, tiny_tokenizer_dir, ["siqa"], f"Hub: {SIQA}", "not in the cache, and HF_HUB_OFFLINE is set"
    )
    assert not server.log
    code, _, err = online.data_prep(tmp_path, tiny_tokenizer_dir, ["siqa"])
    assert code == 0, err[-2000:]
    assert sorted(name for name in server.downloads() if "parquet" in name) == [
        FILE,
        FILE.replace("train", "validation"),
    ]
    source = json.loads(manifest(tmp_path, "siqa").read_text())["source"]
    assert f"commit {first.sha}" in source["from"]
    assert source["files"][f"{SIQA}/default/{FILE}"] == first.entry(f"default/{FILE}")["lfs"]["oid"]
    # The main branch moves on: the commit of the first download stays, and nobody is asked.
    assert siqa(tmp_path / "hub2").sha != first.sha
    server.repos[SIQA], server.log = siqa(tmp_path / "hub2"), []
    code, out, _ = online.data_prep(tmp_path, tiny_tokenizer_dir, ["siqa"])
    assert code == 0 and "reused" in out and not server.log
    manifest(tmp_path, "siqa").unlink()
    code, out, err = offline.data_prep(tmp_path, tiny_tokenizer_dir, ["siqa"])
    assert code == 0 and "built" in out and not server.log, err[-2000:]


def test_broken_transfers_are_repeated_and_then_refused(server, online, tmp_path, tiny_tokenizer_dir):
    for fault in ("cut", "wrong"):
        repo = server.repos[SIQA] = siqa(tmp_path / fault / "hub")
        server.faults = {FILE: [fault]}
        code, _, err = online.data_prep(tmp_path / fault, tiny_tokenizer_dir, ["siqa"])
        assert code == 0 and not server.faults[FILE], err[-2000:]
        source = json.loads(manifest(tmp_path / fault, "siqa").read_text())["source"]
        assert source["files"][f"{SIQA}/default/{FILE}"] == repo.entry(f"default/{FILE}")["lfs"]["oid"]
    server.repos[SIQA], server.faults = siqa(tmp_path / "hub"), {FILE: ["wrong"] * 20}
    parts = (f"{FILE}: another sha256, also after 3 downloads", "--source DIR")
    online.refused(tmp_path, tiny_tokenizer_dir, ["siqa"], *parts)
    server.faults = {}
    assert online.data_prep(tmp_path, tiny_tokenizer_dir, ["siqa"])[0] == 0
    server.repos[SIQA] = siqa(tmp_path / "train only/hub", "train")
    online.refused(tmp_path / "train only", tiny_tokenizer_dir, ["siqa"], "validation: no such split; there: train")


def test_a_loading_script_is_never_run(server, online, offline, tmp_path, tiny_tokenizer_dir):
    """Its repository is read at the Hub's own conversion."""
    name = "tau/commonsense_qa"
    row = {"id": "q", "question": "How?", "choices": {"label": list("ABCDE"), "text": list("abcde")}, "answerKey": "B"}
    for split in ("train", "validation"):
        write(hub_file(tmp_path / "hub/default", split), [row])
    script = write(tmp_path / "commonsense_qa.py", f"open({str(tmp_path / 'RAN')!r}, 'w')\n")
    converted = repo_of(tmp_path / "hub", tmp_path / "README.md", "c" * 40)
    server.repos[name] = Repo({script.name: script}, REVISIONS[name] or "", {"refs/convert/parquet": converted})
    code, _, err = online.data_prep(tmp_path, tiny_tokenizer_dir, ["commonsenseqa"])
    assert code == 0, err[-2000:]
    assert f"commit {'c' * 40}" in manifest(tmp_path, "commonsenseqa").read_text()
    manifest(tmp_path, "commonsenseqa").unlink()
    assert offline.data_prep(tmp_path, tiny_tokenizer_dir, ["commonsenseqa"])[0] == 0
    assert not (tmp_path / "RAN").exists()


def test_only_the_first_files_of_a_large_corpus(server, online, tmp_path, tiny_tokenizer_dir):
    name, articles = "wikimedia/wikipedia", 10_150  # two files hold the 200 and 20,000 that are wanted
    for shard in range(4):
        rows = [{"id": f"{shard}-{i}", "text": "a"} for i in range(articles if shard < 2 else 1)]
        write(hub_file(tmp_path / "hub/20231101.sw", "train", shard, 4), rows)
    server.repos[name] = repo_of(tmp_path / "hub", tmp_path / "README.md", REVISIONS[name])
    code, _, err = online.data_prep(tmp_path, tiny_tokenizer_dir, ["wiki_sw"])
    assert code == 0, err[-2000:]
    assert {file for file in server.downloads() if "parquet" in file} == {
        f"train-0000{i}-of-00004.parquet" for i in (0, 1)
    }
    splits = json.loads(manifest(tmp_path, "wiki_sw").read_text())["splits"]
    assert (splits["dev"]["rows"], splits["train"]["rows"]) == (200, 20_000)


def test_test_data_come_from_the_hub_as_well(server, online, offline, tmp_path):
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
    assert online.read(tmp_path, "udpos", "lt").startswith("NotThere: ")
    assert {name: offline.read(tmp_path, name, codes) for name, codes in wanted.items()} == found
    assert "not in the cache" in offline.read(tmp_path, "xnli", "de fr")
    for name in ("bucc", "lareqa"):
        message = offline.read(tmp_path, name, "de")
        assert message.startswith("NotThere: ") and "HF_HUB_OFFLINE is set" in message and "--data DIR" in message
