"""Everything a run needs before there is a process group: config, data, plan, and the model's shape."""

from dataclasses import dataclass
from typing import Any

from transformers import PretrainedConfig, PreTrainedTokenizerBase

from mtl import config as configs
from mtl import data
from mtl.batch import Special
from mtl.config import RunConfig
from mtl.data import TaskData
from mtl.dsconfig import read_deepspeed
from mtl.model import MultiTaskModel, load_config, load_encoder
from mtl.plan import Plan


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

    @property
    def names(self) -> list[str]:
        return [task.name for task in self.tasks]

    def model(self) -> MultiTaskModel:
        """The encoder with its weights and fresh heads, in float32 on the CPU."""
        encoder = load_encoder(
            self.run.encoder,
            backend=self.run.attention,
            vocabulary=len(self.tokenizer),
            hidden_dropout=self.run.hidden_dropout_prob,
            attention_dropout=self.run.attention_probs_dropout_prob,
            seed=self.run.seed,
        )
        kinds = {task.name: task.task.kind for task in self.tasks}
        labels = {task.name: len(task.labels) if task.labels else None for task in self.tasks}
        return MultiTaskModel(encoder, kinds, labels, self.run.seed)


def read(name: str, overrides: list[str]) -> Setup:
    """Reads config `name` with its `--set` overrides and opens the prepared data; `InputError` for what is wrong."""
    run = configs.load(name, overrides)
    ds = read_deepspeed(run)
    tokenizer = data.tokenizer_of(run)
    tasks = data.open_tasks(run, tokenizer, name)
    source = load_config(run.encoder, vocabulary=len(tokenizer))
    return Setup(run, ds, tokenizer, data.special_of(tokenizer), tasks, Plan(run, tasks), source)
