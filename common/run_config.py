"""The run config: one JSON file per experiment.

Fields are typed and documented where they are declared; the error for an unknown key suggests the nearest known name.
`load` reads a file, applies `--set key.path=value` and returns a `RunConfig`; `data_prep/run_tasks.py` resolves its
`tasks`. DeepSpeed's own keys are in `ds_configs/` (`common/deepspeed_config.py`).
"""

import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from common import jsontext
from common.config_fields import FolderName, NotNegative, Place, Positive, Strict, explain
from common.errors import InputError
from common.families import check_family

REPOSITORY = Path(__file__).resolve().parent.parent
LARGEST_SIZE, MOST_LAYERS = 2**24, 1000  # of a random encoder: far beyond realistic ones


class Learned(Strict):
    """A temperature that is trained."""

    learned: float = Field(gt=0, le=100)  # where it starts


class TaskEntry(Strict):
    """One entry of `tasks`: a task of the table (`task`) with overrides, or a user's own (`name` and the rest).

    In several languages (`languages`) the examples of the task are drawn from each with its share and train one head.
    Its dev set is the English one where English is among them, else those of all of them.
    """

    task: str | None = None  # name of a task of the table
    name: str | None = None  # name of the user's own task; or another name, for a second entry of a task of the table
    kind: str | None = None  # own task: its task type, one of `tasks/registry.py`
    labels: list[str] | None = None  # own classify or tag task: the label names, in id order
    metric: str | None = None  # own task: the dev metric; by default the kind's first
    # of the training data, by default English; own task: its code
    language: str | None = Field(None, min_length=1, max_length=35)
    # a list (equal shares), language -> share, or all that a task of the table has; the paths of your own files have
    # {language} in them
    languages: Literal["all"] | list[str] | dict[str, NotNegative] | None = None
    # alpha: shares of the `languages` ~ n^alpha, n training rows of each
    exponent: float | None = Field(None, ge=0, le=1)
    translated: Place | None = None  # folder of `data_prep translate`, for `language` or `languages` other than English
    train: Place | None = None  # training file: JSONL (mlm: also plain text); own task, or ccg
    dev: Place | None = None  # dev file; own task, or ccg
    cap: Positive | None = None  # count at most this many examples in the mixture
    # share of the examples; in other mixtures than `fixed` the tasks without divide the rest
    share: NotNegative | None = None
    loss_weight: NotNegative = 1.0  # lambda_t of the loss
    # train on these rows alone: a file with one id a line, as `python -m studies difficulty` writes
    subset: Place | None = None
    max_length: Positive | None = None  # tokens per sequence, special ones included
    # start from an exported head: FOLDER:TASK, runs/x/heads:siqa say; without it a head starts at random, one of kind
    # mlm from the LM head in the encoder's folder if it has one
    head: Place | None = None
    # pair: a text's vector; by default the pooler's or, where the encoder has none, `first`
    pooling: Literal["mean", "first", "pooler"] | None = None
    # pair: scores are cosines / temperature; fixed, or {"learned": start}, the default with 0.01: what is learned is
    # 1 / temperature, which moves by about head_lr a step (as in XTREME-R)
    temperature: Annotated[float, Field(gt=0, le=100)] | Learned | None = None
    # alpha, of a pair task in several `languages`: the pairs of a step are of one language (query and passage) with
    # probability alpha, else of two, all ordered pairs of different languages alike
    hybrid: float | None = Field(None, ge=0, le=1)

    @model_validator(mode="after")
    def _one_way(self) -> "TaskEntry":
        codes = self.languages
        if self.language is not None and codes is not None:
            raise ValueError("give either `language` or `languages`")
        if self.translated is not None and (self.task is None or (self.language is None and codes is None)):
            raise ValueError("`translated` goes with a `task` of the table and its `language` or `languages`")
        if self.exponent is not None and (codes is None or isinstance(codes, dict)):
            raise ValueError('`exponent` goes with `languages` as a list or "all"')
        if isinstance(codes, list) and (not codes or len(set(codes)) < len(codes)):
            raise ValueError("`languages` must be different ones, at least one")
        if isinstance(codes, dict) and not sum(codes.values()):
            raise ValueError("`languages`: the shares add up to nothing")
        return self

    @property
    def called(self) -> str | None:
        """The name of head, scores and messages."""
        return self.name or self.task


