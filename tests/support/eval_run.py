"""A run folder with a tiny random XLM-R and heads of every kind, as the trainer exports them, for the tests of eval."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from transformers import XLMRobertaConfig, XLMRobertaModel

from data_prep.encoding import tokenizer as tokenizers
from mtl.model.heads import make_head
from mtl.run.export import export_encoder, export_heads

HEADS: dict[str, tuple[str, tuple[str, ...] | None, int]] = {
    # Not the order of XNLI's labels: names decide, not numbers.
    "mnli": ("classify", ("neutral", "entailment", "contradiction"), 128),
    "squad_v1": ("span", None, 96),
    "ccg": ("tag", ("N", "NP", r"S\NP"), 32),
    "hellaswag": ("choice", None, 64),
}


def make_run(folder: Path, tokenizer_dir: Path, seed: int = 4, heads: tuple[str, ...] = tuple(HEADS)) -> Path:
    """Writes `folder`/encoder and `folder`/heads; returns the encoder's folder."""
    tokenizer = tokenizers.load(tokenizer_dir)
    config = XLMRobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=530,
        type_vocab_size=1,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        # Large weights, so that outputs of different inputs differ much.
        initializer_range=0.2,
    )
    torch.manual_seed(seed)
    weights = {f"encoder.{name}": p.data for name, p in XLMRobertaModel(config).named_parameters()}
    tasks: list[Any] = []
    for name in heads:
        kind, labels, max_length = HEADS[name]
        module = make_head(kind, config, len(labels) if labels else None)
        weights |= {f"heads.{name}.{key}": tensor for key, tensor in module.state_dict().items()}
        task = SimpleNamespace(kind=kind, metric="accuracy")
        tasks.append(SimpleNamespace(name=name, task=task, labels=labels, max_length=max_length))
    export_encoder(folder / "encoder", weights, config, tokenizer, "# test\n")
    if heads:
        export_heads(folder / "heads", weights, config, tasks)
    return folder / "encoder"
