"""A small server on 127.0.0.1 that speaks as much of the Hugging Face Hub's API as the stock clients use.

    with HubServer({"facebook/xnli": Repo({"de/test-00000-of-00001.parquet": path, ...})}) as server:
        environment["HF_ENDPOINT"] = server.url

Repository info, trees, paths-info, downloads with ETag, X-Repo-Commit and ranges, for datasets and models, which have
one table of names; requests are counted.
A rule of `faults` (path end -> kinds, one used up per download) breaks transfers: "cut" ends the connection halfway,
"wrong" sends other bytes of the same length, "error" answers 503. Other files are served below /files/.
"""

import hashlib
import json
import re
import threading
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


@dataclass
class Repo:
    """Files of one commit by path. Its sha is that of their contents, unless given. `refs`: other commits by name."""

    files: dict[str, Path]
    sha: str = ""
    refs: dict[str, "Repo"] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.sha:
            digest = hashlib.sha1()
            for name in sorted(self.files):
                digest.update(name.encode() + self.files[name].read_bytes())
            self.sha = digest.hexdigest()


@dataclass
class HubServer:
    repos: dict[str, Repo]
    files: dict[str, Path] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=dict)
    requests: Counter = field(default_factory=Counter)
    log: list[str] = field(default_factory=list)
    sent: int = 0  # bytes of files

    def __enter__(self) -> "HubServer":
        outer = self

        class Handler(_Handler):
            server_state = outer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def fault(self, path: str) -> str | None:
        for end, kinds in self.faults.items():
            if path.endswith(end) and kinds:
                return kinds.pop(0)
        return None


class _Handler(BaseHTTPRequestHandler):
    server_state: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(send=True)

    def do_HEAD(self) -> None:
        self._answer(send=False)

    def do_POST(self) -> None:
        self._answer(send=True)

    def _answer(self, send: bool) -> None:
        state = self.server_state
        path = unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        state.requests[self.command] += 1
        state.log.append(f"{self.command} {path}")
        if path.startswith("/files/"):
            return self._download(state.files.get(path.removeprefix("/files/")), None, path, send)
        if match := re.fullmatch(r"/api/(?:datasets|models)/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            repo = self._repo(match[1], match[2])
            return self._json(_info(match[1], repo), send) if repo else self._missing("RepoNotFound", send)
        if match := re.fullmatch(r"/api/(?:datasets|models)/([^/]+/[^/]+)/tree/([^/]+)(?:/(.*))?", path):
            repo = self._repo(match[1], match[2])
            if repo is None:
                return self._missing("RevisionNotFound", send)
            recursive = "recursive=true" in self.path.lower()
            entries = _tree(repo, (match[3] or "").strip("/"), recursive)
            return self._json(entries, send) if entries is not None else self._missing("EntryNotFound", send)
        if match := re.fullmatch(r"/api/(?:datasets|models)/([^/]+/[^/]+)/paths-info/([^/]+)", path):
            repo = self._repo(match[1], match[2])
            if repo is None:
                return self._missing("RevisionNotFound", send)
            return self._json(_paths(repo, _asked(body)), send)
        if match := re.fullmatch(r"/(?:datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            repo = self._repo(match[1], match[2])
            if repo is None:
                return self._missing("RevisionNotFound", send)
            return self._download(repo.files.get(match[3]), repo.sha, path, send)
        return self._missing("EntryNotFound", send)

    def _repo(self, name: str, revision: str | None) -> Repo | None:
        repo = self.server_state.repos.get(name)
        if repo is None or revision in (None, "main", repo.sha):
            return repo
        others = {**repo.refs, **{other.sha: other for other in repo.refs.values()}}
        return others.get(revision)

    def _json(self, value: object, send: bool) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if send:
            self.wfile.write(data)

    def _missing(self, code: str, send: bool) -> None:
        data = json.dumps({"error": code}).encode()
        self.send_response(404)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if send:
            self.wfile.write(data)

    def _download(self, file: Path | None, sha: str | None, path: str, send: bool) -> None:
        if file is None:
            return self._missing("EntryNotFound", send)
        data = file.read_bytes()
        fault = self.server_state.fault(path) if send else None
        if fault == "error":
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        if fault == "wrong":
            data = data[:-1] + bytes([data[-1] ^ 255])
        first = 0
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if wanted and int(wanted[1]) < len(data):
            first = int(wanted[1])
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data) - first))
        self.send_header("ETag", f'"{_etag(file)}"')
        if sha:
            self.send_header("X-Repo-Commit", sha)
            self.send_header("X-Linked-Size", str(len(data)))
            self.send_header("X-Linked-ETag", f'"{_etag(file)}"')
        self.end_headers()
        if send and fault == "cut":
            half = (len(data) - first) // 2
            self.wfile.write(data[first : first + half])
            self.server_state.sent += half
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()
        elif send:
            self.server_state.sent += len(data) - first
            self.wfile.write(data[first:])
        return None


