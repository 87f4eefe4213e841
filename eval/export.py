"""Encoder and head as one folder that plain transformers loads, runs in a pipeline, or trains further.

`runs/NAME/encoder` and one of `runs/NAME/heads` become an `XLMRobertaForSequenceClassification` (or QuestionAnswering,
TokenClassification, MultipleChoice, MaskedLM; for other families of the encoder their own classes). The weights are
copied, not changed: the folder gives the logits that the trainer's head gives.
"""

from pathlib import Path

import torch
import transformers
from transformers import PreTrainedModel

from common import files
from common.errors import InputError, loading, writing
from eval.inference.encoder import EvaluatedEncoder
from mtl.model.encoder import export_config
from mtl.model.saved_heads import LoadedHead, heads_folder_of


def export(encoder: str, task: str, out: Path) -> str:
    """Writes the folder `out` and returns the name of the transformers class that it loads as.

    Raises `InputError` if the encoder or the task's head is not there, or `out` holds something already.
    """
    evaluated = EvaluatedEncoder(encoder, torch.device("cpu"))
    head = evaluated.heads.get(task)
    if head is None:
        known = ", ".join(sorted(evaluated.heads)) or "none"
        raise InputError(f"--task {task}: no such head beside {evaluated.folder} (there: {known})")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"--out {out}: exists and is not an empty folder; choose another or remove it")
    with loading(f"--encoder {encoder}: the model with its head"):
        model = assemble(evaluated, head)
    evaluated.tokenizer.model_max_length = head.max_length
    with writing(f"--out {out}"), files.replacing(out) as folder:
        model.save_pretrained(folder)
        evaluated.tokenizer.save_pretrained(folder)
    return type(model).__name__


def assemble(evaluated: EvaluatedEncoder, head: LoadedHead) -> PreTrainedModel:
    """The transformers model with the weights of encoder and head, float32, in eval mode."""
    config = export_config(evaluated.config)
    if head.labels is not None:
        config.id2label = dict(enumerate(head.labels))
        config.label2id = {label: number for number, label in enumerate(head.labels)}
    config.update(dict(head.module.export_config))
    factory = getattr(transformers, head.module.auto_class or "", None)
    if factory is None or type(config) not in factory._model_mapping:
        raise InputError(
            f"--task {head.task}: transformers has no class for a {config.model_type} encoder with the head of a "
            f"{head.kind} task: use the head in {heads_folder_of(evaluated.folder)}, beside the encoder"
        )
    model = factory.from_config(config)
    prefix = f"{model.base_model_prefix}."
    state = {prefix + name: tensor for name, tensor in evaluated.model.state_dict().items()}
    state |= head.module.export_state()
    missing, unexpected = model.load_state_dict(state, strict=False)
    # Not every head reads the pooler; tied weights and buffers come back by themselves.
    tied = set(model.all_tied_weights_keys) if config.tie_word_embeddings else set()
    assert all(name.startswith(f"{prefix}pooler.") for name in unexpected), unexpected
    assert set(missing) <= tied, missing
    model.tie_weights()
    return model.eval()
