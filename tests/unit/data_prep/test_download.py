"""Files that their authors publish: resumed, checked against a checksum, mirrored, or refused with a sentence."""

import hashlib
import json
import shutil
import tarfile
from pathlib import Path

import pytest
from huggingface_hub import constants

from data_prep.datasets.schema import Published
from data_prep.sources import download
from data_prep.sources.download import fetch_published
from data_prep.sources.sources_lock import NAME, Lock, Repository
from tests.support.hub_server import HubServer
from tests.support.rows import fails

BYTES = bytes(range(256)) * 2000


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_PAUSE", 0.001)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # read from the environment once, at import
    monkeypatch.setenv("no_proxy", "*")
    file = tmp_path / "served.bin"
    file.write_bytes(BYTES)
    with HubServer(files={"a.bin": file, "b.bin": file}) as running:
        yield running


def published(server: HubServer, *names: str, sha256: str | None = hashlib.sha256(BYTES).hexdigest()) -> Published:
    return Published("set/file.bin", tuple(f"{server.url}/files/{name}" for name in names or ("a.bin",)), sha256)


def fetch(folder: Path, file: Published) -> Path:
    """The file where it should be, whole, with nothing beside it."""
    path = fetch_published([file], Lock(folder / "data")) / "set/file.bin"
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
def test_whole_after_broken_transfers_and_then_kept(server, tmp_path, faults, mirrors, asked, whole):
    server.faults = {"a.bin": faults}
    fetch(tmp_path, published(server, *mirrors))
    fetch(tmp_path, published(server, *mirrors))
    assert server.downloads() == asked
    assert server.sent == whole * len(BYTES)


def test_refused_with_a_sentence(server, tmp_path):
    server.faults = {"a.bin": ["wrong"] * 99, "b.bin": ["cut"] * 99}
    path = tmp_path / "data/downloads/set/file.bin"
    parts = ("set/file.bin: could not be downloaded", "3 attempts each", "a.bin: sha256 ", "instead of", str(path))
    fails(lambda: fetch(tmp_path, published(server, "a.bin", "b.bin")), *parts, "b.bin: the connection ended after")
    assert not path.exists()
    gone = Published("set/other.bin", ("http://127.0.0.1:9/x",), None)
    fails(lambda: fetch(tmp_path, gone), "set/other.bin", "127.0.0.1:9", "Connection refused")


def test_offline(server, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    fails(lambda: fetch(tmp_path, published(server)), "HF_HUB_OFFLINE is set", "a.bin")
    path = tmp_path / "data/downloads/set/file.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(BYTES)  # the user put it there
    fetch(tmp_path, published(server))
    assert not server.log


def test_without_a_published_checksum_the_first_one_counts(server, tmp_path, capsys):
    unknown = published(server, sha256=None)
    path = fetch(tmp_path, unknown)
    path.write_bytes(b"altered")
    fetch(tmp_path, unknown)  # not what was downloaded first: fetched again
    assert "another sha256" in capsys.readouterr().err
    (tmp_path / "served.bin").write_bytes(b"another release")
    path.unlink()
    fails(lambda: fetch(tmp_path, unknown), "sha256", "instead of")


def test_archives_are_unpacked_once_and_only_below_their_folder(server, tmp_path):
    inner = tmp_path / "x.txt"
    inner.write_text("text")
    (tmp_path / "link").symlink_to(inner)

    def unpack(name: str, member: Path) -> Path:
        with tarfile.open(tmp_path / "x.tar.bz2", "w:bz2") as tar:
            info = tar.gettarinfo(member)
            info.name = name
            tar.addfile(info, member.open("rb") if info.isfile() else None)
        server.files["x.tar.bz2"] = tmp_path / "x.tar.bz2"
        file = Published("bucc/x.tar.bz2", (f"{server.url}/files/x.tar.bz2",), None)
        return fetch_published([file], Lock(tmp_path / "data")) / "bucc" / name

    unpacked = unpack("bucc2018/x.txt", inner)
    assert unpacked.read_text() == "text"
    unpacked.write_text("kept")
    assert unpack("bucc2018/x.txt", inner).read_text() == "kept"
    for name, member in (("../../../escaped", inner), (str(tmp_path / "escaped"), inner), ("x", tmp_path / "link")):
        shutil.rmtree(tmp_path / "data")
        fails(lambda n=name, m=member: unpack(n, m), f"x.tar.bz2: holds {name!r}", "refused")
        assert not (tmp_path / "escaped").exists()


def lock_of(folder: Path, values: object) -> Lock:
    (folder / NAME).write_text(json.dumps(values))
    return Lock(folder)


def test_commits_of_an_earlier_lock_file_are_kept(tmp_path):
    split = {"format": "parquet", "files": {"en/test-0.parquet": {"bytes": 1, "sha256": "a" * 64}}}
    hub = {"a/b": {"revision": "c" * 40, "instead_of": None, "splits": {"en/test": split}}}
    lock = lock_of(tmp_path, {"hub": hub, "files": {"b/b.zip": {"url": "http://a/b.zip", "bytes": 1, "sha256": "b"}}})
    lock.put_repository("a/b", Repository(revision="c" * 40, splits={"de/test": ["de/test-0.parquet"]}))
    kept = json.loads((tmp_path / NAME).read_text())
    assert kept["hub"]["a/b"]["splits"] == {"en/test": ["en/test-0.parquet"], "de/test": ["de/test-0.parquet"]}
    assert kept["files"] == {"b/b.zip": "b"}


@pytest.mark.parametrize("values", [[], {"hub": []}, {"hub": {"a/b": {"splits": 1}}}, {"files": {"a": {"sha256": 1}}}])
def test_another_lock_file_is_refused(tmp_path, values):
    fails(lambda: lock_of(tmp_path, values).read(), "not readable as a lock file", "delete it to start anew")
