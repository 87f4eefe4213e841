"""Speed of the evaluation against a plain padded transformers loop: real tokens a second, and whether scores are equal.

    python -m bench.evaluation [--shape small|base|deep] [--languages 36] [--examples 100] [--only TEXT] [--json FILE]
                               [--data DIR --tokenizer DIR]       # real samples; else made-up words, real lengths
                               [--share]         # every round its share of the languages: for much data, done once

Both sides go from texts to vectors or labels, by the same weights in float32 and the same threads; ways take turns
(`bench/rounds.py`). With `--share` the range of a ratio is also that of the rounds' languages, and "all over all" is
that of the seconds of all rounds. Padding does not count as work, nor do layers that nobody reads. `padding`: tokens
that their batches hold over real ones, which is what leaving padding out can give where time goes with tokens. What is
in theirs: `BASELINES`. The second ratio of sentence vectors is against a model cut off at the layer, which leaves the
padding.
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

from bench import madeup, sentences
from bench.rounds import Maker, Raced, Way, race, ratio
from data_prep.encoding import tokenizer as tokenizers
from eval.inference.embed import MAX_LENGTH, default_layer, embed
from eval.inference.predict import predict
from mtl.model.encoder import load_encoder
from mtl.model.saved_heads import LoadedHead
from tasks.classify.data import Classify
from tasks.registry import head_class

SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 64},
    "small": {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024},
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    "deep": {"hidden_size": 128, "num_hidden_layers": 24, "num_attention_heads": 4, "intermediate_size": 512},
}
LABELS = ("entailment", "neutral", "contradiction")
PAIR_LENGTH = 128  # tokens of a pair, as XTREME's scripts cut them
EMBED_BATCH = 100  # sentences: the default of XTREME's evaluate_retrieval.py
PAIR_BATCH = 32
CLOSE = 1e-4  # largest difference of a vector's entry, over the largest entry
BASELINES = {
    "padded": "batches in the order of the file, padded to their longest; "
    f"sentences by {EMBED_BATCH} with all hidden states, as XTREME's script; pairs by {PAIR_BATCH}",
    "cut": "the same, with the layers above the one that is read taken off the model",
    "maximum": f"pairs by {PAIR_BATCH}, every one padded to {PAIR_LENGTH} tokens, as XTREME's run_classify.py does",
    "all layers": "ours, at the last layer; real tokens, so the ratio is that of the layers",
}


@dataclass(frozen=True)
class Work:
    """`folder`: the model with its tokenizer; `texts`, `pairs`: by language (one of them is empty).

    `shares`: a run does one of so many shares of the languages, the next run the next.
    """

    folder: Path
    texts: list[list[str]]
    pairs: list[list[Classify]]
    layer: int
    shares: int = 1

    def parts(self, languages: list[Any]) -> Iterator[list[Any]]:
        """What one run after another does, without end."""
        return cycle([languages[number :: self.shares] for number in range(self.shares)])


@dataclass(frozen=True)
class Done:
    """What a way gives: float32 [n, H] or labels, its real tokens, and those that it computed with padding."""

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
    add("--clock", choices=("wall", "cpu"), default="wall", help="cpu: for one thread on a machine that others use too")
    add("--share", action="store_true", help="every round does its share of the languages, all together the whole")
    add("--only", default="", metavar="TEXT", help="only the work whose name holds it")
    add("--against", action="append", choices=tuple(BASELINES), help="race against these only")
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
        f"{options.shape} XLM-R; {'real samples' if options.data else 'made-up words, real lengths'}; "
        f"threads: {options.threads}; {options.clock} time; rounds: {options.rounds}\n"
    )
    print("| work | against | ours, tokens/s | theirs | ratio | padding | results |")
    print("|---|---|---:|---:|---:|---:|---|")
    # What loading a model says, in the processes that the ways have.
    os.environ.update({"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"})
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (work, ways) in _works(Path(folder), options).items():
            raced = race(list(ways.values()), work, options.rounds, options.threads, options.clock)
            results[name] = _rows(name, list(ways), raced, options.share)
    print("\n" + "\n".join(f"{name}: {text}." for name, text in BASELINES.items()))
    if options.json:
        options.json.write_text(json.dumps({"ratios": results, "settings": _plain(options)}, indent=1) + "\n")


def _works(folder: Path, options: argparse.Namespace) -> dict[str, tuple[Work, dict[str, Maker]]]:
    """{name: (work, ways by name, ours first)}."""
    write_model(folder, options.shape, options.tokenizer)
    layer = default_layer(SHAPES[options.shape]["num_hidden_layers"])
    languages, pair_languages, count = options.languages, min(15, options.languages), options.examples
    if options.data:
        texts = sentences.real_sentences(options.data, languages, count)
        pairs = sentences.real_pairs(options.data, pair_languages, count)
    else:
        texts = sentences.made_sentences(languages, count)
        pairs = sentences.made_pairs(pair_languages, count)
    shares = options.rounds if options.share else 1
    vectors = Work(folder, texts, [], layer, shares)
    found: dict[str, tuple[Work, dict[str, Maker]]] = {
        f"tatoeba, {len(texts)} x {len(texts[0])} sentences, layer {layer}": (
            vectors,
            {"ours": our_vectors, "padded": padded_vectors, "cut": cut_vectors},
        ),
        f"xnli, {len(pairs)} x {len(pairs[0])} pairs": (
            Work(folder, [], pairs, layer, shares),
            {"ours": our_labels, "padded": padded_labels, "maximum": maximum_labels},
        ),
        f"layers, {len(texts)} x {len(texts[0])} sentences, layer {layer}": (
            vectors,
            {"ours": our_vectors, "all layers": all_layers},
        ),
    }
    chosen = {"ours", *(options.against or BASELINES)}
    wanted = {
        name: (work, {way: maker for way, maker in ways.items() if way in chosen})
        for name, (work, ways) in found.items()
        if options.only in name
    }
    return {name: (work, ways) for name, (work, ways) in wanted.items() if len(ways) > 1}


def write_model(folder: Path, shape: str, tokenizer: str | None) -> None:
    """A random XLM-R with a head of XNLI's labels, and its tokenizer. Weights are large, so that labels differ."""
    transformers.utils.logging.disable_progress_bar()
    cut = tokenizers.load(tokenizer) if tokenizer else madeup.tokenizer(sentences.VOCABULARY)
    torch.manual_seed(0)
    values = SHAPES[shape]
    config = XLMRobertaConfig(
        **values, vocab_size=len(cut), max_position_embeddings=MAX_LENGTH + 2, type_vocab_size=1,
        pad_token_id=1, bos_token_id=0, eos_token_id=2, initializer_range=1.5 * values["hidden_size"] ** -0.5,
    )  # fmt: skip
    config.num_labels = len(LABELS)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    cut.save_pretrained(folder)


