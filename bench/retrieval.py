"""Exact retrieval against faiss's flat index and against XTREME's own way: time, and whether neighbours are the same.

    pip install -r bench/requirements.txt
    python -m bench.retrieval [--threads 1] [--rounds 7] [--clock wall|cpu] [--only tatoeba]

Ways take turns (`bench/rounds.py`) on the same vectors and the same number of threads. `--clock cpu` measures the time
that a process has used on its cores, for one thread on a machine that others use too. All times are from vectors in
memory to neighbours; `search` is faiss without filling its index. Where neighbours differ, float64 products say who is
right.
"""

import argparse
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from bench.rounds import Way, race, ratio
from eval.retrieval.search import Neighbours, top_k, top_k_both

try:
    import faiss
except ImportError:
    raise SystemExit("error: no faiss here: pip install -r bench/requirements.txt") from None


@dataclass(frozen=True)
class Case:
    """`mined`: XTREME's way ends with the margins of its BUCC script, and so does ours."""

    name: str
    queries: int
    index: int
    width: int
    k: int
    both: bool
    mined: bool = False


CASES = (
    Case("tatoeba, both ways", 1_000, 1_000, 1024, 1, True),
    Case("tatoeba, one way", 1_000, 1_000, 1024, 1, False),
    Case("bucc, both ways, margins", 10_000, 20_000, 1024, 4, True, mined=True),
    Case("bucc, one way", 10_000, 20_000, 1024, 4, False),
    Case("large index, one way", 10_000, 100_000, 256, 20, False),
)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.retrieval", description="Exact retrieval against faiss.")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--only", default="", metavar="TEXT", help="only the cases whose name holds it")
    options = parser.parse_args(arguments)
    versions = f"numpy {np.__version__}, torch {torch.__version__}, faiss {faiss.__version__}"
    print(f"{versions}; Python {platform.python_version()}, {platform.machine()}")
    print(f"threads: {options.threads}; {options.clock} time; rounds: {options.rounds}\n")
    print("| case | vectors | ours, s | faiss, s | its search | XTREME | faiss / ours | search | XTREME | neighbours |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|---|")
    for case in CASES:
        if options.only in case.name:
            print(_row(case, options.rounds, options.threads, options.clock), flush=True)


def _row(case: Case, rounds: int, threads: int, clock: str) -> str:
    raced = race((ours, flat, search_only, xtreme), case, rounds, threads, clock)
    shape = f"{case.queries:,} x {case.index:,} x {case.width}, k = {case.k}"
    middle = [f"{statistics.median(some):.3f}" for some in raced.seconds]
    against = [ratio(some, raced.seconds[0]) for some in raced.seconds[1:]]
    found = same(case, *(runs[0] for runs in raced.found[:2]))
    return f"| {case.name} | {shape} | {' | '.join([*middle, *against])} | {found} |"


def vectors(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of two languages: a part that all share, meanings of which the first ones are common, and noise."""
    rng = np.random.default_rng(0)
    shared = rng.standard_normal(case.width, dtype=np.float32)
    meaning = rng.standard_normal((max(case.queries, case.index), case.width), dtype=np.float32)
    sides = []
    for rows in (case.queries, case.index):
        side = shared + meaning[:rows] + rng.standard_normal((rows, case.width), dtype=np.float32)
        sides.append(side / np.linalg.norm(side, axis=1, keepdims=True))
    return sides[0], sides[1]


def _faiss_vectors(case: Case) -> tuple[np.ndarray, np.ndarray]:
    faiss.omp_set_num_threads(torch.get_num_threads())
    return vectors(case)


def ours(case: Case) -> Way:
    left, right = vectors(case)

    def run() -> list[Neighbours]:
        if not case.both:
            return [top_k(left, right, case.k)]
        there, back = top_k_both(left, right, case.k)
        if case.mined:
            for (scores, places), other in ((there, back), (back, there)):
                scores / ((scores.mean(axis=1, keepdims=True) + other[0].mean(axis=1)[places]) / 2)
        return [there, back]

    return run


def flat(case: Case) -> Way:
    """IndexFlatIP, filled and searched for each direction."""
    left, right = _faiss_vectors(case)

    def run() -> list[Neighbours]:
        found = []
        for queries, vectors in ((left, right), (right, left))[: 1 + case.both]:
            index = faiss.IndexFlatIP(case.width)
            index.add(vectors)
            found.append(index.search(queries, case.k))
        return found

    return run


def search_only(case: Case) -> Way:
    """`flat` with indexes that are filled already."""
    left, right = _faiss_vectors(case)
    pairs = ((left, right), (right, left))[: 1 + case.both]
    indexes = [faiss.IndexFlatIP(case.width) for _ in pairs]
    for index, (_, vectors) in zip(indexes, pairs, strict=True):
        index.add(vectors)
    return lambda: [index.search(queries, case.k) for index, (queries, _) in zip(indexes, pairs, strict=True)]


def xtreme(case: Case) -> Way:
    """As google-research/xtreme's `utils_retrieve.py` works.

    Tatoeba by IndexFlatL2 on unit vectors; BUCC by IndexFlatIP, then the margin of one pair after the other.
    """
    left, right = _faiss_vectors(case)
    kind = faiss.IndexFlatIP if case.mined else faiss.IndexFlatL2

    def run() -> list[Neighbours]:
        found = []
        for queries, vectors in ((left, right), (right, left))[: 1 + case.both]:
            index = kind(case.width)
            index.add(vectors)
            found.append(index.search(queries, case.k))
        if case.mined:
            means = [scores.mean(axis=1) for scores, _ in found]
            for (_, places), queries, vectors, own, other in (
                (found[0], left, right, means[0], means[1]),
                (found[1], right, left, means[1], means[0]),
            ):
                margins = np.zeros(places.shape)
                for i in range(len(places)):
                    for j in range(case.k):
                        place = places[i, j]
                        margins[i, j] = queries[i].dot(vectors[place]) / ((own[i] + other[place]) / 2)
        return found

    return run


def same(case: Case, mine: list[Neighbours], theirs: list[Neighbours]) -> str:
    """Whether our neighbours are faiss's; where they are not, that ours are those of the exact products."""
    left, right = vectors(case)
    total = differ = 0
    for (_, places), (_, others), queries, index in zip(mine, theirs, (left, right), (right, left), strict=False):
        total += places.size
        differ += int((places != others).sum())
        for i in np.flatnonzero((places != others).any(axis=1)):
            x = queries[i].astype(np.float64)
            ranked = index[np.union1d(places[i], others[i])].astype(np.float64) @ x
            best = np.sort(ranked)[::-1][: places.shape[1]]
            assert np.abs(index[places[i]].astype(np.float64) @ x - best).max() < 1e-12, f"query {i}: wrong neighbours"
    return "identical" if not differ else f"{differ:,} of {total:,} differ: float32 near ties, ours right in float64"


if __name__ == "__main__":
    main()
