"""Downloads through the stock clients from a server on 127.0.0.1 that speaks the Hub's API (`hub_server.py`).

The clients read HF_ENDPOINT and HF_HOME when they are imported, so every download runs in a process of its own.
"""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from data_prep.datasets.revisions import REVISIONS
from tests.support.hub_server import HubServer, Repo, repo_of
from tests.support.rows import nli, write_parquet

HOUSE = Path(__file__).resolve().parents[3]
ORDER = ["neutral", "entailment", "contradiction"]  # another than ours: names decide


def process(server: HubServer, home: Path, *command: str, **environment: str) -> subprocess.CompletedProcess:
    """A program whose clients see the server as the Hub and an empty folder (at first) as their cache."""
    there = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGINGFACE"))}
    there |= {"HF_ENDPOINT": server.url, "HF_HOME": str(home / "hf"), "HF_HUB_DISABLE_XET": "1", "no_proxy": "*"}
    return subprocess.run(
        [sys.executable, *command], cwd=HOUSE, env={**there, **environment}, capture_output=True, text=True, timeout=150
    )


def commit(name: str, repo: Repo) -> Repo:
    """The repository with the commit that our table pins."""
    repo.sha = REVISIONS[name] or repo.sha
    return repo


def snli(folder: Path) -> Repo:
    for split in ("train", "validation", "test"):
        write_parquet(folder / "snli/plain_text", split, nli([0, 1, 2, -1] * 50), {"label": ORDER})
    return commit("stanfordnlp/snli", repo_of(folder / "snli", folder / "snli/README.md"))


def siqa(folder: Path, answer: str = "3") -> Repo:
    names = ("context", "question", "answerA", "answerB", "answerC")
    for split in ("train", "validation"):
        columns = {name: [f"{split} {name} {i}" for i in range(8)] for name in names}
        write_parquet(folder / "siqa/default", split, {**columns, "label": [answer] * 8})
    return repo_of(folder / "siqa", folder / "siqa/README.md")


def data_prep(server: HubServer, folder: Path, tokenizer: Path, tasks: list, **environment: str):
    config = {
        "name": "x", "data": str(folder / "data"), "encoder": {"config": {}, "tokenizer": str(tokenizer)},
        "tasks": tasks, "max_length": 64, "steps": 1,
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(config))
    command = ("-m", "data_prep", "--config", str(folder / "run.json"), "--source", "hub", "--jobs", "1")
    return process(server, folder, *command, **environment)


def refused(done: subprocess.CompletedProcess, *parts: str) -> None:
    """Ended with one sentence and exit code 2."""
    assert done.returncode == 2, done.stderr[-2000:]
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "Traceback" not in done.stderr
    for part in parts:
        assert part in errors[0], errors[0]


def manifest(folder: Path, dataset: str) -> dict:
    (path,) = (folder / "data" / dataset).glob("*/manifest.json")
    return json.loads(path.read_text())


def test_downloads_once_then_needs_no_hub(tmp_path, tiny_tokenizer_dir):
    with HubServer({"lighteval/siqa": siqa(tmp_path / "hub")}) as server:
        done = data_prep(server, tmp_path, tiny_tokenizer_dir, ["siqa"])
        assert done.returncode == 0, done.stderr[-2000:]
        fetched = [line for line in server.log if line.startswith("GET /datasets/") and line.endswith(".parquet")]
        assert sorted(name.rpartition("/")[2][:5] for name in fetched) == ["train", "valid"]
        lock = json.loads((tmp_path / "data/sources.lock.json").read_text())["hub"]["lighteval/siqa"]
        assert lock["revision"] == server.repos["lighteval/siqa"].sha
        assert list(lock["splits"]) == ["default/train", "default/validation"]
        record = manifest(tmp_path, "siqa")
        assert f"commit {lock['revision']}" in record["source"]["from"]
        files = lock["splits"]["default/train"]["files"]
        name, known = next(iter(files.items()))
        assert record["source"]["files"][f"lighteval/siqa/{name}"] == known["sha256"]
        # The main branch moves on: the commit of the first download stays.
        old = lock["revision"]
        server.repos["lighteval/siqa"] = siqa(tmp_path / "hub2", answer="1")
        server.log.clear()
        done = data_prep(server, tmp_path, tiny_tokenizer_dir, ["siqa"])
        assert done.returncode == 0 and "reused" in done.stdout
        assert [line for line in server.log if "siqa" in line] == []
        assert server.repos["lighteval/siqa"].sha != old
    # The server is down now; the cache is enough, with and without the client's offline switch.
    for path in (tmp_path / "data/siqa").glob("*/manifest.json"):
        path.unlink()
    done = data_prep(server, tmp_path, tiny_tokenizer_dir, ["siqa"], HF_HUB_OFFLINE="1")
    assert done.returncode == 0 and "built" in done.stdout, done.stderr[-2000:]
    done = fetch(server, tmp_path, *TRAIN)
    assert done.returncode == 0 and old in done.stdout


