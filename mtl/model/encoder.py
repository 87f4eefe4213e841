"""The shared encoder and the task heads.

`load_encoder` gives a stock transformers encoder with our attention (`attention.py`); `encode` runs it over a packed
row; `MultiTaskModel` runs every head on its own rows and returns one loss. Every head runs in every
micro-step, on every rank: docs/design.md says why ZeRO needs that.
"""

import copy
import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, PretrainedConfig
from transformers.utils import logging

from common.errors import InputError, loading, reason
from common.families import check_family
from common.run_config import RandomEncoder
from mtl.data.packing import PackedBatch
from mtl.data.task_data import TaskData
from mtl.model import attention, weight_files
from mtl.model.compiled import Compiled
from mtl.model.dropout import replace_dropout
from mtl.model.families import family_of, fresh_head
from mtl.model.families.base import Family
from tasks.encoding import Special
from tasks.head import Head
from tasks.registry import TASK_TYPES

# Fields of the source's config.json about its files, a head it had, or how it is called, and not about the encoder.
# Fields that the family's config class does not know (quantization_config, auto_map, transformers_weights,
# task_specific_params, ...) are dropped as well.
SOURCE_ONLY = {
    "dtype", "transformers_version", "architectures", "id2label", "label2id", "problem_type", "output_hidden_states",
    "return_dict", "is_decoder", "is_encoder_decoder",
}  # fmt: skip


def load_config(spec: str | Path | RandomEncoder, special: Special | None = None) -> PretrainedConfig:
    """The transformers config of an encoder; `special` gives a random one its vocabulary and special ids."""
    if isinstance(spec, RandomEncoder):
        return _random_config(spec, special)
    try:
        config = AutoConfig.from_pretrained(str(spec))
    except (OSError, ValueError) as error:
        raise InputError(f"encoder {spec}: no such folder or Hub model ({reason(error)})") from None
    check_family(spec, config.model_type)
    return config


def _random_config(spec: RandomEncoder, special: Special | None) -> PretrainedConfig:
    factory = type(AutoConfig.for_model(spec.model_type))
    known = factory().to_dict().keys()
    values = dict(spec.config)
    if "type_vocab_size" in known:
        values.setdefault("type_vocab_size", 1 if special is None or not special.token_types else 2)
    if special is not None:
        bos, eos = special.bos, special.eos
        ids = {"pad": special.pad, "mask": special.mask, "bos": bos, "cls": bos, "eos": eos, "sep": eos}
        of_tokens = {f"{name}_token_id": number for name, number in ids.items() if f"{name}_token_id" in known}
        values = {"vocab_size": special.vocabulary, **of_tokens, **values}
    for key in values:
        if key not in known:
            raise InputError(f"encoder.config: unknown key `{key}` (the keys are those of {factory.__name__})")
    with loading("encoder.config", f"see {factory.__name__} of transformers"):
        config = factory(**values)
    if config.hidden_size % config.num_attention_heads:  # Gte's config class does not look
        raise InputError("encoder.config: hidden_size is not a multiple of num_attention_heads")
    return config


def export_config(config: PretrainedConfig) -> PretrainedConfig:
    """A copy of an encoder's config for an exported folder: float32, and without `SOURCE_ONLY`."""
    names = {field.name for field in dataclasses.fields(config)} - SOURCE_ONLY
    return type(config)(**{name: copy.deepcopy(getattr(config, name)) for name in names}, dtype=torch.float32)


def load_encoder(
    spec: str | Path | RandomEncoder,
    *,
    backend: str = "auto",
    compiled: bool = False,
    special: Special | None = None,
    hidden_dropout: float | None = None,
    attention_dropout: float = 0.0,
    seed: int = 0,
) -> Any:
    """The encoder in float32 and eval mode, with packed attention; missing parts are initialised from `seed`.

    `compiled`: see `mtl/model/compiled.py`. The encoder's attribute `unused_weights` names the other weights in the
    files, those of heads.

    Raises `InputError` for an unknown folder or family, weights that the config does not fit, or attention dropout with
    a back-end that has none.
    """
    if backend in ("triton", "varlen") and attention_dropout:
        raise InputError(f"attention `{backend}` has no dropout: set attention_probs_dropout_prob to 0 or use `padded`")
    config = load_config(spec, special)
    family = family_of(config)
    window = family.window(config)
    head = config.hidden_size // config.num_attention_heads
    if backend == "triton" and (window or head not in attention.TRITON_HEADS or not attention.has_triton()):
        raise InputError(
            "attention `triton` has no windows, and needs Triton, a C compiler and heads of 16, 32, 64 or 128 "
            f"(this encoder's are of {head}, its windows of {window}): use `auto`"
        )
    if hidden_dropout and not family.hidden_dropout:
        raise InputError(f"hidden_dropout_prob: family {config.model_type!r} has no such dropout: leave it null or 0")
    for name in family.hidden_dropout if hidden_dropout is not None else ():
        setattr(config, name, hidden_dropout)
    setattr(config, family.attention_dropout, attention_dropout)
    config._attn_implementation = attention.NAME
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # a checkpoint without pooler gets the same new one on every rank and at every start
        if isinstance(spec, RandomEncoder):
            encoder, unused = new_encoder(config), set()
        else:
            encoder, info = _from_pretrained(AutoModel, spec, config, **family.options)
            names = [name for name, _ in encoder.named_children() if name != "pooler"]
            # Of a checkpoint with heads the encoder's names have a prefix.
            parts = tuple(f"{start}{name}." for name in names for start in ("", f"{encoder.base_model_prefix}."))
            unused = {name for name in info["unexpected_keys"] if not name.startswith(parts)}
            # transformers would initialise the missing ones at random and ignore those that nothing takes. A pooler
            # may be missing: published encoders have none.
            missing = sorted(name for name in info["missing_keys"] if not name.startswith("pooler."))
            untaken = sorted(n for n in info["unexpected_keys"] if n not in unused and "position_ids" not in n)
            if missing or untaken:
                raise InputError(
                    f"encoder {spec}: its weights and its config.json do not belong together: "
                    + (f"{missing[0]} is missing" if missing else f"nothing takes {untaken[0]}")
                )
    encoder.unused_weights = unused
    encoder.family, encoder.attention_dropout, encoder.window = family, attention_dropout, window
    encoder.config._attn_implementation = attention.NAME
    encoder.packed_backend = backend
    encoder.compiled = Compiled(family.after_attention) if compiled else None
    return encoder.eval()


