"""Evaluation speed against a plain padded transformers loop: real tokens per second, and whether the results agree.

    python -m bench.evaluation [--shape small|base|deep] [--languages 36] [--examples 100] [--only TEXT] [--json FILE]
                               [--data DIR --tokenizer DIR]       # real samples; default: words of real lengths
                               [--share]         # each round takes its share of the languages, for large data

Both sides go from texts to sentence vectors or labels, with the same weights in float32 and the same threads, and are
interleaved (bench/interleaved.py). With `--share` the range of a ratio is also that of the rounds' languages, and
"total" is the ratio of the seconds of all rounds. Padding does not count as work, nor do layers that nobody reads.
`padding`: tokens of their batches over real ones, the speed-up from leaving out padding where time is proportional to
tokens. What each contender does: `CONTENDERS`.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import chain, cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer, XLMRobertaConfig

from bench.interleaved import Factory, Measured, Runner, measure, ratios, spread
from bench.workload import synthetic, texts
from bench.workload.training import SHAPES as TRAINING_SHAPES
from data_prep.encoding import tokenizer as tokenizers
from eval.inference.predict import default_layer, embed_layers, predict
from eval.suites import MAX_LENGTH
from mtl.model.encoder import load_encoder
from mtl.model.families import fresh_head
from mtl.model.saved_heads import LoadedHead
from tasks.classify.data import Classify

SHAPES = {
    "tiny": {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 64},
    "small": TRAINING_SHAPES["small"],
    "base": TRAINING_SHAPES["base"],
    "deep": {"hidden_size": 128, "num_hidden_layers": 24, "num_attention_heads": 4, "intermediate_size": 512},
}
LABELS = ("entailment", "neutral", "contradiction")
PAIR_LENGTH = 128  # tokens of a pair, as XTREME's scripts truncate them
EMBED_BATCH = 100  # sentences: the default of XTREME's evaluate_retrieval.py
PAIR_BATCH = 32
TOLERANCE = 1e-4  # difference of a vector's entry over the largest entry
CONTENDERS = {
    "padded": "batches in file order, padded to their longest row; "
    f"sentences by {EMBED_BATCH} with all hidden states, as XTREME's script; pairs by {PAIR_BATCH}",
    "truncated": "the same, with the layers above the one that is read removed from the model",
    "maximum": f"pairs by {PAIR_BATCH}, all padded to {PAIR_LENGTH} tokens, as XTREME's run_classify.py does",
    "all layers": "ours, at the last layer; real tokens, so the ratio is that of the layers",
}


@dataclass(frozen=True)
class Workload:
    """`folder`: the model with its tokenizer; `sentences`, `pairs`: by language, one of them empty.

    `shares`: a run takes one of `shares` parts of the languages, the next run the next part.
    """

    folder: Path
    sentences: list[list[str]]
    pairs: list[list[Classify]]
    layer: int
    shares: int = 1

    def parts(self, languages: list[Any]) -> Iterator[list[Any]]:
        """The languages of one run after another, endlessly."""
        return cycle([languages[number :: self.shares] for number in range(self.shares)])


@dataclass(frozen=True)
class Output:
    """Result of a run: float32 [n, H] or labels, its real tokens, and the tokens computed with padding."""

    result: Any
    tokens: int
    computed: int


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.evaluation", description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--shape", choices=tuple(SHAPES), default="small")
    add("--languages", type=int, default=36, help="of sentences; pairs have at most 15")
    add("--examples", type=int, default=100, help="of each language")
    add("--threads", type=int, default=1)
    add("--rounds", type=int, default=5)
    add("--clock", choices=("wall", "cpu"), default="wall", help="cpu: for one thread on a machine with other load")
    add("--share", action="store_true", help="each round takes its share of the languages")
    add("--only", default="", metavar="TEXT", help="only the workloads whose name contains it")
    add("--against", action="append", choices=tuple(CONTENDERS), help="only against this one (repeatable)")
    add("--data", help="folder of real samples, with --tokenizer")
    add("--tokenizer", help="folder of XLM-R's tokenizer")
    add("--json", type=Path)
    options = parser.parse_args(arguments)
    if bool(options.data) != bool(options.tokenizer):
        parser.error("--data and --tokenizer go together")
    if options.share and options.rounds > min(15, options.languages):
        parser.error("--share: no more --rounds than languages (XNLI has 15), so that each round has some")
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "numpy"))
    print(f"{packages}; Python {platform.python_version()}, {platform.machine()}")
    print(
        f"{options.shape} XLM-R; {'real samples' if options.data else 'synthetic words, real lengths'}; "
        f"threads: {options.threads}; {options.clock} time; rounds: {options.rounds}\n"
    )
    print("| workload | against | ours, tokens/s | theirs | ours / theirs | padding | results |")
    print("|---|---|---:|---:|---:|---:|---|")
    # Silences model loading in the processes of the contenders.
    os.environ.update({"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"})
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (workload, factories) in _workloads(Path(folder), options).items():
            measured = measure(list(factories.values()), workload, options.rounds, options.threads, options.clock)
            rows[name] = _rows(name, list(factories), measured, options.share)
    print("\n" + "\n".join(f"{name}: {text}." for name, text in CONTENDERS.items()))
    if options.json:
        settings = {key: str(value) for key, value in vars(options).items()}
        options.json.write_text(json.dumps({"ratios": rows, "settings": settings}, indent=1) + "\n")


def _workloads(folder: Path, options: argparse.Namespace) -> dict[str, tuple[Workload, dict[str, Factory]]]:
    """{name: (workload, contenders by name, ours first)}."""
    write_model(folder, options.shape, options.tokenizer)
    layer = default_layer(SHAPES[options.shape]["num_hidden_layers"])
    languages, pair_languages, count = options.languages, min(15, options.languages), options.examples
    if options.data:
        sentences = texts.real_sentences(options.data, languages, count)
        pairs = texts.real_pairs(options.data, pair_languages, count)
    else:
        sentences = texts.synthetic_sentences(languages, count)
        pairs = texts.synthetic_pairs(pair_languages, count)
    shares = options.rounds if options.share else 1
    vectors = Workload(folder, sentences, [], layer, shares)
    workloads: dict[str, tuple[Workload, dict[str, Factory]]] = {
        f"tatoeba, {len(sentences)} x {len(sentences[0])} sentences, layer {layer}": (
            vectors,
            {"ours": our_vectors, "padded": padded_vectors, "truncated": truncated_vectors},
        ),
        f"xnli, {len(pairs)} x {len(pairs[0])} pairs": (
            Workload(folder, [], pairs, layer, shares),
            {"ours": our_labels, "padded": padded_labels, "maximum": maximum_labels},
        ),
        f"layers, {len(sentences)} x {len(sentences[0])} sentences, layer {layer}": (
            vectors,
            {"ours": our_vectors, "all layers": all_layers},
        ),
    }
    chosen = {"ours", *(options.against or CONTENDERS)}
    wanted = {
        name: (workload, {one: factory for one, factory in factories.items() if one in chosen})
        for name, (workload, factories) in workloads.items()
        if options.only in name
    }
    return {name: (workload, factories) for name, (workload, factories) in wanted.items() if len(factories) > 1}


def write_model(folder: Path, shape: str, tokenizer_folder: str | None) -> None:
    """A random XLM-R with a head for XNLI, and its tokenizer. Weights are large, so that labels differ."""
    transformers.utils.logging.disable_progress_bar()
    tokenizer = tokenizers.load(tokenizer_folder) if tokenizer_folder else synthetic.tokenizer(texts.VOCABULARY)
    torch.manual_seed(0)
    values = SHAPES[shape]
    config = XLMRobertaConfig(
        **values, vocab_size=len(tokenizer), max_position_embeddings=MAX_LENGTH + 2, type_vocab_size=1,
        pad_token_id=1, bos_token_id=0, eos_token_id=2, initializer_range=1.5 * values["hidden_size"] ** -0.5,
    )  # fmt: skip
    config.num_labels = len(LABELS)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _rows(name: str, contenders: list[str], measured: Measured, share: bool) -> dict[str, Any]:
    """Prints a row for each contender but ours; their ratios for `--json`."""
    ours: list[Output] = measured.results[0]
    tokens = [output.tokens for output in ours[1:]]
    rows = {}
    for index, contender in enumerate(contenders[1:], start=1):
        outputs, seconds = measured.results[index], measured.seconds[index]
        speeds = [
            statistics.median(n / second for n, second in zip(tokens, some, strict=True))
            for some in (measured.seconds[0], seconds)
        ]
        agreement = "another layer" if contender == "all layers" else check(concatenated(ours), concatenated(outputs))
        padding = sum(output.computed for output in outputs[1:]) / sum(tokens)
        if share:
            agreement += f", total {sum(seconds) / sum(measured.seconds[0]):.2f}"
        rounds = ratios(seconds, measured.seconds[0])
        both = f"{speeds[0]:,.0f} | {speeds[1]:,.0f} | {spread(rounds)} | {padding:.2f}"
        print(f"| {name} | {contender} | {both} | {agreement} |", flush=True)
        rows[contender] = {
            "median": statistics.median(rounds), "rounds": rounds, "padding": padding, "tokens": sum(tokens)
        }  # fmt: skip
    return rows


def concatenated(runs: list[Output]) -> Output:
    """The output of all runs of a contender as one."""
    results = [run.result for run in runs]
    result = [*chain(*results)] if isinstance(results[0], list) else np.concatenate(results)
    return Output(result, sum(run.tokens for run in runs), sum(run.computed for run in runs))


def check(ours: Output, theirs: Output) -> str:
    """Ends the benchmark if the two results differ; otherwise how well they agree."""
    if ours.tokens != theirs.tokens:
        raise SystemExit(f"error: {ours.tokens:,} real tokens in ours, {theirs.tokens:,} in theirs: not the same work")
    if isinstance(ours.result, list):
        different = sum(a != b for a, b in zip(ours.result, theirs.result, strict=True))
        if different or len(set(ours.result)) < 2:
            raise SystemExit(f"error: {different:,} of {len(ours.result):,} labels differ, or all are one label")
        return "equal"
    difference = np.abs(ours.result - theirs.result).max() / np.abs(theirs.result).max()
    if not difference < TOLERANCE:
        raise SystemExit(f"error: vectors differ by {difference:.1e} of the largest entry")
    return f"within {difference:.0e}"


def our_vectors(workload: Workload) -> Runner:
    return _our_vectors(workload, workload.layer)


def all_layers(workload: Workload) -> Runner:
    """Ours at the last layer."""
    return _our_vectors(workload, len(load_encoder(workload.folder).encoder.layer))


def _our_vectors(workload: Workload, layer: int) -> Runner:
    tokenizer, encoder = tokenizers.load(workload.folder), load_encoder(workload.folder)
    sizes = [sum(len(ids) for ids in tokenizer(some)["input_ids"]) for some in workload.sentences]
    parts = workload.parts([*zip(workload.sentences, sizes, strict=True)])

    def run() -> Output:
        part = next(parts)
        tokens = sum(size for _, size in part)
        vectors = np.concatenate([embed_layers(encoder, tokenizer, some, [layer])[0] for some, _ in part])
        return Output(vectors, tokens, tokens)

    return run


def our_labels(workload: Workload) -> Runner:
    tokenizer, encoder = tokenizers.load(workload.folder), load_encoder(workload.folder)
    theirs = AutoModelForSequenceClassification.from_pretrained(workload.folder)
    module = fresh_head("classify", theirs.config, len(LABELS))
    module.load_state_dict(theirs.classifier.state_dict())
    head = LoadedHead("xnli", "classify", LABELS, PAIR_LENGTH, module.eval())
    sizes = [
        sum(int(batch["attention_mask"].sum()) for batch in _pair_batches(tokenizer, [pairs], True))
        for pairs in workload.pairs
    ]
    parts = workload.parts([*zip(workload.pairs, sizes, strict=True)])

    def run() -> Output:
        labels, tokens = [], 0
        for pairs, size in next(parts):
            tokens += size
            predicted = predict(encoder, tokenizer, head, pairs)
            labels += [LABELS.index(predicted[row]) for row in range(len(pairs))]
        return Output(labels, tokens, tokens)

    return run


def padded_vectors(workload: Workload) -> Runner:
    return _padded_vectors(workload, AutoModel.from_pretrained(workload.folder))


def truncated_vectors(workload: Workload) -> Runner:
    """For users who know which layer is read and remove the others."""
    model = AutoModel.from_pretrained(workload.folder)
    model.encoder.layer = model.encoder.layer[: workload.layer]
    return _padded_vectors(workload, model)


def _padded_vectors(workload: Workload, model: Any) -> Runner:
    tokenizer = AutoTokenizer.from_pretrained(workload.folder)
    model.eval()
    parts = workload.parts(workload.sentences)

    @torch.inference_mode()
    def run() -> Output:
        vectors, tokens, computed = [], 0, 0
        for sentences in next(parts):
            for first in range(0, len(sentences), EMBED_BATCH):
                batch = tokenizer(
                    sentences[first : first + EMBED_BATCH],
                    padding=True, truncation=True, max_length=MAX_LENGTH, return_tensors="pt",
                )  # fmt: skip
                hidden = model(**batch, output_hidden_states=True).hidden_states[workload.layer]
                mask = batch["attention_mask"]
                vectors.append(((hidden * mask[:, :, None]).sum(1) / mask.sum(1)[:, None]).numpy())
                tokens, computed = tokens + int(mask.sum()), computed + mask.numel()
        return Output(np.concatenate(vectors), tokens, computed)

    return run


def padded_labels(workload: Workload) -> Runner:
    return _padded_labels(workload, True)


def maximum_labels(workload: Workload) -> Runner:
    return _padded_labels(workload, "max_length")


def _padded_labels(workload: Workload, padding: bool | str) -> Runner:
    tokenizer = AutoTokenizer.from_pretrained(workload.folder)
    model = AutoModelForSequenceClassification.from_pretrained(workload.folder).eval()
    parts = workload.parts(workload.pairs)

    @torch.inference_mode()
    def run() -> Output:
        labels, tokens, computed = [], 0, 0
        for batch in _pair_batches(tokenizer, next(parts), padding):
            labels += model(**batch).logits.argmax(-1).tolist()
            tokens += int(batch["attention_mask"].sum())
            computed += batch["attention_mask"].numel()
        return Output(labels, tokens, computed)

    return run


def _pair_batches(tokenizer: Any, languages: list[list[Classify]], padding: bool | str) -> Iterator[Any]:
    for pairs in languages:
        for first in range(0, len(pairs), PAIR_BATCH):
            batch = pairs[first : first + PAIR_BATCH]
            yield tokenizer(
                [pair.text_a for pair in batch], [pair.text_b for pair in batch],
                padding=padding, truncation="longest_first", max_length=PAIR_LENGTH, return_tensors="pt",
            )  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