FETCH = """
import sys
from pathlib import Path
from data_prep.errors import InputError
from data_prep.hub import fetch_split
from data_prep.lock import Lock
try:
    found = fetch_split(*sys.argv[2:5], Lock(Path(sys.argv[1])))
    print(found.revision, *found.paths)
except InputError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)
"""


def fetch(server: HubServer, folder: Path, *split: str, **environment: str) -> subprocess.CompletedProcess:
    return process(server, folder, "-c", FETCH, str(folder / "data"), *split, **environment)


TRAIN = ("lighteval/siqa", "default", "train")
FILE = "train-00000-of-00001.parquet"


def test_offline_without_a_cache(tmp_path):
    with HubServer({"lighteval/siqa": siqa(tmp_path / "hub")}) as server:
        done = fetch(server, tmp_path, *TRAIN, HF_HUB_OFFLINE="1")
        refused(done, "Hub: lighteval/siqa", "not in the cache, and HF_HUB_OFFLINE is set")
        assert not server.log


def test_broken_transfers_are_repeated(tmp_path):
    repo = siqa(tmp_path / "hub")
    for fault in ("cut", "wrong"):
        with HubServer({"lighteval/siqa": repo}, faults={FILE: [fault]}) as server:
            done = fetch(server, tmp_path / fault, *TRAIN)
            assert done.returncode == 0, done.stderr[-2000:]
            assert not server.faults[FILE]
            revision, path = done.stdout.split()
            assert revision == repo.sha
            assert Path(path).read_bytes() == repo.files[f"default/{FILE}"].read_bytes()


def test_what_stays_broken_is_refused(tmp_path):
    with HubServer({"lighteval/siqa": siqa(tmp_path / "hub")}) as server:
        server.faults = {FILE: ["wrong"] * 20}
        refused(fetch(server, tmp_path, *TRAIN), f"{FILE}: another sha256, also after 3 downloads", "--source DIR")
        server.faults = {FILE: ["cut"] * 100}
        refused(fetch(server, tmp_path, *TRAIN), "Hub: lighteval/siqa, default, train", "check the connection")
        server.faults = {}
        assert fetch(server, tmp_path, *TRAIN).returncode == 0
        refused(fetch(server, tmp_path, "lighteval/siqa", "default", "test"), "no such split; there: train, validation")
        refused(fetch(server, tmp_path, "lighteval/siqa", "other", "train"), "other, train: cannot be loaded")


def test_a_script_is_never_run(tmp_path):
    """Its repository is read at the Hub's own conversion, whose commit the lock keeps."""
    converted = snli(tmp_path / "hub")
    converted.sha = "c" * 40
    script = tmp_path / "snli.py"
    script.write_text("import datasets, pathlib\npathlib.Path('RAN').touch()\n")
    repo = commit("stanfordnlp/snli", Repo({"snli.py": script}, refs={"refs/convert/parquet": converted}))
    with HubServer({"stanfordnlp/snli": repo}) as server:
        split = ("stanfordnlp/snli", "plain_text", "train")
        first = fetch(server, tmp_path, *split)
        revision, path = first.stdout.split()
        assert revision == "c" * 40, first.stderr[-2000:]
        assert Path(path).read_bytes() == next(f for n, f in converted.files.items() if "train" in n).read_bytes()
    lock = json.loads((tmp_path / "data/sources.lock.json").read_text())["hub"]["stanfordnlp/snli"]
    assert lock["revision"] == "c" * 40 and lock["instead_of"] == REVISIONS["stanfordnlp/snli"]
    assert fetch(server, tmp_path, *split).stdout == first.stdout  # the server is down
    assert not list(HOUSE.glob("RAN"))


