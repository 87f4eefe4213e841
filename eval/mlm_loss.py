"""Masked-LM loss by language, before and after a run: what it forgot. `python -m eval mlm-loss`.

    result, folder = run(["FacebookAI/xlm-roberta-base", "runs/a/encoder"], None, Options(languages=("de", "sw")))

The texts are the dev articles of Wikipedia (`data_prep/datasets/wikipedia.py`) or the user's. Which tokens are masked
follows from (language, row): the same for every encoder with the same tokenizer, and on every machine.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from common.columns import Columns
from common.errors import InputError, loading
from common.table import table
from data_prep.datasets import DATASETS, TASKS
from data_prep.sources.folders import Folder
from data_prep.sources.locate import locate_training, own
from eval.driver import results
from eval.inference.encoder import EvaluatedEncoder
from eval.inference.predict import fetch
from mtl.data.task_data import special_of
from mtl.evaluation.inference import TOTALS, score
from mtl.model.encoder import load_lm_head
from mtl.model.families import adapted, fresh_head
from tasks.base import Draw, Example
from tasks.encoding import Encoding, Special
from tasks.head import Head
from tasks.mlm.data import MLM_PROBABILITY
from tasks.registry import TASK_TYPES

KIND, NAME = "mlm", "mlm_loss.json"
VERSION = 1  # of the masks and the loss: change it with anything that changes one


@dataclass(frozen=True)
class Options:
    """data: folders with Wikipedia in the Hub's layout, or `hub`; texts: a user's file by language, in place of it.

    head: the encoder whose LM head those get that have none in their files; examples: texts of a language, None: all.
    """

    data: Sequence[str] = ("hub",)
    languages: Sequence[str] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    head: str | None = None
    examples: int | None = None
    max_length: int = 256
    micro_tokens: int = 16384


def run(encoders: Sequence[str], out: Path | None, options: Options) -> tuple[dict[str, Any], Path]:
    """(what mlm_loss.json holds, the folder it is in: `out`, or that of the last encoder's scores).

    Raises `InputError` if an encoder has no LM head, or a language no texts.
    """
    evaluated = [EvaluatedEncoder(spec) for spec in dict.fromkeys(encoders)]
    texts = {code: _texts(code, options) for code in dict.fromkeys([*options.languages, *options.texts])}
    if not texts:
        raise InputError("give --languages, or --text CODE=FILE")
    heads = {encoder.spec: lm_head(encoder, options.head) for encoder in evaluated}
    folder = out or evaluated[-1].eval_folder
    protocol = {
        "version": VERSION, "data": [*options.data], "texts": dict(options.texts), "examples": options.examples,
        "max_length": options.max_length, "masked": MLM_PROBABILITY,
    }  # fmt: skip

    def measured(encoder: EvaluatedEncoder) -> dict[str, Any]:
        head, origin = heads[encoder.spec]
        bar = tqdm(texts.items(), desc=f"{encoder.name}: MLM loss", unit="language")
        found = {code: _loss(encoder, head.to(encoder.device), code, rows, options) for code, rows in bar}
        return {"head": origin, "languages": found}

    return results.each(evaluated, folder / NAME, protocol, measured), folder


def lm_head(encoder: EvaluatedEncoder, other: str | None) -> tuple[Head, str]:
    """An encoder's LM head and where it is from: its own files, else the encoder `other`, else the heads of its run.

    Of `other` too the files come first, then the heads of its run.

    Raises `InputError` where there is none.
    """
    for place, origin in ((str(encoder.folder), "its own"), (other, f"that of {other}")):
        state = load_lm_head(place)[0] if place is not None else None
        if state is not None:
            head = fresh_head(KIND, encoder.config, None)
            with loading(f"--encoder {encoder.spec}: the LM head of {place}"):
                head.load_state_dict(state)
            return head.eval(), origin
    others = {} if other is None else EvaluatedEncoder(other).heads
    for trained in (*others.values(), *encoder.heads.values()):
        if trained.kind == KIND:
            return trained.module, f"trained as {trained.task}"
    hint = "give --head with the encoder that it was trained from"
    raise InputError(f"--encoder {encoder.spec}: no LM head in it, and no head of an mlm task beside it; {hint}")


def _texts(code: str, options: Options) -> list[Example]:
    if code in options.texts:
        parts = own(KIND, options.texts[code], options.texts[code], code).dev
    elif code in TASKS["wiki"].others:
        places = [None if place == "hub" else Folder.open(Path(place), "--data") for place in options.data]
        parts = locate_training(DATASETS[f"wiki_{code}"], places).dev
    else:
        there = " ".join(TASKS["wiki"].others)
        raise InputError(f"--languages {code}: no Wikipedia for it (there: {there}); or give --text {code}=FILE")
    rows = chain.from_iterable(((part, *row) for row in part.rows()) for part in parts)
    return [part.convert(row, where, ()) for part, where, row in islice(rows, options.examples)]


def _loss(
    encoder: EvaluatedEncoder, head: Head, code: str, texts: Sequence[Example], options: Options
) -> dict[str, Any]:
    """Mean loss of a masked token in nats, share of them predicted right, and how many there are."""
    rows = TASK_TYPES[KIND].encode(encoder.tokenizer, texts, Encoding(options.max_length))
    if not rows:
        raise InputError(f"{code}: no texts")
    special = adapted(special_of(encoder.tokenizer), encoder.config)
    lengths = np.array([row["length"] for row in rows], dtype=np.int64)
    scored = score(
        encoder.model, head, KIND, partial(masked, rows, special, code), np.arange(len(rows)), lengths, special,
        micro_tokens=options.micro_tokens, keep_scores=False, losses=True,
    )  # fmt: skip
    loss, _, count, right = sum((one.totals for one in scored), np.zeros(TOTALS)).tolist()
    return {"loss": loss / count, "accuracy": right / count, "tokens": int(count), "rows": len(rows)}


def masked(rows: Sequence[Any], special: Special, code: str, numbers: np.ndarray) -> Columns:
    """These rows of language `code` with their masks, which follow from the language and the row's number."""
    seed = int.from_bytes(hashlib.sha256(code.encode()).digest()[:8], "little")
    columns = fetch(rows, special.columns[2:], numbers)
    return TASK_TYPES[KIND].complete(columns, Draw(seed, 0, numbers, numbers, special, MLM_PROBABILITY))


def render(result: dict[str, Any]) -> str:
    """The losses as a table, a line a language and their mean; with several encoders the change from the first."""
    encoders = result["encoders"]
    codes = list(encoders[0]["languages"])
    losses = np.array([[one["languages"][code]["loss"] for code in codes] for one in encoders])
    losses = np.concatenate([losses, losses.mean(axis=1, keepdims=True)], axis=1)
    lines = [["MLM loss", *(one["name"] for one in encoders)]]
    for number, code in enumerate([*codes, "mean"]):
        first, *others = losses[:, number]
        lines.append([code, f"{first:.3f}", *(f"{loss:.3f} ({loss - first:+.3f})" for loss in others)])
    notes = [f"{one['name']}: head {one['head']}" for one in encoders]
    return "\n".join([table(lines, right=range(1, len(encoders) + 1)), *notes])