def new_encoder(config: PretrainedConfig) -> Any:
    """An encoder with random weights, as transformers draws them; float32."""
    return AutoModel.from_config(config, dtype=torch.float32, **family_of(config).options)


def _from_pretrained(
    factory: Any, spec: str | Path, config: PretrainedConfig, **options: Any
) -> tuple[Any, dict[str, Any]]:
    """(model in float32, transformers' loading info) of an Auto class; `InputError` if it does not load."""
    if Path(spec).is_dir():
        weight_files.require(spec, weight_files.weight_files(spec))
    if getattr(config, "quantization_config", None) is not None:
        # Whatever it says, weights may be plain floating-point numbers.
        for name, kind in weight_files.element_types(weight_files.weight_files(spec)):
            plain = kind.lower() in ("f64", "f32", "f16", "bf16", "float64", "float32", "float16", "bfloat16")
            if not plain and "position_ids" not in name:
                raise InputError(
                    f"encoder {spec}: its weights are quantized ({name} is {kind}, see `quantization_config` in its "
                    "config.json): give the folder from before the quantization"
                )
        del config.quantization_config
    try:
        model, info = factory.from_pretrained(
            str(spec), config=config, dtype=torch.float32, output_loading_info=True, **options
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"encoder {spec}: its weights do not load ({reason(error)})") from None
    return model, info


def load_lm_head(spec: str | Path) -> tuple[dict[str, Tensor] | None, set[str]]:
    """(weights of the mlm head, their names in the files) from the LM head of a folder or Hub model.

    Read by the family's `AutoModelForMaskedLM`, which knows the names in the files, with one block of the encoder. None
    where the files have no LM head. Raises `InputError` if a part of it is missing, or if config.json ties it to the
    word embeddings and the files hold another output matrix.
    """
    config = load_config(spec)
    config.num_hidden_layers = 1
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # it would list the weights of every block as unused
    try:
        with torch.random.fork_rng(devices=[]):
            model, info = _from_pretrained(AutoModelForMaskedLM, spec, config)
    finally:
        logging.set_verbosity(verbosity)
    output = model.get_output_embeddings()
    encoder = {id(parameter) for parameter in model.base_model.parameters()}
    head = {name: p.detach() for name, p in model.named_parameters() if id(p) not in encoder}
    missing = sorted(head.keys() & set(info["missing_keys"]))
    if head and len(missing) == len(head):  # a tied output layer may be all there is
        return None, set()
    if missing:
        raise InputError(f"encoder {spec}: its LM head is not whole: {missing[0]} is missing")
    if config.tie_word_embeddings and id(output.weight) not in encoder:
        raise InputError(
            f"encoder {spec}: its config.json says that the LM head shares the word embeddings, but its weights have "
            "another output matrix: set tie_word_embeddings to false there"
        )
    # Names inside the head's module. The bias in use is the output layer's, which may be the head's own as well.
    body = family_of(config).bodies(config).lm
    state = {name.removeprefix(body.prefix): weight for name, weight in head.items()}
    if body.output_bias and output.bias is not None:
        state.pop("decoder.bias", None)
        state[body.output_bias] = output.bias.detach()
    return state, set(head)


def encode(encoder: Any, batch: PackedBatch, layers: int | None = None, tokens: Tensor | None = None) -> Tensor:
    """Hidden state of every packed token, [T, H], after the first `layers` blocks (None: all; 0: embeddings).

    Blocks above are not computed. `tokens`: int64 [m], the positions that are read: gives [m, H], and the last block
    computes only attention for the others. Equals `hidden_states[layers]` of each sequence run alone.
    """
    for hidden in encode_each(encoder, batch, layers, tokens):  # noqa: B007
        pass
    return hidden


