"""What the cases of fuzz.py share, made once: a tokenizer, a small prepared run; and the list of families."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.encoding import tokenizer as tokenizers
from eval.__main__ import main as evaluate
from tests.support import fuzz_checkpoints, fuzz_configs, fuzz_folders, fuzz_parquet, fuzz_rows, small, target_files
from tests.support.eval_run import make_run
from tests.support.fuzz import Family
from tests.support.tiny_tokenizer import LINES, make_tokenizer

# How many cases of each family belong to the fast suite.
FAMILIES: dict[str, tuple[Family, int]] = {
    "own_files": (fuzz_rows.own_files, 260),
    "public_files": (fuzz_rows.public_files, 220),
    "parquet_files": (fuzz_parquet.parquet_files, 150),
    "run_configs": (fuzz_configs.run_configs, 300),
    "deepspeed_configs": (fuzz_configs.deepspeed_configs, 150),
    "prepared_folders": (fuzz_folders.prepared_folders, 150),
    "eval_data": (fuzz_folders.eval_data, 60),
    "eval_folders": (fuzz_folders.eval_folders, 60),
    "checkpoints": (fuzz_checkpoints.checkpoints, 120),
}


@dataclass
class World:
    """`folder`: a tokenizer in XLM-R's layout; `run`: the config of a run of one task a kind, prepared.

    `encoder`: an exported encoder with heads beside it; `targets`: test data in every format that is read.
    """

    folder: Path
    tokenizer: Any
    run: Path
    encoder: Path
    targets: Path

    @staticmethod
    def make(base: Path, folder: Path | None = None) -> "World":
        """Writes everything below `base`; the tokenizer only if none is given."""
        base.mkdir(parents=True)
        if folder is None:
            folder = make_tokenizer(base / "tokenizer")
        run = small.write_run(base, folder)
        fuzz_configs.dry_run(["--config", str(run)])()  # libraries write to their caches when they are first used
        world = World(
            folder, tokenizers.load(folder), run, make_run(base / "export", folder), _targets(base / "targets")
        )
        arguments = [
            "--encoder",
            str(world.encoder),
            "--data",
            str(world.targets / "hub"),
            "--out",
            str(base / "scores"),
        ]
        evaluate([*arguments, "--suite", "toy", "--direct"])
        return world


def _targets(base: Path) -> Path:
    """Test data of the three toy targets, in the Hub's layout and in upstream formats."""
    pairs = list(zip(LINES[:6], LINES[3:9], strict=True))
    upstream, hub = base / "upstream", base / "hub"
    target_files.laser(upstream / "tatoeba", "deu", pairs)
    pairs_file = hub / "mteb" / "tatoeba-bitext-mining" / "rus-eng" / "test-00000-of-00001.parquet"
    target_files.parquet(pairs_file, {"sentence1": [a for a, _ in pairs], "sentence2": [b for _, b in pairs]})
    target_files.parquet(hub / "facebook/xnli/de/test-00000-of-00001.parquet", target_files.nli([0, 1, 2, 0]))
    (upstream / "xnli").mkdir()
    rows = [f"a {label} dog,\tthe {label} house\t{label}\r\n" for label in ("neutral", "entailment", "contradiction")]
    (upstream / "xnli" / "test-en.tsv").write_text("".join(rows), encoding="utf-8", newline="")
    context = "the small dog runs to the old house"
    question = {"id": "1", "question": "a dog", "answers": [{"text": "dog", "answer_start": 10}]}
    document = {"data": [{"title": "t", "paragraphs": [{"context": context, "qas": [question]}]}], "version": "1.1"}
    (upstream / "xquad").mkdir()
    (upstream / "xquad" / "xquad.en.json").write_text(json.dumps(document), encoding="utf-8")
    answers = [{"text": ["dog"], "answer_start": [10]}]
    columns = {"id": ["1"], "question": ["a dog"], "context": [context], "answers": answers}
    target_files.parquet(hub / "google/xquad/xquad.de/validation-00000-of-00001.parquet", columns)
    return base


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """The Hub's client asks nobody: a wrong name is answered from here."""
    from huggingface_hub import constants

    old, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = old