def test_only_the_first_files_of_a_large_corpus(tmp_path):
    folder = tmp_path / "hub/20231101.sw"
    for shard in range(4):
        texts = {"id": [f"{shard}{i}" for i in range(10)], "text": [f"Makala {shard} {i}" for i in range(10)]}
        write_parquet(folder, "train", texts, shard=f"{shard:05d}-of-00004")
    repo = commit("wikimedia/wikipedia", repo_of(tmp_path / "hub", tmp_path / "README.md"))
    with HubServer({"wikimedia/wikipedia": repo}) as server:
        code = (
            "import sys, dataclasses; from pathlib import Path; from data_prep.lock import Lock\n"
            "from data_prep.sources import DATASETS, locate\n"
            "wiki = DATASETS['wiki_sw']\n"
            "wiki = dataclasses.replace(wiki, hub=dataclasses.replace(wiki.hub, documents=(3, 12)))\n"
            "found = locate(wiki, [None], Lock(Path(sys.argv[1])))\n"
            "for parts in (found.dev, found.train):\n"
            "    rows = [row['id'] for part in parts for _, row in part.rows()]\n"
            "    print(len(rows), rows[0], rows[-1], parts[0].total)"
        )
        done = process(server, tmp_path, "-c", code, str(tmp_path / "data"))
        assert done.stdout.splitlines() == ["3 00 02 3", "12 03 14 12"], done.stderr[-2000:]
        fetched = {line for line in server.log if line.startswith("GET /datasets/") and line.endswith(".parquet")}
        assert len(fetched) == 2  # of four


READ = """
import json, sys
from pathlib import Path
from data_prep.errors import InputError
from data_prep.lock import Lock
from eval.read import NotThere, read
from eval.targets import TARGETS
for item in sys.argv[2:]:
    name, _, codes = item.partition("=")
    try:
        loaded = read(TARGETS[name], tuple(codes.split("+")), "hub", Lock(Path(sys.argv[1])))
        rows = {code: [repr(row) for row in rows] for code, rows in loaded.rows.items()}
        answer = {"split": loaded.split, "rows": rows, "files": loaded.files, "notes": loaded.notes}
    except NotThere as error:
        answer = {"not_there": str(error)}
    except InputError as error:
        answer = {"error": str(error)}
    print(json.dumps({name: answer}))
"""


def read_targets(server: HubServer, folder: Path, *items: str, **environment: str) -> dict:
    done = process(server, folder, "-c", READ, str(folder / "data"), *items, **environment)
    assert done.returncode == 0, done.stderr[-3000:]
    answers: dict = {}
    for line in done.stdout.splitlines():
        answers |= json.loads(line)
    return answers