class Mixture(Strict):
    """How examples are drawn; formulas in `mtl/data/sampler.py`."""

    kind: Literal["proportional", "capped", "temperature", "uniform", "fixed", "annealed"] = "capped"
    cap: Positive | None = None  # K of `capped` (default 131072 = 2^17); also caps `temperature`
    temperature: float = Field(1.0, gt=0)  # T of `temperature`: p ~ min(n, K)^(1/T)
    # by_task: a step's examples come from one task; mixed: every example is drawn by itself
    batches: Literal["by_task", "mixed"] = "by_task"

    @model_validator(mode="after")
    def _used(self) -> "Mixture":
        if self.cap is not None and self.kind not in ("capped", "temperature"):
            raise ValueError(f"`cap` has no meaning for kind `{self.kind}`; use it with capped or temperature")
        if self.temperature != 1.0 and self.kind != "temperature":
            raise ValueError(f"`temperature` has no meaning for kind `{self.kind}`")
        return self


class Batch(Strict):
    """The global batch of one optimizer step, whatever the number of ranks."""

    examples: Positive | None = Field(None, le=2**18)  # examples per step
    tokens: Positive | None = Field(None, le=2**24)  # tokens per step, on average over the mixture

    @model_validator(mode="after")
    def _one(self) -> "Batch":
        if (self.examples is None) == (self.tokens is None):
            raise ValueError("give either `examples` or `tokens`")
        return self


Beta = Annotated[float, Field(ge=0, lt=1)]


class Optimizer(Strict):
    """AdamW with linear warm-up and linear decay to zero."""

    lr: float = Field(1e-5, gt=0, le=1000)  # peak learning rate of the encoder
    head_lr: float | None = Field(None, gt=0, le=1000)  # peak learning rate of the heads; default: lr
    warmup: NotNegative = 0.1  # below 1: share of all steps; from 1 on: steps
    weight_decay: NotNegative = 0.01  # not applied to biases and LayerNorm
    clip: NotNegative = 1.0  # global gradient norm; 0 switches clipping off
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    eps: float = Field(1e-8, gt=0, le=1)
    # a step whose loss or gradient is not finite: end the run, or leave the step out and count it
    nonfinite: Literal["stop", "skip"] = "stop"


class Evaluate(Strict):
    """Dev evaluation during training."""

    every: Positive = 1000  # steps between evaluations; the last step is always evaluated
    examples: Positive | None = 500  # dev examples per task, evenly spaced; null: all
    patience: Positive | None = None  # stop after so many evaluations without a better mean; null: never


class Checkpoint(Strict):
    every: Positive = 1000  # steps between checkpoints; the last step is always saved
    keep: Positive = 2  # how many of the newest stay on disk, besides the best
    # a checkpoint that cannot be written (full disk): end the run, or train on without it
    on_failure: Literal["stop", "continue"] = "stop"


class Export(Strict):
    # at the end also encoder_mean/ and heads_mean/: the mean of the float32 master weights of so many last checkpoints
    # (every `checkpoint.every` steps, and the last step)
    average: Positive | None = None


