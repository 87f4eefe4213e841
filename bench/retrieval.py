"""Exact retrieval against faiss's flat index and against XTREME's own way: time, and whether neighbours are the same.

    pip install -r bench/requirements.txt
    python -m bench.retrieval [--threads 1] [--rounds 7] [--clock wall|cpu] [--only tatoeba]

Each way has a process of its own, so that the threads of one do not wait beside those of another; every round runs all
of them one after the other, in turning order, on the same vectors and the same number of threads. Ratios are taken
within a round, so that whatever else the machine does meets all of them. `--clock cpu` measures the time that a process
has used on its cores, for one thread on a machine that others use too. All times are from vectors in memory to
neighbours; `search` is faiss without filling its index. Where neighbours differ, float64 products say who is right.
"""

import argparse
import multiprocessing
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from eval.search import Neighbours, top_k, top_k_both

try:
    import faiss
except ImportError:
    raise SystemExit("error: no faiss here: pip install -r bench/requirements.txt") from None

Way = Callable[[], list[Neighbours]]


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
    context = multiprocessing.get_context("spawn")
    workers, pipes = [], []
    for way in (ours, flat, search_only, xtreme):
        pipe, end = context.Pipe()
        workers.append(context.Process(target=_work, args=(end, way, case, threads, clock), daemon=True))
        workers[-1].start()
        pipes.append(pipe)
    found = [pipe.recv() for pipe in pipes]  # also the first, slower run
    seconds: list[list[float]] = [[] for _ in pipes]
    for number in range(rounds):
        for turn in range(len(pipes)):
            way = (number + turn) % len(pipes)
            pipes[way].send(True)
            seconds[way].append(pipes[way].recv())
    for pipe, worker in zip(pipes, workers, strict=True):
        pipe.send(False)
        worker.join()
    shape = f"{case.queries:,} x {case.index:,} x {case.width}, k = {case.k}"
    middle = [f"{statistics.median(some):.3f}" for some in seconds]
    against = [_ratio(some, seconds[0]) for some in seconds[1:]]
    return f"| {case.name} | {shape} | {' | '.join([*middle, *against])} | {same(case, found[0], found[1])} |"


def _work(
    pipe: Connection, make: Callable[[Case, np.ndarray, np.ndarray], Way], case: Case, threads: int, clock: str
) -> None:
    """Sends the neighbours, then for every True received the seconds of one more run."""
    torch.set_num_threads(threads)
    faiss.omp_set_num_threads(threads)
    now = time.perf_counter if clock == "wall" else time.process_time
    with threadpool_limits(threads):
        way = make(case, *vectors(case))
        pipe.send(way())
        while pipe.recv():
            began = now()
            way()
            pipe.send(now() - began)


def _ratio(theirs: list[float], mine: list[float]) -> str:
    ratios = [a / b for a, b in zip(theirs, mine, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


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


def ours(case: Case, left: np.ndarray, right: np.ndarray) -> Way:
    def run() -> list[Neighbours]:
        if not case.both:
            return [top_k(left, right, case.k)]
        there, back = top_k_both(left, right, case.k)
        if case.mined:
            for (scores, places), other in ((there, back), (back, there)):
                scores / ((scores.mean(axis=1, keepdims=True) + other[0].mean(axis=1)[places]) / 2)
        return [there, back]

    return run


def flat(case: Case, left: np.ndarray, right: np.ndarray) -> Way:
    """IndexFlatIP, filled and searched for each direction."""

    def run() -> list[Neighbours]:
        found = []
        for queries, vectors in ((left, right), (right, left))[: 1 + case.both]:
            index = faiss.IndexFlatIP(case.width)
            index.add(vectors)
            found.append(index.search(queries, case.k))
        return found

    return run


def search_only(case: Case, left: np.ndarray, right: np.ndarray) -> Way:
    """`flat` with indexes that are filled already."""
    pairs = ((left, right), (right, left))[: 1 + case.both]
    indexes = [faiss.IndexFlatIP(case.width) for _ in pairs]
    for index, (_, vectors) in zip(indexes, pairs, strict=True):
        index.add(vectors)
    return lambda: [index.search(queries, case.k) for index, (queries, _) in zip(indexes, pairs, strict=True)]


def xtreme(case: Case, left: np.ndarray, right: np.ndarray) -> Way:
    """As google-research/xtreme's `utils_retrieve.py` works.

    Tatoeba by IndexFlatL2 on unit vectors; BUCC by IndexFlatIP, then the margin of one pair after the other.
    """
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
