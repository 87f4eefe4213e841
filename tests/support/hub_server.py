"""A small server on 127.0.0.1 that speaks as much of the Hugging Face Hub's API as the stock clients use.

    with HubServer({"facebook/xnli": Repo({"de/test-00000-of-00001.parquet": path, ...})}) as server:
        environment["HF_ENDPOINT"] = server.url

Repository info, trees, downloads with ETag, X-Repo-Commit and ranges, for datasets and models, which have one table of
names; requests are counted.
A rule of `faults` (path end -> kinds, one used up per download) breaks transfers: "cut" ends the connection halfway,
"wrong" sends other bytes of the same length, "error" answers 503. Other files are served below /files/.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.support.launch import REPOSITORY

ROUTE = re.compile(
    r"/(?:api/(?:datasets|models)/|datasets/|(?=[^/]+/[^/]+/resolve/))(?P<repo>[^/]+/[^/]+)"
    r"(?:/(?P<action>revision|tree|resolve)/(?P<revision>refs/convert/parquet|[^/]+)(?:/(?P<path>.*))?)?"
)


@dataclass
class Repo:
    """Files of one commit by path. Its sha is that of their contents, unless given. `refs`: other commits by name."""

    files: dict[str, Path]
    sha: str = ""
    refs: dict[str, "Repo"] = field(default_factory=dict)

    def __post_init__(self) -> None:
        content = b"".join(name.encode() + file.read_bytes() for name, file in sorted(self.files.items()))
        self.sha = self.sha or hashlib.sha1(content).hexdigest()

    def at(self, revision: str | None) -> "Repo | None":
        if revision in (None, "main", self.sha):
            return self
        return next((repo for name, repo in self.refs.items() if revision in (name, repo.sha)), None)

    def entry(self, path: str) -> dict:
        file, oid = self.files.get(path), hashlib.sha1(path.encode()).hexdigest()
        if file is None:
            return {"type": "directory", "path": path, "oid": oid, "size": 0}
        size = file.stat().st_size
        lfs = {"oid": _sha256(file), "size": size, "pointerSize": 130}
        return {"type": "file", "path": path, "size": size, "oid": oid, "lfs": lfs}

    def tree(self, folder: str, recursive: bool) -> list[dict]:
        depth = len(folder.split("/")) if folder else 0
        names: dict[str, None] = {}
        for path in sorted(self.files):
            parts = path.split("/")
            if parts[:depth] == (folder.split("/") if folder else []):
                last = len(parts) if recursive else depth + 1
                names |= dict.fromkeys("/".join(parts[:end]) for end in range(depth + 1, last + 1))
        return [self.entry(name) for name in names]

    def info(self, name: str) -> dict:
        return {"id": name, "sha": self.sha, "siblings": [{"rfilename": path} for path in sorted(self.files)]}


@dataclass
class HubServer:
    repos: dict[str, Repo] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)  # "METHOD path"
    sent: int = 0  # bytes of files

    def __enter__(self) -> "HubServer":
        handler = type("Handler", (_Handler,), {"state": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def downloads(self) -> list[str]:
        """The names of the files that were asked for, in order."""
        return [line.rpartition("/")[2] for line in self.log if re.match("GET (/files/|/datasets/.*/resolve/)", line)]

    def fault(self, path: str) -> str | None:
        return next((kinds.pop(0) for end, kinds in self.faults.items() if path.endswith(end) and kinds), None)


class _Handler(BaseHTTPRequestHandler):
    state: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.state.log.append(f"{self.command} {path}")
        if path.startswith("/files/"):
            return self._download(self.state.files.get(path.removeprefix("/files/")), None)
        match = ROUTE.fullmatch(path)
        known = self.state.repos.get(match["repo"]) if match else None
        repo = known.at(match["revision"]) if match and known else None
        if match is None or repo is None:
            return self._send(404, {"X-Error-Code": "RevisionNotFound" if known else "RepoNotFound"})
        if match["action"] == "resolve":
            return self._download(repo.files.get(match["path"]), repo.sha)
        if match["action"] == "tree":
            found = repo.tree((match["path"] or "").strip("/"), "recursive=true" in self.path.lower())
            if not found:
                return self._send(404, {"X-Error-Code": "EntryNotFound"})
        else:
            found = repo.info(match["repo"])
        return self._send(200, {"Content-Type": "application/json"}, json.dumps(found).encode())

    do_HEAD = do_GET

    def _send(self, status: int, headers: dict[str, str], data: bytes = b"", cut: bool = False) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            data = data[: len(data) // 2] if cut else data
            self.state.sent += len(data) if "ETag" in headers else 0  # first: a client that has them may ask at once
            self.wfile.write(data)
        if cut:
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()

    def _download(self, file: Path | None, sha: str | None) -> None:
        if file is None:
            return self._send(404, {"X-Error-Code": "EntryNotFound"})
        fault = self.state.fault(urlsplit(self.path).path) if self.command == "GET" else None
        if fault == "error":
            return self._send(503, {})
        data, etag = file.read_bytes(), f'"{_sha256(file)}"'
        headers = {"ETag": etag, "Accept-Ranges": "bytes"}
        if sha:
            headers |= {"X-Repo-Commit": sha, "X-Linked-Size": str(len(data)), "X-Linked-ETag": etag}
        if fault == "wrong":
            data = data[:-1] + bytes([data[-1] ^ 255])
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        first = int(wanted[1]) if wanted and int(wanted[1]) < len(data) else 0
        if first:
            headers["Content-Range"] = f"bytes {first}-{len(data) - 1}/{len(data)}"
        if self.command == "HEAD":
            headers["Content-Length"] = str(len(data))
        return self._send(206 if first else 200, headers, data[first:], fault == "cut")


# Runs what it is sent, line by line: `result` and what was printed.
SERVE = """
import contextlib, io, json, sys
for line in sys.stdin:
    out, err, names = io.StringIO(), io.StringIO(), {}
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        exec(json.loads(line), names)
    print(json.dumps([names["result"], out.getvalue(), err.getvalue()]), flush=True)