def _etag(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _info(name: str, repo: Repo) -> dict:
    now = datetime(2024, 1, 1, tzinfo=UTC).isoformat().replace("+00:00", ".000Z")
    return {
        "_id": "0" * 24, "id": name, "author": name.split("/")[0], "sha": repo.sha, "lastModified": now,
        "createdAt": now, "private": False, "gated": False, "disabled": False, "downloads": 0, "likes": 0,
        "tags": [], "cardData": None, "siblings": [{"rfilename": path} for path in sorted(repo.files)],
    }  # fmt: skip


def _entry(repo: Repo, path: str) -> dict:
    file = repo.files[path]
    size = file.stat().st_size
    return {
        "type": "file", "path": path, "size": size, "oid": hashlib.sha1(path.encode()).hexdigest(),
        "lfs": {"oid": _etag(file), "size": size, "pointerSize": 130},
    }  # fmt: skip


def _tree(repo: Repo, folder: str, recursive: bool) -> list[dict] | None:
    inside = [path for path in sorted(repo.files) if not folder or path.startswith(f"{folder}/")]
    if folder and not inside:
        return None
    entries: dict[str, dict] = {}
    for path in inside:
        rest = path.removeprefix(f"{folder}/") if folder else path
        parts = rest.split("/")
        for depth in range(1, len(parts)):
            name = "/".join(([folder] if folder else []) + parts[:depth])
            if recursive or depth == 1:
                oid = hashlib.sha1(name.encode()).hexdigest()
                entries[name] = {"type": "directory", "path": name, "oid": oid, "size": 0}
        if recursive or len(parts) == 1:
            entries[path] = _entry(repo, path)
    return list(entries.values())


def _paths(repo: Repo, asked: list[str]) -> list[dict]:
    found = []
    for path in asked:
        if path in repo.files:
            found.append(_entry(repo, path))
        elif any(name.startswith(f"{path.rstrip('/')}/") for name in repo.files):
            found.append({"type": "directory", "path": path, "oid": hashlib.sha1(path.encode()).hexdigest(), "size": 0})
    return found


def _asked(body: bytes) -> list[str]:
    try:
        paths = json.loads(body).get("paths", [])
    except ValueError:
        from urllib.parse import parse_qs

        paths = parse_qs(body.decode()).get("paths", [])
    return [paths] if isinstance(paths, str) else list(paths)


def repo_of(folder: Path, readme: Path, prefix: str = "") -> Repo:
    """The Parquet files below `folder`, CONFIG/SPLIT-*.parquet, with the README.md that names them (at `readme`).

    The YAML block is what the Hub's own repositories carry; without it a client sees one configuration `default`.
    """
    files = {f"{prefix}{path.relative_to(folder).as_posix()}": path for path in sorted(folder.rglob("*.parquet"))}
    configs: dict[str, list[str]] = {}
    for path in files:
        config, _, name = path.rpartition("/")
        split = re.sub(r"-\d{5}-of-\d{5}\.parquet$", "", name)
        if split not in configs.setdefault(config, []):
            configs[config].append(split)
    lines = ["---", "configs:"]
    for config, splits in configs.items():
        lines += [f"- config_name: {config}", "  data_files:"]
        for split in splits:
            lines += [f"  - split: {split}", f"    path: {config}/{split}-*"]
    readme.parent.mkdir(parents=True, exist_ok=True)
    readme.write_text("\n".join([*lines, "---", ""]), encoding="utf-8")
    return Repo({"README.md": readme, **files})
