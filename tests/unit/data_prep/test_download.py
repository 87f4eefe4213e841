"""Files that their makers publish: resumed, checked, mirrored, refused with a sentence; and the lock file."""

import hashlib
import shutil
import tarfile
from pathlib import Path

import pytest
from huggingface_hub import constants

from data_prep.datasets.schema import Published
from data_prep.sources import download
from data_prep.sources.download import fetch_published
from data_prep.sources.sources_lock import Lock
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
    with HubServer({}, {"a.bin": file, "b.bin": file}) as running:
        yield running


def published(server: HubServer, *names: str, sha256: str | None = hashlib.sha256(BYTES).hexdigest()) -> Published:
    return Published("set/file.bin", tuple(f"{server.url}/files/{name}" for name in names or ("a.bin",)), sha256)


def fetched(folder: Path) -> Path:
    path = folder / "downloads/set/file.bin"
    assert path.read_bytes() == BYTES
    assert [p.name for p in path.parent.iterdir()] == ["file.bin"]
    return path


def test_once(server, tmp_path):
    lock = Lock(tmp_path / "data")
    assert fetch_published([published(server)], lock) == tmp_path / "data/downloads"
    fetched(tmp_path / "data")
    assert server.requests["GET"] == 1
    fetch_published([published(server)], lock)
    assert server.requests["GET"] == 1
    entry = lock.file("set/file.bin")
    assert entry["bytes"] == len(BYTES) and entry["url"].endswith("/a.bin")


def test_a_cut_transfer_is_continued(server, tmp_path, capsys):
    server.faults = {"a.bin": ["cut", "cut"]}
    fetch_published([published(server)], Lock(tmp_path / "data"))
    fetched(tmp_path / "data")
    assert server.requests["GET"] == 3 and server.sent == len(BYTES)  # not a byte twice


def test_wrong_bytes_are_thrown_away(server, tmp_path):
    server.faults = {"a.bin": ["wrong"]}
    fetch_published([published(server)], Lock(tmp_path / "data"))
    fetched(tmp_path / "data")
    assert server.requests["GET"] == 2


def test_mirrors_in_order(server, tmp_path):
    server.faults = {"a.bin": ["error"] * 99}
    fetch_published([published(server, "a.bin", "missing.bin", "b.bin")], Lock(tmp_path / "data"))
    fetched(tmp_path / "data")
    assert [line.rpartition("/")[2] for line in server.log] == ["a.bin"] * 3 + ["missing.bin"] * 3 + ["b.bin"]


def test_refused_with_a_sentence(server, tmp_path):
    lock = Lock(tmp_path / "data")
    server.faults = {"a.bin": ["wrong"] * 99, "b.bin": ["cut"] * 99}
    wrong = published(server, "a.bin", "b.bin")
    message = fails(lambda: fetch_published([wrong], lock), "set/file.bin: could not be downloaded", "3 attempts each")
    assert "a.bin: sha256 " in message and "instead of" in message and "b.bin: the connection ended after" in message
    assert str(tmp_path / "data/downloads/set/file.bin") in message
    assert not (tmp_path / "data/downloads/set/file.bin").exists()
    gone = Published("set/other.bin", ("http://127.0.0.1:9/x",), None)
    fails(lambda: fetch_published([gone], lock), "set/other.bin", "127.0.0.1:9", "Connection refused")


def test_offline(server, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    lock = Lock(tmp_path / "data")
    fails(lambda: fetch_published([published(server)], lock), "HF_HUB_OFFLINE is set", "a.bin")
    path = tmp_path / "data/downloads/set/file.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(BYTES)  # the user put it there
    fetch_published([published(server)], lock)
    assert not server.log


def test_without_a_published_checksum_the_first_one_counts(server, tmp_path, capsys):
    lock = Lock(tmp_path / "data")
    unknown = published(server, sha256=None)
    fetch_published([unknown], lock)
    path = fetched(tmp_path / "data")
    path.write_bytes(b"altered")
    fetch_published([unknown], lock)  # not what was downloaded first: fetched again
    fetched(tmp_path / "data")
    assert "another sha256" in capsys.readouterr().err
    (tmp_path / "served.bin").write_bytes(b"another release")
    path.unlink()
    fails(lambda: fetch_published([unknown], lock), "sha256", "instead of")


def test_archives_are_unpacked_once(server, tmp_path):
    inner = tmp_path / "x.txt"
    inner.write_text("text")
    archive = tmp_path / "x.tar.bz2"
    with tarfile.open(archive, "w:bz2") as tar:
        tar.add(inner, "bucc2018/x.txt")
    server.files["x.tar.bz2"] = archive
    file = Published("bucc/x.tar.bz2", (f"{server.url}/files/x.tar.bz2",), None)
    lock = Lock(tmp_path / "data")
    unpacked = fetch_published([file], lock) / "bucc/bucc2018/x.txt"
    assert unpacked.read_text() == "text"
    unpacked.write_text("kept")
    fetch_published([file], lock)
    assert unpacked.read_text() == "kept"
    (tmp_path / "link").symlink_to(inner)
    for name, member in (
        ("../../../escaped.txt", inner),
        (str(tmp_path / "escaped.txt"), inner),
        ("x", tmp_path / "link"),
    ):
        bad = tmp_path / "y.tar.gz"
        with tarfile.open(bad, "w:gz") as tar:
            info = tar.gettarinfo(member)
            info.name = name
            tar.addfile(info, member.open("rb") if info.isfile() else None)
        server.files["y.tar.gz"] = bad
        shutil.rmtree(tmp_path / "data")
        published = Published("bucc/y.tar.gz", (f"{server.url}/files/y.tar.gz",), None)
        fails(lambda p=published: fetch_published([p], Lock(tmp_path / "data")), f"y.tar.gz: holds {name!r}", "refused")
        assert not (tmp_path / "escaped.txt").exists()


def test_a_damaged_lock_file_is_named(tmp_path):
    lock = Lock(tmp_path)
    lock.put_revision("a/b", "c" * 40)
    assert lock.repository("a/b") == {"revision": "c" * 40, "instead_of": None, "splits": {}}
    lock.put_split("a/b", "x/train", {"format": "parquet", "files": {}})
    lock.put_revision("a/b", "c" * 40)
    assert lock.repository("a/b")["splits"]
    lock.put_revision("a/b", "d" * 40)
    assert not lock.repository("a/b")["splits"]  # of another commit
    for text in ("{", "[]", '{"hub": {"a/b": {}}, "files": {}}', '{"hub": {}, "files": {"x": 1}}'):
        lock.path.write_text(text)
        fails(lambda: lock.repository("a/b"), "sources.lock.json", "delete it to start anew")
