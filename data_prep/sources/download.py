"""Upstream files, where the Hub has no copy: mirrors in order, checksum, resume, atomic rename.

A file lands in DATA/downloads/ under its final name only when all its bytes are there and right; until then it is
`.NAME.part`, which the next attempt continues. Its sha256 is the published one, or, where none is known, that of the
first download, which `sources.lock.json` keeps. With HF_HUB_OFFLINE=1 nothing is fetched.

Python's own `urllib` does it: a download library (pooch) would add a cache of its own, and does not resume.
"""

import http.client
import os
import shutil
import sys
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from common.errors import InputError, reason, writing
from common.files import file_sha256
from common.files import lock as locked
from data_prep.datasets.schema import Published
from data_prep.sources.sources_lock import SourcesLock

ATTEMPTS = 3  # per mirror
TIMEOUT = 30.0  # seconds without a byte
BLOCK = 1 << 20
FOLDER = "downloads"


def fetch_published(files: Sequence[Published], lock: SourcesLock) -> Path:
    """Makes sure that all files are in the folder of downloads, which is returned; archives are unpacked beside them.

    Raises `InputError` in one line that names file, mirrors and reason, and where the user may put the file himself.
    """
    folder = lock.folder / FOLDER
    busy = f"{folder}: another process downloads to it; waiting for it"
    with writing(folder), locked(folder / ".lock", busy, wait=True):
        for file in files:
            path = folder / file.path
            expected = file.sha256 or lock.read().files.get(file.path)
            digest = _held(path, file, lock, expected) or _fetch(path, file, lock, expected)
            if path.name.endswith((".tar.bz2", ".tar.gz", ".tgz")):
                _unpack(path, digest)
    return folder


def _held(path: Path, file: Published, lock: SourcesLock, expected: str | None) -> str | None:
    """The sha256 of the file if it is there and right; a wrong one is deleted."""
    if not path.is_file():
        return None
    found = file_sha256(path)
    if expected is None:  # put there by the user
        lock.put_file(file.path, found)
        return found
    if found == expected:
        return found
    print(f"{path}: another sha256 than published; downloading it again", file=sys.stderr)
    path.unlink()
    return None


def _fetch(path: Path, file: Published, lock: SourcesLock, expected: str | None) -> str:
    """Downloads the file and returns its sha256."""
    from huggingface_hub import is_offline_mode

    if is_offline_mode():
        raise InputError(f"{path}: not there, and HF_HUB_OFFLINE is set; unset it once, or put {file.urls[0]} there")
    part = path.with_name(f".{path.name}.part")
    reasons: dict[str, str] = {}  # of each mirror the last one
    path.parent.mkdir(parents=True, exist_ok=True)
    for url in file.urls:
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(_PAUSE * 2**attempt)
            problem = _transfer(url, part)
            if problem is None:
                digest = file_sha256(part)
                if expected in (None, digest):
                    lock.put_file(file.path, digest)
                    os.replace(part, path)
                    return digest
                part.unlink()
                problem = f"sha256 {digest[:12]}... instead of {str(expected)[:12]}..."
            reasons[url] = problem
    problems = "; ".join(f"{url}: {problem}" for url, problem in reasons.items())
    raise InputError(
        f"{file.path}: could not be downloaded ({problems}; {ATTEMPTS} attempts each); check the connection, or put the"
        f" file at {path}"
    )


_PAUSE = 0.25  # seconds; doubled with every attempt


def _transfer(url: str, part: Path) -> str | None:
    """Fetches what `part` lacks of the file; None when it is whole, else why not (what came stays there)."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "intermezzo", "Accept-Encoding": "identity"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            resumed = response.status == http.client.PARTIAL_CONTENT
            length = response.headers.get("Content-Length")
            total = int(length) + (have if resumed else 0) if length is not None else None
            with (
                part.open("ab" if resumed else "wb") as out,
                tqdm(desc=part.name[1:-5], total=total, unit="B", unit_scale=True) as bar,
            ):
                bar.update(have if resumed else 0)
                while block := response.read(BLOCK):
                    out.write(block)
                    bar.update(len(block))
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink()  # longer than the file: of another one
        return f"HTTP {error.code}"
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
        return " ".join(str(getattr(error, "reason", error) or type(error).__name__).split())[:100]
    size = part.stat().st_size
    return None if total is None or size == total else f"the connection ended after {size} of {total} bytes"


def _unpack_file(tar: tarfile.TarFile, member: tarfile.TarInfo, archive: Path) -> None:
    # Not extractall(filter="data"), which Python before 3.11.4 lacks.
    place = archive.parent / member.name
    content = tar.extractfile(member) if member.isfile() else None
    if content is None or not place.resolve().is_relative_to(archive.parent.resolve()):
        raise InputError(f"{archive}: holds {member.name!r}, which is no file or leads out of the folder; refused")
    place.parent.mkdir(parents=True, exist_ok=True)
    with content, place.open("wb") as out:
        shutil.copyfileobj(content, out)


def _unpack(archive: Path, digest: str) -> None:
    """Beside the archive, once: a marker with the archive's sha256 says that it is done."""
    marker = archive.with_name(f".{archive.name}.unpacked")
    if marker.is_file() and marker.read_text() == digest:
        return
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                if not member.isdir():
                    _unpack_file(tar, member, archive)
    except (tarfile.TarError, EOFError) as error:
        raise InputError(f"{archive}: not a readable archive ({reason(error)}); delete it and start again") from None
    marker.write_text(digest)
