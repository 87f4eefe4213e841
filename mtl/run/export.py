"""Export of a run: the encoder as a Hugging Face model folder, and the heads beside it.

`encoder/` loads with `AutoModel.from_pretrained` and `AutoTokenizer.from_pretrained`: float32 safetensors from the
master weights including the pooler, tokenizer, config and a model card; and with `SentenceTransformer`, which takes the
mean of the last layer, or its first token where that is the `pooling` that was trained. `heads/` has all heads in one
safetensors file, and `heads.json`. Folders are written under a temporary name and renamed.
"""

from collections.abc import Sequence
from pathlib import Path

import jinja2
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedTokenizerBase

from common import files
from mtl.data.task_data import TaskData
from mtl.model.encoder import export_config, new_encoder
from mtl.model.families import family_of
from mtl.run.checkpoint import State
from mtl.run.setup import Setup

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    keep_trailing_newline=True,
)


def export_run(setup: Setup, weights: dict[str, Tensor], state: State, suffix: str, averaged: Sequence[int]) -> None:
    """Writes `encoder` and `heads` (+ `suffix`) of a run from `Engine.full_weights`.

    averaged: the steps after which they were, if it is their mean, of which no dev score was measured.
    """
    card = model_card(setup, state.step, {} if averaged else state.dev, averaged)
    default = "pooler" if family_of(setup.source).has_pooler else "first"
    poolings = {task.entry.pooling or default for task in setup.tasks if task.task.kind == "pair"}
    # Where tasks disagree, none says anything, or the pooler is read (a dense layer of its own there), it is the mean.
    first = poolings == {"first"}
    export_encoder(setup.run.folder / f"encoder{suffix}", weights, setup.source, setup.tokenizer, card, first)
    export_heads(setup.run.folder / f"heads{suffix}", weights, setup.source, setup.tasks)


def export_encoder(
    folder: Path,
    weights: dict[str, Tensor],
    config: PretrainedConfig,
    tokenizer: PreTrainedTokenizerBase,
    card: str,
    first: bool = False,
) -> None:
    """Writes `folder` from the weights named `encoder.*` (float32); `config` is the source's own.

    first: whether sentence-transformers is to read the first token, not the mean.
    """
    with torch.device("meta"):
        encoder = new_encoder(export_config(config))
    state = {name.removeprefix("encoder."): w for name, w in weights.items() if name.startswith("encoder.")}
    with files.replacing(folder) as writing:
        encoder.save_pretrained(writing, state_dict={name: w.float().contiguous() for name, w in state.items()})
        tokenizer.save_pretrained(writing)
        _sentence_transformers(writing, config.hidden_size, first)
        (writing / "README.md").write_text(card, encoding="utf-8")


def _sentence_transformers(folder: Path, width: int, first: bool) -> None:
    """The files by which sentence-transformers loads the folder: the encoder, then all tokens' mean, or the first."""
    parts = (("Transformer", ""), ("Pooling", "1_Pooling"))
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{name}"}
        for index, (name, path) in enumerate(parts)
    ]
    (folder / "1_Pooling").mkdir()
    modes = {"pooling_mode_cls_token": first, "pooling_mode_mean_tokens": not first}
    pooling = {"word_embedding_dimension": width, **modes}
    files.write_json(folder / "1_Pooling" / "config.json", pooling)
    files.write_json(folder / "modules.json", modules)


def export_heads(folder: Path, weights: dict[str, Tensor], config: PretrainedConfig, tasks: list[TaskData]) -> None:
    """Writes every head from the weights named `heads.TASK.*`."""
    state = {n.removeprefix("heads."): w.contiguous() for n, w in weights.items() if n.startswith("heads.")}
    about = {
        task.name: {
            "kind": task.task.kind,
            "labels": list(task.labels) if task.labels else None,
            "metric": task.task.metric,
            "max_length": task.max_length,
            **({"pooling": task.entry.pooling} if task.entry.pooling else {}),
        }
        for task in tasks
    }
    with files.replacing(folder) as writing:
        save_file(state, writing / "heads.safetensors")
        export_config(config).save_pretrained(writing)
        files.write_json(writing / "heads.json", about)


def model_card(setup: Setup, step: int, scores: dict[str, dict[str, float]], averaged: Sequence[int] = ()) -> str:
    """README.md of an exported encoder: its base model, training data with their licences, and dev scores."""
    encoder, tasks = setup.run.encoder, setup.tasks
    card = _TEMPLATES.get_template("model_card.md.jinja")
    return card.render(
        config=setup.run,
        base=encoder if isinstance(encoder, str) else "random weights",
        on_hub=isinstance(encoder, str) and not Path(encoder).exists(),
        step=step,
        averaged=averaged,
        tasks=tasks,
        licences={task.name: list(dict.fromkeys(p.manifest["licence"] for p in task.prepared)) for task in tasks},
        against=sorted({name for task in tasks for p in task.prepared for name in p.manifest.get("against", ())}),
        scores=scores,
    )
