"""Everything a run needs before there is a process group: config, data, plan, and the model's shape."""

import hashlib
import os
import shlex
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import PretrainedConfig, PreTrainedTokenizerBase

from common.deepspeed_config import read_deepspeed
from common.errors import InputError, loading
from common.files import file_sha256
from common.run_config import REPOSITORY, RandomEncoder, RunConfig
from data_prep.datasets.schema import Task
from data_prep.encoding import tokenizer as tokenizers
from data_prep.run_tasks import load
from mtl.data import task_data
from mtl.data.plan import Plan
from mtl.data.task_data import TaskData
from mtl.distributed import zero2_gradients
from mtl.model import attention, trimmed_embeddings, weight_files
from mtl.model.encoder import MultiTaskModel, load_config, load_encoder
from mtl.model.families import adapted, family_of
from mtl.model.saved_heads import start_heads
from mtl.model.trimmed_embeddings import TrimmedEmbedding, Vocabulary
from mtl.run import dynamics
from tasks.encoding import Special

PACKAGES = ("common", "tasks", "data_prep", "mtl")  # what `train.py` imports of this repository, sub-packages included


@dataclass(frozen=True)
class Setup:
    """A run, fully described. `source`: the encoder's own config, as it will be exported."""

    run: RunConfig
    ds: dict[str, Any]
    tokenizer: PreTrainedTokenizerBase
    special: Special
    tasks: list[TaskData]
    plan: Plan
    source: PretrainedConfig
    vocabulary: Vocabulary

    @property
    def names(self) -> list[str]:
        return [task.name for task in self.tasks]

    @property
    def compiled(self) -> bool:
        """Whether blocks are compiled: as the config says, or else where the model runs on a GPU."""
        if self.run.compile is not None:
            return self.run.compile
        # DeepSpeed's own choice of device, which follows this variable.
        cuda = torch.cuda.is_available() and os.environ.get("DS_ACCELERATOR", "cuda") == "cuda"
        return cuda and attention.has_triton()

    def model(self, exports: bool = True) -> MultiTaskModel:
        """The encoder with its weights and fresh heads, in float32 on the CPU.

        `exports`: whether this process will write encoders, and so has to keep the embeddings that are not trained.
        """
        with loading(describe_encoder(self.run.encoder)):
            encoder = load_encoder(
                self.run.encoder,
                backend=self.run.attention,
                compiled=self.compiled,
                special=self.special,
                hidden_dropout=self.run.hidden_dropout_prob,
                attention_dropout=self.run.attention_probs_dropout_prob,
                seed=self.run.seed,
            )
        if self.vocabulary.ids is not None:
            table = encoder.get_input_embeddings()
            encoder.set_input_embeddings(TrimmedEmbedding(table, torch.from_numpy(self.vocabulary.ids), exports))
        model = MultiTaskModel(encoder, self.tasks, self.run.seed)
        start_heads(model, self.run, self.tasks)
        for task in self.tasks:
            if task.temperature is not None:
                model.head(task.name).set_temperature(*task.temperature)
        return model

    def identity(self) -> dict[str, Any]:
        """What a resumed run must have in common with the one that wrote the checkpoint, by name."""
        run = self.run
        return {
            **self.plan.parts(),
            "encoder": encoder_identity(run.encoder),
            "word embeddings": self.vocabulary.identity(run),
            "heads": [_head_shape(task) for task in self.tasks],
            "head weights": {task.name: _head_identity(task.entry.head) for task in self.tasks},
            "optimizer": run.optimizer.model_dump(mode="json", exclude={"nonfinite"}),
            "hidden_dropout_prob": run.hidden_dropout_prob,
            "attention_probs_dropout_prob": run.attention_probs_dropout_prob,
            "compile": self.compiled,  # other dropout masks
            "deepspeed": self.ds,
            "fast_zero2": run.fast_zero2,
        }

    def rank_identity(self) -> dict[str, Any]:
        """What all ranks must have in common at the start: the identity, the code, the versions that compute."""
        versions = {name: version(name) for name in ("torch", "deepspeed", "transformers", "numpy")}
        return {**self.identity(), "code of the program": code_hash(), "version": versions}


