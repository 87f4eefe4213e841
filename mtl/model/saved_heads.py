"""Initial weights of heads: from an export's `heads/` beside the encoder, from the encoder's LM head, or random."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoConfig, PretrainedConfig

from common import jsontext
from common.errors import InputError, loading
from common.run_config import RandomEncoder, RunConfig
from mtl.data.task_data import TaskData
from mtl.model.encoder import MultiTaskModel, load_lm_head
from mtl.model.families import fresh_head
from tasks.head import Head


@dataclass(frozen=True)
class LoadedHead:
    """A trained head. `labels`: names in id order, None where the task type has none."""

    task: str
    kind: str
    labels: tuple[str, ...] | None
    max_length: int
    module: Head


def heads_folder_of(encoder: Path) -> Path:
    """The folder of the heads that were exported with an encoder: `heads_last` beside `encoder_last`."""
    name = encoder.name
    return encoder.parent / (name.replace("encoder", "heads", 1) if name.startswith("encoder") else "heads")


def load_heads(folder: Path) -> dict[str, LoadedHead]:
    """The heads of an export, in eval mode, by task name; `InputError` if the folder is not one."""
    with loading(f"{folder}: the heads"):
        about: dict[str, dict[str, Any]] = jsontext.parse((folder / "heads.json").read_text(encoding="utf-8"))
        config = AutoConfig.from_pretrained(folder)
        state = load_file(folder / "heads.safetensors")
        return {name: _head(name, entry, config, state) for name, entry in about.items()}


def _head(name: str, entry: dict[str, Any], config: PretrainedConfig, state: dict[str, Tensor]) -> LoadedHead:
    labels, length, prefix = tuple(entry["labels"] or ()) or None, entry["max_length"], f"{name}."
    if type(length) is not int or not all(isinstance(label, str) for label in labels or ()):
        raise ValueError(f"{name}: max_length {length!r}, labels {labels!r}")
    module = fresh_head(entry["kind"], config, len(labels) if labels else None, entry.get("pooling"))
    module.load_state_dict({n.removeprefix(prefix): w for n, w in state.items() if n.startswith(prefix)})
    return LoadedHead(name, entry["kind"], labels, length, module.eval())


def start_from(head: nn.Module, task: TaskData, source: str) -> None:
    """Loads the exported head at `source` (FOLDER:TASK) into `head`; `InputError` if its type or labels differ."""
    folder, _, name = source.rpartition(":")
    heads, kind, about = load_heads(Path(folder)), task.task.kind, f"tasks: {task.name}: head {source}"
    if name not in heads:
        raise InputError(f"{about}: {folder} holds {', '.join(heads)}")
    saved = heads[name]
    if (saved.kind, saved.labels) != (kind, task.labels):
        was, now = (f"{k} {'/'.join(v or ())}".strip() for k, v in ((saved.kind, saved.labels), (kind, task.labels)))
        raise InputError(f"{about} is of kind {was}, the task of kind {now}")
    try:
        head.load_state_dict(saved.module.state_dict())
    except RuntimeError as error:
        raise InputError(f"{about}: {str(error).splitlines()[-1].strip()}") from None


def start_heads(model: MultiTaskModel, run: RunConfig, tasks: Sequence[TaskData]) -> None:
    """Loads trained weights into the heads of a fresh `model` where available; `model.notes` says which.

    A task with `head` starts from that one; one of kind mlm from the LM head of the encoder's folder or Hub model. The
    others keep their random weights. Trained weights that are available and unused are named in the notes, with the
    option that uses them if there is one. Raises `InputError` for a head of another shape.
    """
    fresh = [task for task in tasks if task.entry.head is None]
    for task in tasks:
        if task.entry.head is not None:
            start_from(model.heads[task.name], task, task.entry.head)
    if isinstance(run.encoder, RandomEncoder):
        return
    encoder, unused = f"encoder {run.encoder}", set(model.encoder.unused_weights)
    masked = [task for task in fresh if task.type.all_embeddings]
    if masked:
        state, taken = load_lm_head(run.encoder)
        names = ", ".join(task.name for task in masked)
        if state is None:
            model.notes.append(f"{names}: {encoder} has no LM head: the head starts at random")
        else:
            for task in masked:
                model.heads[task.name].load_state_dict(state)
            fresh = [task for task in fresh if task not in masked]
            modules = {name.partition(".")[0] for name in taken}
            unused -= taken | {name for name in unused if name.partition(".")[0] in modules}
            model.notes.append(f"{names}: the head starts from the LM head of {encoder}")
    if unused:
        model.notes.append(_not_used(encoder, unused, model.encoder.config))
    matching = _matching_heads(Path(run.encoder), fresh)
    if matching:
        sets = " ".join(f"--set tasks.{task}.head={head}" for task, head in matching.items())
        model.notes.append(
            f"{', '.join(matching)}: the head starts at random; to start from the trained one beside {encoder}: {sets}"
        )


def _not_used(encoder: str, unused: set[str], config: PretrainedConfig) -> str:
    """A message about trained weights in the encoder's files that no head of the run uses."""
    modules = ", ".join(f"{module}.*" for module in sorted({name.partition(".")[0] for name in unused}))
    classes = ", ".join(config.architectures or ()) or "no class named in its config.json"
    return (
        f"{encoder} ({classes}) holds trained weights that are not used: {modules}; a task of kind mlm without `head` "
        "starts from its LM head, if it has one; `head` takes heads exported by this program only"
    )


def _matching_heads(encoder: Path, fresh: Sequence[TaskData]) -> dict[str, str]:
    """{task: FOLDER:TASK of a head exported with the encoder, of the same kind and labels}, for `fresh` heads."""
    folder = heads_folder_of(encoder)
    try:
        heads = load_heads(folder) if encoder.is_dir() and folder.is_dir() else {}
    except InputError:
        return {}  # the user did not ask for them
    matches = {}
    for task in fresh:
        fits = [n for n, head in heads.items() if (head.kind, head.labels) == (task.task.kind, task.labels)]
        if fits:
            matches[task.name] = f"{folder}:{task.name if task.name in fits else fits[0]}"
    return matches
