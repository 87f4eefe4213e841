"""What it saves not to train the word embeddings of tokens that the data lack: bytes, optimizer memory, step time.

    python -m bench.vocabulary [--source DIR] [--ranks 2] [--rounds 7] [--steps 3] [--examples 32] [--json FILE]

The same run twice, with `trim_word_embeddings` and without, as two engines in the same processes: ZeRO-2, float32 on
CPU ranks, a small XLM-R with all 250,002 rows. They take turns of the same steps, in turning order, and ratios are
taken within a round; each turn begins and ends with a barrier. Bytes are those of what a rank hands to each operation
in a few more steps (`bench/traffic.py`), which also give the parts of a step. At the end both encoders must be the same
to float32 rounding.

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

import data_prep.__main__ as data_prep_program
from bench import madeup, traffic
from common.deepspeed_config import read_deepspeed
from mtl.data import loader
from mtl.distributed import engine
from mtl.distributed.optimizer import decay_factor
from mtl.model import trimmed_embeddings
from mtl.run import setup

ROWS, WORDS, WIDTH = 250_002, 25_000, 1024  # rows of XLM-R's table; made-up words; width of XLM-R Large
LR = 1e-4
NINE = ["anli_plus", "mnli", "qqp", "squad_v1", "squad_v2", "hellaswag", "ccg", "cosmosqa", "commonsenseqa"]
SHAPE = {
    "hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024,
    "max_position_embeddings": 514,
}  # fmt: skip
LOGGED = 5  # steps whose communication is counted
SIDES = {"whole": "false", "trimmed": "true"}
# How far the two may be apart. Of what is trained, in lr x steps: the gradient's norm is summed in another order, and
# where a gradient is nearly 0 Adam makes that rounding a part of a step (eps 1e-6 keeps it small). Of an embedding
# without gradient, relative, per step: half an ulp, twice for good measure.
LARGEST, MEAN, ROUNDING = 0.05, 1e-4, 2.0**-23


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


def ranks_main(config: str, rounds: int, steps: int, out: Path, counted: traffic.Traffic) -> None:
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
    logged = {name: side.logged(counted) for name, side in sides.items()}
    found["bytes"] = {name: log[0] for name, log in logged.items()}
    found["parts"] = {name: log[1] for name, log in logged.items()}
    found["optimizer"] = {name: side.optimizer_bytes() for name, side in sides.items()}
    found["trained"] = {name: side.made.vocabulary.trained for name, side in sides.items()}
    exports = {name: side.export() for name, side in sides.items()}
    if rank == 0:
        ids = sides["trimmed"].made.vocabulary.ids
        assert ids is not None
        found["steps"] = sides["whole"].done
        found |= _differences(exports["trimmed"], exports["whole"], ids, LR * sides["whole"].done)
        assert found["largest"] < LARGEST, found
        assert found["mean"] < MEAN, found
        assert found["rest"] < ROUNDING * sides["whole"].done, found
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
            self.decay *= decay_factor(made.run.optimizer, factor)
            self.done += 1

    def logged(self, counted: traffic.Traffic) -> tuple[dict[str, float], dict[str, float]]:
        """Of a step on this rank: {operation: bytes}, and {part: seconds}.

        Parts: `communication`; `update`, what is left of the engine's `step` (norm, clipping, AdamW); `rest`.
        """
        spent = [0.0, 0.0]  # in the engine's step, and of that in communication
        inner = self.runner.ds.step

        def timed() -> None:
            before, began = counted.seconds, time.perf_counter()
            inner()
            spent[0] += time.perf_counter() - began
            spent[1] += counted.seconds - before

        self.runner.ds.step = timed
        counted.clear()
        began = time.perf_counter()
        self.train(LOGGED)
        whole, talking = time.perf_counter() - began, counted.seconds
        self.runner.ds.step = inner
        moved = {name: size / LOGGED for name, size in counted.moved().items()}
        update = spent[0] - spent[1]
        parts = {"communication": talking, "update": update, "rest": whole - talking - update}
        return moved, {name: seconds / LOGGED for name, seconds in parts.items()}

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
            trimmed_embeddings.restore(self.runner.model.encoder, weights, self.decay)
        return weights


def _differences(
    mine: dict[str, torch.Tensor], other: dict[str, torch.Tensor], ids: np.ndarray, moved: float
) -> dict[str, float]:
    """Differences of trained weights, in `moved` (lr x steps); of embeddings without gradient, relative to each."""
    name = "encoder.embeddings.word_embeddings.weight"
    trained = torch.zeros(len(mine[name]), dtype=torch.bool)
    trained[torch.from_numpy(ids)] = True
    rest = (mine[name][~trained] - other[name][~trained]).abs() / other[name][~trained].abs().clamp_min(1e-30)
    pairs = [(mine[n], w) for n, w in other.items() if n != name] + [(mine[name][trained], other[name][trained])]
    off = torch.cat([(a - b).abs().flatten() for a, b in pairs]) / moved
    return {"largest": float(off.max()), "mean": float(off.mean()), "rest": float(rest.max())}


def _large(made: setup.Setup) -> dict[str, Any]:
    """Calculated for XLM-R Large under ds_configs/zero2.json (bf16), with the rows of this workload."""
    ds = read_deepspeed(made.run.model_copy(update={"deepspeed": "zero2.json"}))
    return {"trained": made.vocabulary.trained, **made.vocabulary.saved(WIDTH, ds)}


def _workload(folder: Path, options: argparse.Namespace) -> Path:
    """A run config with its prepared data."""
    values: dict[str, Any] = {
        "name": "bench", "output": str(folder / "runs"), "data": str(folder / "data"), "deepspeed": "zero2_cpu.json",
        "mixture": {"kind": "capped", "batches": "mixed"}, "batch": {"examples": options.examples},
        "micro_tokens": 1_000_000, "steps": (options.rounds + 1) * options.steps + LOGGED, "hidden_dropout_prob": 0.0,
        "optimizer": {"lr": LR, "weight_decay": 0.1, "eps": 1e-6},
    }  # fmt: skip
    arguments = ["--config", str(folder / "run.json"), "--jobs", str(os.cpu_count() or 1)]
    if options.source is not None:
        tokenizer = options.source / "tokenizer" / "xlmr"
        values["tasks"] = NINE
        arguments += ["--source", str(options.source)]
    else:
        tokenizer = folder / "tokenizer"
        madeup.tokenizer(ROWS).save_pretrained(tokenizer)
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
    # By Zipf's law, and every word once, so that their number is known.
    every = iter(range(WORDS if count > WORDS // 20 else 0))
    for _ in range(count):
        words = [madeup.rank(rng, WORDS) for _ in range(rng.randint(20, 120))]
        words += islice(every, 20)
        yield json.dumps({"text_a": " ".join(f"w{w}" for w in words), "label": rng.choice(["no", "yes"])}) + "\n"


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
    parts = [(what, a, found["parts"]["trimmed"][what]) for what, a in found["parts"]["whole"].items()]
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
            *(
                f"| of it {what}, mean of {LOGGED} | {a:.3f} | {b:.3f} | {a / b if b else 1:.2f} |"
                for what, a, b in parts
            ),
            "",
            f"Same export after {found['steps']} steps: trained weights differ by {found['mean']:.1e} of lr x steps on "
            f"average and {found['largest']:.1e} at most, the other embeddings by at most {found['rest']:.1e} of "
            "themselves.",
            f"Calculated for XLM-R Large, bf16, with these {large['trained']:,} rows: a step reduces "
            f"{large['reduced'] / 1e6:,.0f} MB less and gathers {large['gathered'] / 1e6:,.0f} MB less; the optimizer "
            f"holds {large['optimizer'] / 1e9:.2f} GB less over all ranks.",
        ]
    )


if __name__ == "__main__":
    main()