def code_hash(root: Path = REPOSITORY) -> str:
    """sha256, shortened, over path and content of every module of this repository that a rank may import."""
    digest = hashlib.sha256()
    modules = [root / "train.py", *(path for package in PACKAGES for path in (root / package).rglob("*.py"))]
    for path in sorted(modules):
        digest.update(f"{path.relative_to(root).as_posix()} {file_sha256(path)}\n".encode())
    return digest.hexdigest()[:12]


def describe_encoder(spec: str | RandomEncoder) -> str:
    """An encoder's name in messages."""
    return "encoder.config" if isinstance(spec, RandomEncoder) else f"encoder {spec}"


def encoder_identity(spec: str | RandomEncoder) -> Any:
    """Of a folder or Hub id its name and the sha256 of its weight files; of a random encoder its config."""
    if isinstance(spec, RandomEncoder):
        return spec.config if spec.model_type == "xlm-roberta" else {"model_type": spec.model_type, **spec.config}
    files = weight_files.weight_files(spec)
    return {"name": spec, "weights": [_sha256(path, path.stat().st_mtime_ns) for path in files]}


@lru_cache
def _sha256(path: Path, changed: int) -> str:
    """Shortened; kept, because variants of a study start from the same gigabytes. `changed`: time of the file."""
    return file_sha256(path)[:12]


def _head_shape(task: TaskData) -> list[Any]:
    given = [*([task.entry.pooling] if task.entry.pooling else []), *(task.temperature or ())]
    return [task.name, task.task.kind, len(task.labels) if task.labels else None, *given]


def _head_identity(source: str | None) -> str | None:
    """The sha256 of the weights that a head starts from; None for a fresh one."""
    if source is None:
        return None
    path = Path(source.rpartition(":")[0]) / "heads.safetensors"
    return file_sha256(path)[:12] if path.is_file() else "missing"


def read(name: str, overrides: list[str]) -> Setup:
    """Reads config `name` with its `--set` overrides and opens the prepared data; `InputError` for what is wrong."""
    run, run_tasks = load(name, overrides)
    sets = [part for override in overrides for part in ("--set", override)]
    return of_config(run, run_tasks, shlex.join(["python", "-m", "data_prep", "--config", name, *sets]))


def of_config(run: RunConfig, run_tasks: list[Task], command: str) -> Setup:
    """The same of a config that is read already; `command`: what prepares its data, for messages."""
    ds = read_deepspeed(run)
    if run.fast_zero2:
        zero2_gradients.check_version()
    tokenizer = tokenizers.load(run.tokenizer)
    special = task_data.special_of(tokenizer)
    with loading(f"{describe_encoder(run.encoder)}: its config"):
        source = load_config(run.encoder, special)
    family = family_of(source)
    other_pad = family.positions_after_padding and source.pad_token_id != special.pad
    if other_pad or source.vocab_size < special.vocabulary:
        raise InputError(
            f"encoder {run.encoder}: its config has pad id {source.pad_token_id} and {source.vocab_size} tokens, its "
            f"tokenizer pad id {special.pad} and {special.vocabulary}: they do not belong together"
        )
    special = adapted(special, source)
    positions = family.positions(source)
    for index, task in enumerate(run_tasks):
        if (length := run.length_of(index)) > positions:
            raise InputError(f"{task.name}: max_length {length} is more than the encoder's {positions} positions")
        if run.tasks[index].pooling == "pooler" and not family.has_pooler:
            raise InputError(f"{task.name}: pooling `pooler`: the encoder has none; use `first` or `mean`")
    tasks = task_data.open_tasks(run, run_tasks, tokenizer, command)
    vocabulary = trimmed_embeddings.choose(run, tasks, special, source.vocab_size)
    special = replace(special, known=vocabulary.known)
    if run.dynamics:
        dynamics.check(tasks)
    plan = Plan(run, tasks)
    saved = -(-plan.steps // run.checkpoint.every)
    if (run.export.average or 0) > saved:
        raise InputError(
            f"export.average {run.export.average}: {plan.steps} steps with checkpoint.every {run.checkpoint.every} "
            f"leave {saved} checkpoint(s): lower either"
        )
    return Setup(run, ds, tokenizer, special, tasks, plan, source, vocabulary)
