"""Heads as an export left them beside the encoder (`heads/`), read again: to predict with, or to train on from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoConfig, PretrainedConfig

from common import jsontext
from common.errors import InputError
from mtl.model.loading import loading
from tasks.head import Head
from tasks.registry import head_class


@dataclass(frozen=True)
class LoadedHead:
    """A trained head. `labels`: names in id order, None where the task type has none."""

    task: str
    kind: str
    labels: tuple[str, ...] | None
    max_length: int
    module: Head


def load_heads(folder: Path) -> dict[str, LoadedHead]:
    """The heads of an export, in eval mode, by task name; `InputError` if the folder is not one."""
    for name in ("heads.json", "heads.safetensors"):
        if not (folder / name).is_file():  # a pipe, say, would be waited for
            raise InputError(f"{folder}: no exported heads here (no file {name})")
    with loading(f"{folder}: the heads"):
        about: dict[str, dict[str, Any]] = jsontext.parse((folder / "heads.json").read_text(encoding="utf-8"))
        config = AutoConfig.from_pretrained(folder)
        state = load_file(folder / "heads.safetensors")
        return {name: _head(name, entry, config, state) for name, entry in about.items()}


def _head(name: str, entry: dict[str, Any], config: PretrainedConfig, state: dict[str, Tensor]) -> LoadedHead:
    labels, length, prefix = tuple(entry["labels"] or ()) or None, entry["max_length"], f"{name}."
    if type(length) is not int or not all(isinstance(label, str) for label in labels or ()):
        raise ValueError(f"{name}: max_length {length!r}, labels {labels!r}")
    module = head_class(entry["kind"]).fresh(config, len(labels) if labels else None)
    module.load_state_dict({n.removeprefix(prefix): w for n, w in state.items() if n.startswith(prefix)})
    return LoadedHead(name, entry["kind"], labels, length, module.eval())


def start_from(head: nn.Module, name: str, kind: str, labels: tuple[str, ...] | None, place: str) -> None:
    """Gives `head` the weights of the exported head at `place` (FOLDER:TASK); `InputError` if it is another sort."""
    folder, _, task = place.rpartition(":")
    heads = load_heads(Path(folder))
    if task not in heads:
        raise InputError(f"tasks: {name}: head {place}: {folder} holds {', '.join(heads)}")
    found = heads[task]
    if (found.kind, found.labels) != (kind, labels):
        was, now = (f"{k} {'/'.join(v or ())}".strip() for k, v in ((found.kind, found.labels), (kind, labels)))
        raise InputError(f"tasks: {name}: head {place} is of kind {was}, the task of kind {now}")
    try:
        head.load_state_dict(found.module.state_dict())
    except RuntimeError as error:
        raise InputError(f"tasks: {name}: head {place}: {str(error).splitlines()[-1].strip()}") from None
