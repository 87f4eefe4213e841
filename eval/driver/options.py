"""Options of an evaluation."""

from dataclasses import dataclass, field
from pathlib import Path

import torch

from eval.suites import PROTOCOLS


@dataclass(frozen=True)
class Options:
    """Options of an evaluation; those of `python -m eval`.

    layer None: `default_layer`; examples None: all rows, else the first ones of each language; direct: predict with
    the intermediate heads, without target training; dev: score the targets' dev data, after the target training of the
    evaluation of their tests; overrides: `--set` of every target run; prepared: folder of
    prepared training data; sources: of training data ("hub" or folders, first match wins), none: of the test data;
    processes: GPUs, or CPU processes; query_prefix, passage_prefix: put before the texts to embed, as for E5;
    a sentence of Tatoeba or BUCC is a query, a candidate of LAReQA or Mewsli-X a passage; perturb: noise of the
    queries, as `--perturb`; lexicons: files by language; protocol: one of `PROTOCOLS`.
    """

    layer: int | None = None
    pooling: str = "mean"
    centre: bool = False
    examples: int | None = None
    micro_tokens: int = 16384
    direct: bool = False
    dev: bool = False
    overrides: list[str] = field(default_factory=list)
    prepared: Path = Path("data")
    sources: list[str] = field(default_factory=list)
    query_prefix: str = ""
    passage_prefix: str = ""
    perturb: str = ""
    lexicons: dict[str, str] = field(default_factory=dict)
    protocol: str = PROTOCOLS[0]
    processes: int = max(1, torch.cuda.device_count())
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