def _rows(name: str, ways: list[str], raced: Raced, share: bool) -> dict[str, Any]:
    mine: list[Done] = raced.found[0]
    counted = [done.tokens for done in mine[1:]]
    values = {}
    for way, done, seconds in list(zip(ways, raced.found, raced.seconds, strict=True))[1:]:
        speeds = [
            statistics.median(tokens / second for tokens, second in zip(counted, some, strict=True))
            for some in (raced.seconds[0], seconds)
        ]
        shown = "another layer" if way == "all layers" else agree(together(mine), together(done))
        padding = sum(one.computed for one in done[1:]) / sum(counted)
        if share:
            shown += f", all over all {sum(seconds) / sum(raced.seconds[0]):.2f}"
        both = f"{speeds[0]:,.0f} | {speeds[1]:,.0f} | {ratio(seconds, raced.seconds[0])} | {padding:.2f}"
        print(f"| {name} | {way} | {both} | {shown} |", flush=True)
        each = [a / b for a, b in zip(seconds, raced.seconds[0], strict=True)]
        values[way] = {"median": statistics.median(each), "rounds": each, "padding": padding, "tokens": sum(counted)}
    return values


def together(runs: list[Done]) -> Done:
    """What all of a way's runs gave."""
    results = [run.result for run in runs]
    result = [*chain(*results)] if isinstance(results[0], list) else np.concatenate(results)
    return Done(result, sum(run.tokens for run in runs), sum(run.computed for run in runs))


def agree(mine: Done, theirs: Done) -> str:
    """Ends the benchmark if the two have not computed the same."""
    if mine.tokens != theirs.tokens:
        raise SystemExit(f"error: {mine.tokens:,} real tokens here, {theirs.tokens:,} there: not the same work")
    if isinstance(mine.result, list):
        different = sum(a != b for a, b in zip(mine.result, theirs.result, strict=True))
        if different or len(set(mine.result)) < 2:
            raise SystemExit(f"error: {different:,} of {len(mine.result):,} labels differ, or all are one label")
        return "equal"
    difference = np.abs(mine.result - theirs.result).max() / np.abs(theirs.result).max()
    if not difference < CLOSE:
        raise SystemExit(f"error: vectors differ by {difference:.1e} of the largest entry")
    return f"within {difference:.0e}"


def our_vectors(work: Work) -> Way:
    return _our_vectors(work, work.layer)