def encode_each(
    encoder: Any, batch: PackedBatch, layers: int | None = None, tokens: Tensor | None = None
) -> Iterator[Tensor]:
    """Yields `encode` for 0, 1, ... `layers` blocks in one pass, without keeping them.

    `tokens`: as in `encode`, of the last one.
    """
    family: Family = encoder.family
    layout = attention.make_layout(attention.backend_of(encoder), batch.seq_lengths, batch.cu_seqlens)
    hidden = family.embed(encoder, batch.input_ids, batch.position_ids, batch.token_type_ids)
    rotary = family.rotary(encoder, hidden, batch.position_ids)
    blocks = family.blocks(encoder)
    count = len(blocks) if layers is None else min(layers, len(blocks))
    tail = encoder.compiled or family.after_attention

    def attend(block: Any, hidden: Tensor) -> Tensor:
        return family.attend(block, hidden, rotary, layout)

    if encoder.compiled is not None:
        encoder.compiled.warm_up(blocks[0], hidden)
    yield hidden[0] if tokens is None or count else hidden[0, tokens]
    for number, block in enumerate(blocks[:count], 1):
        if number == count and tokens is not None:
            hidden = _block(block, hidden, attend, tail, tokens)
        elif block.gradient_checkpointing and block.training:
            hidden = checkpoint(_block, block, hidden, attend, tail, use_reentrant=False)
        else:
            hidden = _block(block, hidden, attend, tail)
        yield family.final(encoder, hidden)[0] if number == len(blocks) else hidden[0]


def _block(
    block: Any, hidden: Tensor, attend: Callable[..., Tensor], tail: Callable[..., Tensor], tokens: Tensor | None = None
) -> Tensor:
    """A block's output at all positions or at `tokens`: [1, T, H] -> [1, T or m, H]; `tail`: what follows attention."""
    context = attend(block, hidden)
    if tokens is not None:
        # One gather for all heads: its backward writes into [1, T, H] once, not once per head.
        context, hidden = context.index_select(1, tokens), hidden.index_select(1, tokens)
    return tail(block, context, hidden)


class MultiTaskModel(nn.Module):
    """An encoder and one head per task. `kinds`: kind by task name, in the order of the run config."""

    def __init__(self, encoder: Any, tasks: Sequence[TaskData], seed: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.kinds = {task.name: task.task.kind for task in tasks}
        self.visits: list[Tensor] | None = None  # where training dynamics are kept: `Head.visits` of each forward pass
        self.notes: list[str] = []  # messages for the user: which head starts from which weights
        self.heads = nn.ModuleDict()
        for task in tasks:
            with torch.random.fork_rng(devices=[]):
                # Seeded by name: adding a task does not change the initial weights of the others.
                digest = hashlib.sha256(f"{seed}/{task.name}".encode()).digest()
                torch.manual_seed(int.from_bytes(digest[:7], "big"))
                labels = len(task.labels) if task.labels else None
                self.heads[task.name] = fresh_head(task.task.kind, encoder.config, labels, task.entry.pooling)
        replace_dropout(self)
        if not self.reading_pooler() and getattr(encoder, "pooler", None) is not None:
            encoder.pooler.requires_grad_(False)  # nothing reads it, so it is exported unchanged

    def head(self, name: str) -> Head:
        """The head of a task."""
        return cast(Head, self.heads[name])

    def reading_pooler(self) -> list[str]:
        """The tasks whose heads read the encoder's pooler."""
        return [name for name in self.kinds if self.head(name).body.reads_pooler]

    def forward(self, batch: PackedBatch) -> tuple[Tensor, Tensor]:
        """(loss, stats).

        loss: sum over heads of batch.weights * summed unit losses, float32 scalar; stats: float32 [heads, 2], detached:
        summed unit losses, and correct units. How many units there are is known from the plan.
        """
        total = batch.weights.new_zeros(())
        stats = []
        for index, (name, hidden) in enumerate(zip(self.kinds, self._read(batch), strict=True)):
            head, rows = self.head(name), batch.heads[name]
            scores = head(hidden, self.encoder, rows.mean)
            loss, unit_losses, correct = head.loss(scores, rows)
            if self.visits is not None and len(rows.counts) and TASK_TYPES[self.kinds[name]].dynamics:
                with torch.no_grad():
                    self.visits.append(head.visits(scores, rows))
            total = total + batch.weights[index] * loss
            stats.append(torch.stack([unit_losses, correct]))
        return total, torch.stack(stats)

    def pair_vectors(self, batch: PackedBatch, names: Sequence[str]) -> dict[str, Tensor]:
        """{name: unit vectors [m, H]} of heads of pairs; draws the same dropout in the encoder as `forward`."""
        hidden = dict(zip(self.kinds, self._read(batch), strict=True))
        return {name: self.heads[name](hidden[name], self.encoder, batch.heads[name].mean) for name in names}

    def _read(self, batch: PackedBatch) -> tuple[Tensor, ...]:
        """Hidden states that each head reads, [m, H], in the order of `kinds`."""
        read = [batch.heads[name].tokens for name in self.kinds]
        return encode(self.encoder, batch, tokens=torch.cat(read)).split([len(tokens) for tokens in read])