def test_test_data_from_the_hub(tmp_path):
    for code in ("de", "sw"):
        for split in ("test", "train"):
            write_parquet(tmp_path / f"hub/xnli/{code}", split, nli([0, 1, 2]), {"label": ORDER})
    xnli = commit("facebook/xnli", repo_of(tmp_path / "hub/xnli", tmp_path / "hub/xnli/README.md"))
    mentions = tmp_path / "test.jsonl"
    mentions.write_text(json.dumps({"mention": "Hund: { Hund }", "entity_id": "Q1"}) + "\n")
    entities = tmp_path / "entities.jsonl"
    entities.write_text(json.dumps({"entity_id": "Q1", "description": "A dog."}) + "\n")
    with tarfile.open(tmp_path / "entities.tar.gz", "w:gz") as archive:
        archive.add(entities, "candidate_entities.jsonl")
    files = {
        f"wikinews_mentions/{c}/test.jsonl": mentions
        for c in ["ar", "de", "en", "es", "fa", "ja", "pl", "ro", "ta", "tr", "uk"]
    }
    mewsli = commit("izhx/mewsli-x", Repo({**files, "candidate_entities.jsonl.tar.gz": tmp_path / "entities.tar.gz"}))
    items = ("xnli=de+sw", "mewslix=de+uk", "udpos=lt")
    with HubServer({"facebook/xnli": xnli, "izhx/mewsli-x": mewsli}) as server:
        answers = read_targets(server, tmp_path, *items)
        found = answers["xnli"]
        assert found["split"] == "test" and [row[-2] for row in found["rows"]["de"]] == ["1", "0", "2"]
        assert list(found["files"]["sw"]) == ["facebook/xnli/sw/test-00000-of-00001.parquet"]
        assert not any("train" in line for line in server.log if line.startswith("GET /datasets/"))
        assert {code: len(rows) for code, rows in answers["mewslix"]["rows"].items()} == {"de": 1, "uk": 1}
        # A repository whose columns nobody has confirmed: named as missing, no error.
        assert "izhx/xtreme-r-udpos" in answers["udpos"]["not_there"] or "no data" in answers["udpos"]["not_there"]
    again = read_targets(server, tmp_path, "xnli=de+sw", "mewslix=de+uk", HF_HUB_OFFLINE="1")
    assert again["xnli"] == answers["xnli"] and again["mewslix"] == answers["mewslix"]
    offline = read_targets(server, tmp_path, "xnli=de+fr", "bucc=de", "lareqa=de", HF_HUB_OFFLINE="1")
    assert "not in the cache" in offline["xnli"]["error"]
    for name in ("bucc", "lareqa"):
        assert "HF_HUB_OFFLINE is set" in offline[name]["not_there"] and "--data DIR" in offline[name]["not_there"]


@pytest.mark.real
def test_the_real_samples_through_the_hub(shared, tmp_path, tiny_tokenizer_dir):
    """Every repository of the samples, served as the Hub would: the same rows as from the folder."""
    from eval.read import read
    from eval.suites import TARGETS

    root = shared / "data/hub"
    repos = {}
    for folder in sorted(p for space in root.iterdir() for p in space.iterdir()):
        name = f"{folder.parent.name}/{folder.name}"
        repos[name] = repo_of(folder, tmp_path / "readme" / name / "README.md")
        if REVISIONS.get(name):
            repos[name].sha = REVISIONS[name]
    wanted = {"xnli": "de+sw", "panx": "th", "xquad": "hi", "tydiqa": "en+ko+sw", "tatoeba": "de", "xcopa": "et+zh"}
    with HubServer(repos) as server:
        answers = read_targets(server, tmp_path, *(f"{name}={codes}" for name, codes in wanted.items()))
        # These configurations have no test split in the samples: refused with the splits that are there.
        assert "no such split; there: validation" in answers["xnli"]["error"]
        for name in ("panx", "xquad", "tydiqa", "tatoeba", "xcopa"):
            here = read(TARGETS[name], tuple(wanted[name].split("+")), str(root))
            expected = {code: [repr(row) for row in rows] for code, rows in here.rows.items()}
            assert answers[name]["rows"] == expected and answers[name]["files"] == here.files, name
        tasks = ["mnli", "snli_only", "squad_v1", "udpos", "siqa", "commonsenseqa"]
        done = data_prep(server, tmp_path, tiny_tokenizer_dir, [task for task in tasks if task != "snli_only"])
        assert done.returncode == 0, done.stderr[-2000:]
    folder = tmp_path / "local"
    folder.mkdir()
    command = ("-m", "data_prep", "--config", str(tmp_path / "run.json"), "--source", str(root), "--jobs", "1")
    # The same bytes give the same prepared folder, wherever they came from.
    done = process(server, tmp_path, *command)
    assert done.returncode == 0 and done.stdout.count("reused") == 5, done.stdout
