"""Checkpoints with an LM head, and transformers' own loss on the masked tokens of our batches."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import AutoModelForMaskedLM, AutoTokenizer, PretrainedConfig

from mtl.data.packing import PackedBatch
from mtl.run.checkpoint import State
from mtl.run.export import export_run
from mtl.run.setup import Setup
from tests.support import families


def shape(tokenizer: Path, family: str = "xlm-roberta", more_rows: int = 0, **fields: Any) -> PretrainedConfig:
    """A tiny encoder's config for a tokenizer; `more_rows`: of the word embeddings, beyond the tokenizer's ids."""
    known = AutoTokenizer.from_pretrained(tokenizer)
    ids = {"pad_token_id": known.pad_token_id, "bos_token_id": known.cls_token_id, "eos_token_id": known.sep_token_id}
    # Large initial weights: scores far from uniform, so that a wrong head is seen in the loss.
    ids["mask_token_id"] = known.mask_token_id
    fields = {"initializer_range": 0.3, "vocab_size": len(known) + more_rows, **ids, **fields}
    return families.config(family, **fields)


def scatter(model: nn.Module) -> None:
    """Gives every parameter that transformers starts at 0 or 1 random values: biases of a trained model are not 0."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter += 0.5 * torch.randn(parameter.shape, generator=generator)


def write(folder: Path, tokenizer: Path, model: Any) -> Path:
    """`model` and the tokenizer as one folder."""
    shutil.copytree(tokenizer, folder, dirs_exist_ok=True)
    model.save_pretrained(folder)
    return folder


def shards(folder: Path, state: dict[str, Tensor], whole: str) -> list[str]:
    """`state` in two files and their index, named after the one file `whole`; the names, the index first."""
    stem, suffix = whole.split(".")
    names = [f"{stem}-0000{number}-of-00002.{suffix}" for number in (1, 2)]
    where = {name: names[number % 2] for number, name in enumerate(sorted(state))}
    for shard in names:
        save({name: tensor for name, tensor in state.items() if where[name] == shard}, folder / shard)
    index = f"{whole}.index.json"
    (folder / index).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": where}))
    return [index, *names]


def save(state: dict[str, Tensor], path: Path) -> None:
    if path.suffix == ".bin":
        torch.save(state, path)
    else:
        save_file(state, path, metadata={"format": "pt"})


def checkpoint(folder: Path, tokenizer: Path, **fields: Any) -> Path:
    """A folder with an encoder and its LM head; `fields`: see `shape`."""
    torch.manual_seed(3)
    model = AutoModelForMaskedLM.from_config(shape(tokenizer, **fields))
    scatter(model)
    return write(folder, tokenizer, model)


def export(made: Setup) -> nn.Module:
    """Exports a run, with scattered weights in the place of trained ones; its model."""
    made.run.folder.mkdir(parents=True)
    model = made.model()
    scatter(model)
    export_run(made, {name: p.detach() for name, p in model.named_parameters()}, State(1, made.identity()), "")
    return model


@torch.no_grad()
def loss(folder: Path, batches: Iterable[PackedBatch], task: str) -> tuple[float, int]:
    """(sum of the cross-entropies of `task`'s masked tokens by the stock model on padded sequences, their number)."""
    model = AutoModelForMaskedLM.from_pretrained(folder).eval()
    total, count = 0.0, 0
    for batch in batches:
        rows = batch.heads[task]
        wanted = torch.full_like(batch.input_ids[0], -100)
        wanted[rows.tokens] = rows.labels
        sequences, labels = (part.split(list(batch.seq_lengths)) for part in (batch.input_ids[0], wanted))
        pad = model.config.pad_token_id
        padded: list[Tensor] = [
            nn.utils.rnn.pad_sequence(list(parts), batch_first=True, padding_value=value)
            for parts, value in ((sequences, pad), (labels, -100))
        ]
        real = nn.utils.rnn.pad_sequence([torch.ones_like(s) for s in sequences], batch_first=True)
        found = int((padded[1] != -100).sum())
        if found:
            total += float(model(padded[0], attention_mask=real, labels=padded[1]).loss) * found
        count += found
    return total, count