class RandomEncoder(Strict):
    """A new encoder with random weights."""

    model_type: str = "xlm-roberta"  # family, one of common/families.py
    config: dict[str, Any]  # keys of the family's config class of transformers; the vocabulary follows the tokenizer
    tokenizer: Place  # Hub id or folder

    @field_validator("model_type")
    @classmethod
    def _known(cls, model_type: str) -> str:
        check_family("config", model_type)
        return model_type

    @field_validator("config")
    @classmethod
    def _sizes(cls, config: dict[str, Any]) -> dict[str, Any]:
        """What else is wrong the config class reports, once it is loaded."""
        for key, value in config.items():
            least = int(key.endswith(("_size", "_layers", "_heads", "_embeddings")))
            most = MOST_LAYERS if key == "num_hidden_layers" else LARGEST_SIZE
            if isinstance(value, int | float) and not least <= value <= most:
                raise ValueError(f"{key}: expected a number from {least} to {most}")
        return {key: value for key, value in config.items() if value is not None}


class RunConfig(Strict):
    """One run. `tasks` entries may be given as a plain name."""

    name: FolderName  # the run folder is output/name
    output: Place = "runs"
    data: Place = "data"  # where python -m data_prep --out wrote
    encoder: Place | RandomEncoder = "FacebookAI/xlm-roberta-large"  # Hub id, folder, or random weights
    tasks: list[TaskEntry] = Field(min_length=1)
    mixture: Mixture = Mixture()
    max_length: Positive = 256  # tokens per sequence, special ones included
    batch: Batch = Batch(examples=32)
    micro_tokens: Positive = 16384  # tokens that one rank holds at once; accumulation follows from it
    epochs: float | None = Field(None, gt=0, le=1e6)  # epochs of the mixture: sum over tasks of min(n, cap) examples
    steps: Positive | None = Field(None, le=10**7)  # optimizer steps, instead of epochs
    optimizer: Optimizer = Optimizer()
    evaluate: Evaluate = Evaluate()
    checkpoint: Checkpoint = Checkpoint()
    export: Export = Export()
    deepspeed: Place = "zero2.json"  # a file of ds_configs/ or a path; DeepSpeed's own keys
    # ZeRO-2 gradients and optimizer step, and the gradient norm of ZeRO-1 and 2, by
    # mtl/distributed/{zero2_gradients,zero2_step,grad_norm}.py, which are tied to one version of DeepSpeed; false:
    # DeepSpeed's own
    fast_zero2: bool = True
    seed: int = Field(1, ge=0, lt=2**32)
    hidden_dropout_prob: float | None = Field(None, ge=0, lt=1)  # null: as the encoder's config says
    # 0.0 because the fast kernels have none; XLM-R was trained with 0.1
    attention_probs_dropout_prob: float = Field(0.0, ge=0, lt=1)
    # attention back-end; see mtl/model/attention.py
    attention: Literal["auto", "triton", "varlen", "sdpa", "padded"] = "auto"
    gradient_checkpointing: bool = False
    # what follows attention in each block through torch.compile: one graph for any number of tokens; needs a C++
    # compiler (CPU) or Triton (CUDA), and draws other dropout masks; see mtl/model/compiled.py; null: on a GPU, not on
    # CPU
    compile: bool | None = None
    # train only the word embeddings of tokens that the prepared data hold: the same export for less communication and
    # memory; off by itself with mlm tasks; see mtl/model/trimmed_embeddings.py
    trim_word_embeddings: bool = True
    # keep for each training row how probable its gold label was at every visit, and write dynamics/ at the end; see
    # mtl/run/dynamics.py
    dynamics: bool = False
    mlm_probability: float = Field(0.15, gt=0, lt=1)  # share of tokens masked in mlm tasks
    log_every: Positive = 10  # steps between lines of metrics.jsonl and TensorBoard
    silence: float = Field(60.0, ge=5)  # seconds without a sign of life after which a rank counts as hung and all end
    notes: str = ""  # free text, shown in the run record

    @model_validator(mode="before")
    @classmethod
    def _plain_names(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("tasks"), list):
            return {**values, "tasks": [{"task": t} if isinstance(t, str) else t for t in values["tasks"]]}
        return values

    @model_validator(mode="after")
    def _consistent(self) -> "RunConfig":
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give either `epochs` or `steps`")
        names = [entry.called for entry in self.tasks]
        for name in names:
            if name is not None and names.count(name) > 1:
                raise ValueError(
                    f"tasks: {name!r} is given twice; for one head in several languages give one entry `languages`,"
                    " for two heads give one of them another `name`"
                )
        fixed, shares = self.mixture.kind == "fixed", [entry.share for entry in self.tasks if entry.share is not None]
        everywhere = len(shares) == len(self.tasks)
        if fixed and not (everywhere and sum(shares) > 0):
            raise ValueError("mixture kind `fixed` needs a `share` in every task, not all of them 0")
        if not fixed and everywhere:
            raise ValueError(f"a `share` in every task is mixture kind `fixed`, not `{self.mixture.kind}`")
        if not fixed and sum(shares) >= 1:
            raise ValueError("the shares leave nothing to the tasks without `share`: their sum must be less than 1")
        return self

    def length_of(self, index: int) -> int:
        """Tokens per sequence of task number `index`."""
        return self.tasks[index].max_length or self.max_length

    @property
    def folder(self) -> Path:
        return Path(self.output) / self.name

    @property
    def tokenizer(self) -> str:
        """Hub id or folder of the encoder's tokenizer."""
        return self.encoder if isinstance(self.encoder, str) else self.encoder.tokenizer


