"""Alignment scores of one or more encoders on translation pairs, by layer and language: `python -m eval align`.

    result, folder = run(["runs/a/encoder"], data="DIR", out=None, options=Options())

Reads Tatoeba's pairs (`read.py`), embeds both sides once for all layers, scores them (`measures.py`) and writes
align.json after every encoder, with the protocol in it. One process; on CPU most of the time goes into the embedding.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from common.errors import InputError
from eval import read
from eval.alignment import measures as align
from eval.driver import results
from eval.inference.encoder import EvaluatedEncoder
from eval.inference.predict import embed_layers
from eval.suites import MAX_LENGTH, TARGETS

VERSION = 1  # of the scores: change it with anything that changes one


@dataclass(frozen=True)
class Options:
    """layers None, languages (): all there are; examples None: all pairs, else the first so many of each language."""

    layers: tuple[int, ...] | None = None
    languages: tuple[str, ...] = ()
    pooling: str = "mean"
    examples: int | None = None
    micro_tokens: int = 16384


def run(encoders: list[str], data: str, out: Path | None, options: Options) -> tuple[dict[str, Any], Path]:
    """(what align.json holds, the folder it is in: `out`, or that of the last encoder's scores).

    Raises `InputError` if an encoder, its layers, the data or a language asked for are wrong or missing.
    """
    evaluated = [EvaluatedEncoder(spec) for spec in dict.fromkeys(encoders)]
    layers = {encoder.spec: _layers(encoder, options) for encoder in evaluated}
    loaded = _read(data, options)
    folder = out or evaluated[-1].eval_folder
    protocol = {
        "version": VERSION,
        "pairs": "Tatoeba, English and the other language",
        "data": data,
        "split": loaded.split,
        "n": f"first {options.examples}" if options.examples else "all",
        "pooling": options.pooling,
        "special_tokens": options.pooling != "mean_no_special",
        "max_length": MAX_LENGTH,
        "similarity": "cosine",
        "neighbours": align.NEIGHBOURS,
        "control": "the same scores over wrong pairs, seed 0",
        "precision": "vectors float32, scores float64",
        "files": {name: digest for files in loaded.files.values() for name, digest in files.items()},
    }
    texts = 2 * sum(len(rows) for rows in loaded.rows.values())
    with tqdm(total=texts * len(evaluated), unit="text", dynamic_ncols=True, smoothing=0.1) as bar:

        def measured(encoder: EvaluatedEncoder) -> dict[str, Any]:
            bar.set_description(f"{encoder.name}: alignment")
            return _one(encoder, layers[encoder.spec], loaded, options, bar)

        return results.each(evaluated, folder / "align.json", protocol, measured), folder


def _layers(encoder: EvaluatedEncoder, options: Options) -> list[int]:
    layers = list(range(encoder.depth + 1)) if options.layers is None else sorted(set(options.layers))
    if wrong := [layer for layer in layers if not 0 <= layer <= encoder.depth]:
        raise InputError(f"--layers {wrong[0]}: {encoder.name} has layers 0 (embeddings) to {encoder.depth}")
    return layers


def _read(data: str, options: Options) -> read.Loaded:
    target = TARGETS["tatoeba"]
    languages = options.languages or (target.languages["xtreme"] if data == "hub" else ())
    loaded = read.read(target, languages, data)
    if missing := [code for code in languages if code not in loaded.rows]:
        raise InputError(f"--languages {' '.join(missing)}: no sentence pairs at --data {data}")
    loaded.rows = {code: rows[: options.examples] for code, rows in loaded.rows.items()}
    return loaded


def _one(
    encoder: EvaluatedEncoder, layers: list[int], loaded: read.Loaded, options: Options, bar: "tqdm[Any]"
) -> dict[str, Any]:
    languages: dict[str, Any] = {}
    truncated: Counter[str] = Counter()

    def embedded(texts: list[str]) -> np.ndarray:
        return embed_layers(
            encoder.model, encoder.tokenizer, texts, layers, bar.update,
            pooling=options.pooling, micro_tokens=options.micro_tokens, truncated=truncated,
        )  # fmt: skip

    english: list[str] = []
    english_vectors = np.empty((0, 0, 0))
    for code, rows in loaded.rows.items():
        bar.set_postfix_str(code)
        if (texts := [pair.english for pair in rows]) == english:  # as in the language before
            bar.update(len(texts))
        else:
            english, english_vectors = texts, embedded(texts)
        other_vectors = embedded([pair.other for pair in rows])
        languages[code] = {"n": len(rows), "layers": {}}
        for number, layer in enumerate(layers):
            scores = align.align(english_vectors[number], other_vectors[number], device=encoder.device)
            languages[code]["layers"][str(layer)] = scores
    return {"depth": encoder.depth, "layers": layers, "truncated": dict(truncated), "languages": languages}