def all_layers(work: Work) -> Way:
    """Ours at the last layer."""
    return _our_vectors(work, len(load_encoder(work.folder).encoder.layer))


def _our_vectors(work: Work, layer: int) -> Way:
    tokenizer, encoder = tokenizers.load(work.folder), load_encoder(work.folder)
    sizes = [sum(len(ids) for ids in tokenizer(texts)["input_ids"]) for texts in work.texts]
    parts = work.parts([*zip(work.texts, sizes, strict=True)])

    def run() -> Done:
        part = next(parts)
        tokens = sum(size for _, size in part)
        return Done(
            np.concatenate([embed(encoder, tokenizer, texts, layer=layer) for texts, _ in part]), tokens, tokens
        )

    return run


def our_labels(work: Work) -> Way:
    tokenizer, encoder = tokenizers.load(work.folder), load_encoder(work.folder)
    theirs = AutoModelForSequenceClassification.from_pretrained(work.folder)
    module = head_class("classify").fresh(theirs.config, len(LABELS))
    module.load_state_dict(theirs.classifier.state_dict())
    head = LoadedHead("xnli", "classify", LABELS, PAIR_LENGTH, module.eval())
    sizes = [
        sum(int(batch["attention_mask"].sum()) for batch in _pair_batches(tokenizer, [pairs], True))
        for pairs in work.pairs
    ]
    parts = work.parts([*zip(work.pairs, sizes, strict=True)])

    def run() -> Done:
        found, tokens = [], 0
        for pairs, size in next(parts):
            tokens += size
            said = predict(encoder, tokenizer, head, pairs)
            found += [LABELS.index(said[place]) for place in range(len(pairs))]
        return Done(found, tokens, tokens)

    return run


def padded_vectors(work: Work) -> Way:
    return _padded_vectors(work, AutoModel.from_pretrained(work.folder))


def cut_vectors(work: Work) -> Way:
    """Who knows which layer is read may take the others off."""
    model = AutoModel.from_pretrained(work.folder)
    model.encoder.layer = model.encoder.layer[: work.layer]
    return _padded_vectors(work, model)


def _padded_vectors(work: Work, model: Any) -> Way:
    tokenizer = AutoTokenizer.from_pretrained(work.folder)
    model.eval()
    parts = work.parts(work.texts)

    @torch.inference_mode()
    def run() -> Done:
        found, tokens, computed = [], 0, 0
        for texts in next(parts):
            for first in range(0, len(texts), EMBED_BATCH):
                batch = tokenizer(
                    texts[first : first + EMBED_BATCH],
                    padding=True, truncation=True, max_length=MAX_LENGTH, return_tensors="pt",
                )  # fmt: skip
                hidden = model(**batch, output_hidden_states=True).hidden_states[work.layer]
                mask = batch["attention_mask"]
                found.append(((hidden * mask[:, :, None]).sum(1) / mask.sum(1)[:, None]).numpy())
                tokens, computed = tokens + int(mask.sum()), computed + mask.numel()
        return Done(np.concatenate(found), tokens, computed)

    return run


def padded_labels(work: Work) -> Way:
    return _padded_labels(work, True)


def maximum_labels(work: Work) -> Way:
    return _padded_labels(work, "max_length")


def _padded_labels(work: Work, padding: bool | str) -> Way:
    tokenizer = AutoTokenizer.from_pretrained(work.folder)
    model = AutoModelForSequenceClassification.from_pretrained(work.folder).eval()
    parts = work.parts(work.pairs)

    @torch.inference_mode()
    def run() -> Done:
        found, tokens, computed = [], 0, 0
        for batch in _pair_batches(tokenizer, next(parts), padding):
            found += model(**batch).logits.argmax(-1).tolist()
            tokens += int(batch["attention_mask"].sum())
            computed += batch["attention_mask"].numel()
        return Done(found, tokens, computed)

    return run


def _pair_batches(tokenizer: Any, pairs: list[list[Classify]], padding: bool | str) -> Iterator[Any]:
    for some in pairs:
        for first in range(0, len(some), PAIR_BATCH):
            batch = some[first : first + PAIR_BATCH]
            yield tokenizer(
                [pair.text_a for pair in batch], [pair.text_b for pair in batch],
                padding=padding, truncation="longest_first", max_length=PAIR_LENGTH, return_tensors="pt",
            )  # fmt: skip


def _plain(options: argparse.Namespace) -> dict[str, Any]:
    return {key: value if isinstance(value, int | None) else str(value) for key, value in vars(options).items()}


if __name__ == "__main__":
    main(sys.argv[1:])