def find_file(option: str, name: str, folder: str) -> Path:
    """`name` is a path, or the name of a file in `folder` of this repository, with or without `.json`."""
    home = REPOSITORY / folder
    for path in (Path(name), home / name, home / f"{name}.json"):
        if os.path.isfile(path):  # unlike Path.is_file, False also for a name that is too long
            return path
    known = ", ".join(sorted(p.name for p in home.glob("*.json")))
    raise InputError(f"{option} {name}: no such file, nor in {folder}/ (there: {known})")


def find_config(name: str) -> Path:
    """The run config `name`, see `find_file`."""
    return find_file("--config", name, "configs")


def load(name: str, overrides: list[str] | None = None) -> RunConfig:
    """Reads the config `name` (see `find_config`), applies `key.path=value` overrides, validates.

    Raises `InputError` with the file, the field and what was expected.
    """
    path = find_config(name)
    values = read_json(path)
    for override in overrides or []:
        _apply(values, override)
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{path}: {explain(error)}") from None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; `InputError` with line and column where it is not one."""
    try:
        values = jsontext.parse(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: line {error.lineno}, column {error.colno}: not valid JSON ({error.msg})") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected a JSON object, found {type(values).__name__}")
    return values


def _apply(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise InputError(f"--set {override}: expected key.path=value")
    try:
        value = jsontext.parse(text)
    except json.JSONDecodeError as error:
        if text.startswith(('"', "[", "{")):
            raise InputError(f"--set {override}: not valid JSON ({error.msg})") from None
        value = text  # a bare word is a string
    place: Any = values
    *parents, last = key.split(".")
    for part in parents:
        if isinstance(place, list):
            index = _position(place, part, override)
            if isinstance(place[index], str):  # a task given by plain name
                place[index] = {"task": place[index]}
            place = place[index]
        else:
            place = place.setdefault(part, {})
            if not isinstance(place, dict | list):
                raise InputError(f"--set {override}: {part} is a plain value, it has no fields")
    if isinstance(place, list):
        place[_position(place, last, override)] = value
    else:
        # Setting one of two exclusive fields clears the other: `--set steps=5` on a config that has epochs.
        for one, other in (("steps", "epochs"), ("examples", "tokens")):
            if last in (one, other) and last != "" and value is not None and len(parents) == (one == "examples"):
                place.pop(other if last == one else one, None)
        place[last] = value


def _position(place: list[Any], part: str, override: str) -> int:
    for index, item in enumerate(place):
        if part == (item.get("name") or item.get("task") if isinstance(item, dict) else item):
            return index
    if part.isdigit() and int(part) < len(place):
        return int(part)
    raise InputError(f"--set {override}: no entry {part!r} in the list")
