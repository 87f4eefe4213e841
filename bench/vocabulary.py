"""What it saves not to train the word embeddings of tokens that the data lack: bytes, optimizer memory, step time.

    python -m bench.vocabulary [--source DIR] [--ranks 2] [--rounds 7] [--steps 3] [--examples 32] [--json FILE]

The same run twice, with `trim_word_embeddings` and without, as two engines in the same processes: ZeRO-2, float32 on
CPU ranks, a small XLM-R with all 250,002 rows. They take turns of the same steps, in turning order, and ratios are
taken within a round; each turn begins and ends with a barrier. Bytes are those that DeepSpeed's own communication log
counts in one more step (the size of what is handed to each operation on a rank). At the end both encoders must be
the same to float32 rounding.

`--source DIR`: the nine tasks of the real samples in DIR, with XLM-R's own tokenizer. Without it: made-up sentences of
25,000 different words under Zipf's law, so only the number of rows is like that of real data.
"""

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import XLMRobertaTokenizerFast

import data_prep.__main__ as data_prep_program
from mtl import engine, loader, setup, vocabulary
from mtl.dsconfig import read_deepspeed
from mtl.optimizer import left

ROWS, WORDS, LARGE = 250_002, 25_000, 1024  # rows of XLM-R's table; made-up words; width of XLM-R Large
NINE = ["anli_plus", "mnli", "qqp", "squad_v1", "squad_v2", "hellaswag", "ccg", "cosmosqa", "commonsenseqa"]
SHAPE = {
    "hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024,
    "max_position_embeddings": 514,
}  # fmt: skip
SIDES = {"whole": "false", "trimmed": "true"}
# Largest relative difference of an embedding that has no gradient, per step: half an ulp, twice for good measure.
ROUNDING = 2.0**-23


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.vocabulary", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--source", type=Path, help="folder of real samples, with tokenizer/xlmr")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=3, help="optimizer steps of a turn")
    parser.add_argument("--examples", type=int, default=32, help="examples of a step, all ranks together")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        config = _workload(Path(place), options)
        out = Path(place) / "out.json"
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        program = [f"--nproc-per-node={options.ranks}", "-m", "bench.vocabulary_ranks"]
        threads = str(max(1, (os.cpu_count() or 1) // options.ranks))
        subprocess.run(
            [*launcher, *program, str(config), str(options.rounds), str(options.steps), str(out)], check=True,
            env={**os.environ, "DS_ACCELERATOR": "cpu", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": threads},
        )  # fmt: skip
        found: dict[str, Any] = json.loads(out.read_text())
        made = setup.read(str(config), [])
        found["large"] = _large(made)
    print(_table(found, options))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def ranks_main(config: str, rounds: int, steps: int, out: Path) -> None:
    """What each rank runs (bench/vocabulary_ranks.py)."""
    rank, world, _ = engine.connect()
    sides = {name: Side(config, choice, rank, world) for name, choice in SIDES.items()}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name in list(sides) if number % 2 else list(sides)[::-1]:
            torch.distributed.barrier()
            began = time.perf_counter()
            sides[name].train(steps)
            torch.distributed.barrier()
            if number:  # the first warms up
                seconds[name].append((time.perf_counter() - began) / steps)
    found: dict[str, Any] = {"seconds": seconds, "load": os.getloadavg()[0]}
    found["bytes"] = {name: side.bytes_of_a_step() for name, side in sides.items()}
    found["optimizer"] = {name: side.optimizer_bytes() for name, side in sides.items()}
    found["trained"] = {name: side.made.vocabulary.trained for name, side in sides.items()}
    exports = {name: side.export() for name, side in sides.items()}
    if rank == 0:
        ids = sides["trimmed"].made.vocabulary.ids
        assert ids is not None
        found |= _differences(exports["trimmed"], exports["whole"], ids)
        found["steps"] = sides["whole"].done
        assert found["trained difference"] < 1e-4, found
        assert found["untrained difference"] < ROUNDING * sides["whole"].done, found
        out.write_text(json.dumps(found), encoding="utf-8")
    torch.distributed.destroy_process_group()


class Side:
    """One of the two engines, with `train.py`'s loop."""

    def __init__(self, config: str, choice: str, rank: int, world: int) -> None:
        self.made = setup.read(config, [f"trim_word_embeddings={choice}"])
        self.rank, self.world = rank, world
        self.runner = engine.Engine(self.made.model(rank == 0), self.made.run, self.made.ds, self.made.plan.steps)
        self.steps: Iterator[Any] = loader.steps_from(self.made.plan, 0)
        self.decay, self.done = 1.0, 0

    def train(self, count: int) -> None:
        """So many optimizer steps."""
        made = self.made
        for _ in range(count):
            now = next(self.steps)
            shares = now.divide(self.world, made.run.micro_tokens)
            batches = loader.micro_batches(made.plan, now, shares, self.rank, made.special)
            present = {made.names[t] for t in np.flatnonzero(now.counts)}
            _, _, factor = self.runner.step(now.number, batches, present, {})
            self.decay *= left(made.run.optimizer, factor)
            self.done += 1

    def bytes_of_a_step(self) -> dict[str, int]:
        """{operation: bytes} of one step, as DeepSpeed's communication log has them on this rank."""
        from deepspeed.comm import comm

        comm.configure(enabled=True, prof_all=True, verbose=False)
        comm.comms_logger.reset_data()
        self.train(1)
        records = comm.comms_logger.get_raw_data()
        comm.configure(enabled=False)
        return {name: sum(size * entry[0] for size, entry in sizes.items()) for name, sizes in records.items()}

    def optimizer_bytes(self) -> int:
        """Master copies and moments on this rank."""
        zero: Any = self.runner.ds.optimizer
        tensors = [*zero.single_partition_of_fp32_groups]
        for state in zero.optimizer.state.values():
            tensors += [state["exp_avg"], state["exp_avg_sq"]]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def export(self) -> dict[str, torch.Tensor]:
        """The weights that would be exported."""
        weights = self.runner.full_weights()
        if self.rank == 0:
            vocabulary.restore(self.runner.model.encoder, weights, self.decay)
        return weights


def _differences(mine: dict[str, torch.Tensor], other: dict[str, torch.Tensor], ids: np.ndarray) -> dict[str, float]:
    """Largest differences: of trained weights, relative to the largest; of embeddings without gradient, to each."""
    name = "encoder.embeddings.word_embeddings.weight"
    trained = torch.zeros(len(mine[name]), dtype=torch.bool)
    trained[torch.from_numpy(ids)] = True
    rest = (mine[name][~trained] - other[name][~trained]).abs() / other[name][~trained].abs().clamp_min(1e-30)
    pairs = [(mine[n], w) for n, w in other.items() if n != name] + [(mine[name][trained], other[name][trained])]
    worst = max(float((a - b).abs().max() / b.abs().max().clamp_min(1e-30)) for a, b in pairs)
    return {"trained difference": worst, "untrained difference": float(rest.max())}


def _large(made: setup.Setup) -> dict[str, Any]:
    """Calculated for XLM-R Large under ds_configs/zero2.json (bf16), with the rows of this workload."""
    ds = read_deepspeed(made.run.model_copy(update={"deepspeed": "zero2.json"}))
    return {"trained": made.vocabulary.trained, **made.vocabulary.saved(LARGE, ds)}


def _workload(folder: Path, options: argparse.Namespace) -> Path:
    """A run config with its prepared data."""
    values: dict[str, Any] = {
        "name": "bench", "output": str(folder / "runs"), "data": str(folder / "data"), "deepspeed": "zero2_cpu.json",
        "mixture": {"kind": "capped", "batches": "mixed"}, "batch": {"examples": options.examples},
        "micro_tokens": 1_000_000, "steps": (options.rounds + 1) * options.steps + 1, "hidden_dropout_prob": 0.0,
        "optimizer": {"lr": 1e-4, "weight_decay": 0.1},
    }  # fmt: skip
    arguments = ["--config", str(folder / "run.json"), "--jobs", str(os.cpu_count() or 1)]
    if options.source is not None:
        tokenizer = options.source / "tokenizer" / "xlmr"
        values["tasks"] = NINE
        arguments += ["--source", str(options.source)]
    else:
        tokenizer = folder / "tokenizer"
        _tokenizer().save_pretrained(tokenizer)
        entry = {"name": "made_up", "kind": "classify", "labels": ["no", "yes"]}
        for split, count in (("train", 4000), ("dev", 20)):
            entry[split] = str(folder / f"{split}.jsonl")
            Path(entry[split]).write_text("".join(_lines(random.Random(split), count)), encoding="utf-8")
        values["tasks"] = [entry]
    values["encoder"] = {"config": SHAPE, "tokenizer": str(tokenizer)}
    (folder / "run.json").write_text(json.dumps(values), encoding="utf-8")
    if data_prep_program.main(arguments) != 0:
        raise SystemExit("the benchmark's data could not be prepared")
    return folder / "run.json"


def _lines(rng: random.Random, count: int) -> Iterator[str]:
    # Zipf's law: the rank is the exponential of a uniform number. Every word once, so that their number is known.
    every = iter(range(WORDS if count > WORDS // 20 else 0))
    for _ in range(count):
        words = [int(WORDS ** rng.random()) - 1 for _ in range(rng.randint(20, 120))]
        words += islice(every, 20)
        yield json.dumps({"text_a": " ".join(f"w{w}" for w in words), "label": rng.choice(["no", "yes"])}) + "\n"


def _tokenizer() -> XLMRobertaTokenizerFast:
    """Words w0, w1, ... to fill all rows, in XLM-R's layout."""
    words = ["<s>", "<pad>", "</s>", "<unk>", *(f"▁w{number}" for number in range(ROWS - 5)), "<mask>"]
    inner = Tokenizer(models.Unigram([(word, -1.0) for word in words], unk_id=3))
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return XLMRobertaTokenizerFast(tokenizer_object=inner, model_max_length=512)


def _table(found: dict[str, Any], options: argparse.Namespace) -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "deepspeed"))
    machine = f"{os.cpu_count()} cores, {platform.machine()}; Python {platform.python_version()}, {packages}"
    whole, trimmed = (found["bytes"][name] for name in SIDES)
    rows: list[tuple[str, float, float, str]] = [
        ("rows trained", found["trained"]["whole"], found["trained"]["trimmed"], ",.0f"),
        *((f"{name}, MB a step", whole[name] / 1e6, trimmed[name] / 1e6, ",.2f") for name in sorted(whole)),
        ("all operations, MB a step", sum(whole.values()) / 1e6, sum(trimmed.values()) / 1e6, ",.2f"),
        ("optimizer, MB a rank", *(found["optimizer"][name] / 1e6 for name in SIDES), ",.1f"),
    ]
    seconds = found["seconds"]
    ratios = [a / b for a, b in zip(seconds["whole"], seconds["trimmed"], strict=True)]
    spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    middle = " | ".join(f"{statistics.median(seconds[name]):.3f}" for name in SIDES)
    large = found["large"]
    return "\n".join(
        [
            machine,
            f"{options.ranks} ranks, {options.examples} examples a step, {options.rounds} rounds of {options.steps} "
            f"steps; {'real samples' if options.source else 'made-up words'}",
            "",
            "| | whole table | trimmed | whole / trimmed |",
            "|---|---:|---:|---:|",
            *(f"| {what} | {a:{form}} | {b:{form}} | {a / b if b else 1:.2f} |" for what, a, b, form in rows),
            f"| s a step, median | {middle} | {spread} |",
            "",
            f"Same export after {found['steps']} steps: trained weights differ by at most "
            f"{found['trained difference']:.1e} of the largest of their tensor, the others by "
            f"{found['untrained difference']:.1e} of themselves.",
            f"Calculated for XLM-R Large, bf16, with these {large['trained']:,} rows: a step reduces "
            f"{large['reduced'] / 1e6:,.0f} MB less and gathers {large['gathered'] / 1e6:,.0f} MB less; the optimizer "
            f"holds {large['optimizer'] / 1e9:.2f} GB less over all ranks.",
        ]
    )


if __name__ == "__main__":
    main()
