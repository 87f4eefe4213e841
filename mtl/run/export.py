"""Export of a run: the encoder as a Hugging Face folder, and the heads beside it.

`encoder/` loads with `AutoModel.from_pretrained` and `AutoTokenizer.from_pretrained`: float32 safetensors from the
master weights including the pooler, tokenizer, config and a model card. `heads/` has all heads in one safetensors
file, and `heads.json`. Folders are written under a temporary name and renamed.
"""

import json
import os
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModel, PretrainedConfig, PreTrainedTokenizerBase

from common.run_config import RunConfig
from mtl.data.task_data import TaskData
from mtl.model.encoder import export_config
from mtl.run.checkpoint import State
from mtl.run.setup import Setup


def export_run(made: Setup, weights: dict[str, Tensor], state: State, suffix: str, writes: bool) -> None:
    """Writes `encoder` and `heads` (+ `suffix`) of a run from `Engine.full_weights`, on the rank that `writes`."""
    if writes:
        card = model_card(made.run, made.tasks, state.step, state.dev)
        export_encoder(made.run.folder / f"encoder{suffix}", weights, made.source, made.tokenizer, card)
        export_heads(made.run.folder / f"heads{suffix}", weights, made.source, made.tasks)


def export_encoder(
    folder: Path, weights: dict[str, Tensor], config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase, card: str
) -> None:
    """Writes `folder` from the weights named `encoder.*` (float32); `config` is the source's own."""
    with torch.device("meta"):
        encoder = AutoModel.from_config(export_config(config))
    state = {name.removeprefix("encoder."): w for name, w in weights.items() if name.startswith("encoder.")}
    expected = set(dict(encoder.named_parameters()))
    assert expected == set(state), expected ^ set(state)
    writing = _fresh(folder)
    encoder.save_pretrained(writing, state_dict={name: w.float().contiguous() for name, w in state.items()})
    tokenizer.save_pretrained(writing)
    (writing / "README.md").write_text(card, encoding="utf-8")
    _put(writing, folder)


def export_heads(folder: Path, weights: dict[str, Tensor], config: PretrainedConfig, tasks: list[TaskData]) -> None:
    """Writes every head from the weights named `heads.TASK.*`."""
    writing = _fresh(folder)
    state = {n.removeprefix("heads."): w.contiguous() for n, w in weights.items() if n.startswith("heads.")}
    save_file(state, writing / "heads.safetensors")
    export_config(config).save_pretrained(writing)
    about = {
        task.name: {
            "kind": task.task.kind,
            "labels": list(task.labels) if task.labels else None,
            "metric": task.task.metric,
            "max_length": task.max_length,
        }
        for task in tasks
    }
    (writing / "heads.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
    _put(writing, folder)


def model_card(config: RunConfig, tasks: list[TaskData], step: int, scores: dict[str, dict[str, float]]) -> str:
    """README.md of an exported encoder: its base model, training data with their licences, and dev scores."""
    base = config.encoder if isinstance(config.encoder, str) else "random weights"
    lines = ["---", "library_name: transformers"]
    if isinstance(config.encoder, str) and not Path(config.encoder).exists():
        lines.append(f"base_model: {config.encoder}")
    lines += ["tags:", "- intermediate-task-training", "- cross-lingual", "---", "", f"# {config.name}", ""]
    lines += [
        f"Encoder after intermediate-task training: {base}, {step} steps, "
        f"mixture `{config.mixture.kind}`, batches `{config.mixture.batches}`, seed {config.seed}.",
        f"Attention dropout in training: {config.attention_probs_dropout_prob}.",
        "",
        "| task | kind | training rows | licence of the data | dev score | majority |",
        "|---|---|---|---|---|---|",
    ]
    for task in tasks:
        figures = scores.get(task.name)
        licences = "; ".join(dict.fromkeys(str(p.manifest["licence"]) for p in task.prepared))
        shown = f"{100 * figures['score']:.1f}" if figures else "-"
        majority = f"{100 * figures['majority']:.1f}" if figures else "-"
        lines.append(f"| {task.name} | {task.task.kind} | {len(task.train)} | {licences} | {shown} | {majority} |")
    lines += [
        "",
        "```python",
        "from transformers import AutoModel, AutoTokenizer",
        "encoder = AutoModel.from_pretrained(FOLDER)",
        "tokenizer = AutoTokenizer.from_pretrained(FOLDER)",
        "```",
        "",
        "The task heads are in `heads/` of the run folder.",
        "",
    ]
    return "\n".join(lines)


def _fresh(folder: Path) -> Path:
    writing = folder.with_name(f".writing-{folder.name}")
    shutil.rmtree(writing, ignore_errors=True)
    writing.mkdir(parents=True)
    return writing


def _put(writing: Path, folder: Path) -> None:
    """Replaces `folder` by the finished `writing`; only between two renames there is neither."""
    old = folder.with_name(f".old-{folder.name}")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(writing, folder)
    shutil.rmtree(old, ignore_errors=True)
