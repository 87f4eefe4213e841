"""What the tests of eval share: a run folder with a tiny random XLM-R and heads, test data, what a command leaves."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from transformers import AutoModel, AutoTokenizer

from data_prep.encoding import tokenizer as tokenizers
from eval import report
from eval.__main__ import main
from mtl.model.families import fresh_head
from mtl.run.export import export_encoder, export_heads
from tests.support import masked_lm
from tests.support.launch import the_error
from tests.support.target_files import nli, write_parquet

HEADS: dict[str, tuple[str, tuple[str, ...] | None, int]] = {
    # Not the order of XNLI's labels: names decide, not numbers.
    "mnli": ("classify", ("neutral", "entailment", "contradiction"), 128),
    "squad_v1": ("span", None, 96),
    "ccg": ("tag", ("N", "NP", r"S\NP"), 32),
    "hellaswag": ("choice", None, 64),
}


def make_run(folder: Path, tokenizer_dir: Path, seed: int = 4, heads: tuple[str, ...] = tuple(HEADS)) -> Path:
    """Writes `folder`/encoder and `folder`/heads as the trainer exports them; returns the encoder's folder."""
    tokenizer = tokenizers.load(tokenizer_dir)
    shape = {"num_hidden_layers": 4, "max_position_embeddings": 530, "type_vocab_size": 1}
    # Large weights, so that outputs of different inputs differ much.
    config = masked_lm.shape(tokenizer_dir, **shape, initializer_range=0.2)
    torch.manual_seed(seed)
    weights = {f"encoder.{name}": p.data for name, p in AutoModel.from_config(config).named_parameters()}
    tasks: list[Any] = []
    for name in heads:
        kind, labels, max_length = HEADS[name]
        module = fresh_head(kind, config, len(labels) if labels else None)
        weights |= {f"heads.{name}.{key}": tensor for key, tensor in module.state_dict().items()}
        task, entry = SimpleNamespace(kind=kind, metric="accuracy"), SimpleNamespace(pooling=None)
        tasks.append(SimpleNamespace(name=name, task=task, entry=entry, labels=labels, max_length=max_length))
    export_encoder(folder / "encoder", weights, config, tokenizer, "# test\n")
    if heads:
        export_heads(folder / "heads", weights, config, tasks)
    return folder / "encoder"


@torch.no_grad()
def padded_vectors(
    folder: Path, texts: Sequence[str], layer: int, pooling: str = "mean", max_length: int = 512
) -> np.ndarray:
    """Sentence vectors by the stock model on padded batches, float32 [texts, H] of hidden_states[layer]."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    found: dict[int, torch.Tensor] = {}
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    for some in (order[start : start + 32] for start in range(0, len(order), 32)):
        batch = tokenizer(
            [texts[i] for i in some], padding=True, truncation=True, max_length=max_length, return_tensors="pt"
        )
        hidden, mask = model(**batch, output_hidden_states=True).hidden_states[layer], batch["attention_mask"].bool()
        if pooling == "mean_no_special":
            mask &= (batch["input_ids"] != tokenizer.bos_token_id) & (batch["input_ids"] != tokenizer.eos_token_id)
        of_first = {"cls": hidden[:, 0], "pooler": model.pooler(hidden) if pooling == "pooler" else hidden}
        means = [states[m].mean(0) for states, m in zip(hidden, mask, strict=True)]
        found |= zip(some, of_first.get(pooling, means), strict=True)
    return torch.stack([found[i] for i in range(len(texts))]).numpy()


def nearest(queries: np.ndarray, index: np.ndarray) -> np.ndarray:
    """The place of the vector in `index` with the highest cosine, for every query, by scikit-learn."""
    found = NearestNeighbors(n_neighbors=1, metric="cosine").fit(index).kneighbors(queries, return_distance=False)
    return np.asarray(found[:, 0])


# Columns of XQuAD and SQuAD.
QUESTIONS = {
    "id": ["1", "2"], "question": ["a dog", "a house"], "context": ["the small dog runs to the old house"] * 2,
    "answers": [{"text": ["dog"], "answer_start": [10]}, {"text": ["house"], "answer_start": [30]}],
}  # fmt: skip


def write_tests(folder: Path) -> None:
    """XNLI's and XQuAD's test data of English and German, in the Hub's layout: 4 and 2 rows of each."""
    for code in ("en", "de"):
        write_parquet(folder / "facebook" / "xnli" / code, "test", nli([0, 1, 2, 0]))
        write_parquet(folder / "google" / "xquad" / f"xquad.{code}", "validation", QUESTIONS)


def scores_in(folder: Path, name: str = "scores.json") -> dict[str, Any]:
    return json.loads((folder / name).read_text(encoding="utf-8"))


def skip_reports(patch: pytest.MonkeyPatch) -> None:
    """Scores are written, reports are not: their plots take most of the time of a small evaluation."""
    patch.setattr(report, "write", lambda scores, folder: [])


def without_seconds(scores: dict[str, Any]) -> dict[str, Any]:
    """The records of scores.json that must be the same each time: everything but how long a target took."""
    return {name: {**record, "seconds": 0} for name, record in scores["targets"].items()}


def error_line(capsys: Any, *arguments: object, code: int = 2) -> str:
    """The one error line with which `python -m eval ARGUMENTS` ends."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == code
    printed = capsys.readouterr()
    assert not printed.out
    return the_error(printed.err)