"""


def hub_environment(server: HubServer, home: Path) -> dict[str, str]:
    """The environment of programs to which the server is the Hub; `home`: their cache."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGINGFACE", "PYTHONPATH"))}
    clean |= {"HF_ENDPOINT": server.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "no_proxy": "*"}
    return clean | {"DISABLE_SAFETENSORS_CONVERSION": "1", "DS_ACCELERATOR": "cpu", "TOKENIZERS_PARALLELISM": "false"}


class Client:
    """A process to which the server is the Hub: the clients read HF_ENDPOINT and HF_HOME when they are imported."""

    def __init__(self, server: HubServer, home: Path, folder: Path = REPOSITORY, **environment: str) -> None:
        """`home`: its cache; `folder`: where it works, so what it imports."""
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE], cwd=folder, env=hub_environment(server, home) | environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate(timeout=60)

    def run(self, source: str) -> tuple[Any, str, str]:
        """(what `source` gives the name `result`, output, errors)."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(source) + "\n")
        self.process.stdin.flush()
        return tuple(json.loads(self.process.stdout.readline()))

    def data_prep(self, *arguments: object) -> tuple[int, str, str]:
        """(exit code, output, errors) of `python -m data_prep ARGUMENTS`."""
        return self.run(f"from data_prep.__main__ import main; result = main({list(map(str, arguments))!r})")


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def repo_of(folder: Path, readme: Path, sha: str | None = None) -> Repo:
    """The Parquet files below `folder`, CONFIG/SPLIT-*.parquet, with the README.md that names them (at `readme`).

    The YAML block is what the Hub's own repositories carry; without it a client sees one configuration `default`.
    """
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*.parquet"))}
    configs: dict[str, dict[str, None]] = {}
    for path in files:
        config, _, name = path.rpartition("/")
        configs.setdefault(config, {})[re.sub(r"-\d{5}-of-\d{5}\.parquet$", "", name)] = None
    lines = ["---", "configs:"]
    for config, splits in configs.items():
        lines += [f"- config_name: {config}", "  data_files:"]
        lines += [f"  - split: {split}\n    path: {config}/{split}-*" for split in splits]
    readme.parent.mkdir(parents=True, exist_ok=True)
    readme.write_text("\n".join([*lines, "---", ""]), encoding="utf-8")
    return Repo({"README.md": readme, **files}, sha or "")
