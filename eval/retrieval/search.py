"""Exact nearest neighbours by dot product or cosine, in blocks, on CPU or GPU; no index is built.

    scores, places = top_k(queries, index, 4)              # each query's 4 best rows of `index`, best first
    there, back = top_k_both(german, english, 4)           # both directions from one pass of multiplications

Exact means: the neighbours by the exact dot products of the float32 vectors, whatever the BLAS, the device, the size of
a block or the number of threads. Blocks are multiplied in float32 (never TF32 or bfloat16). Candidates closer together
than the rounding error of that product can be (H * 2^-24 * |x| * |y|, the bound for any order of summation: Higham
2002, section 3.1) are multiplied again in float64, and scores that are equal there go to the earlier row. Queries with
very many equal or nearly equal neighbours (copies of one sentence, a collapsed encoder) are searched in float64
altogether, which is several times slower.

Memory beside the vectors is at most `memory(...)` bytes; the vectors may be memory-mapped NumPy arrays, of which a
block is read at a time. One million by one million, H = 1024, k = 4, both ways, on CPU: two arrays of 4.1 GB, mapped
from disk, and at most 0.5 GB of memory and 0.2 GB for each thread. It takes 2.1e15 floating-point operations: 6 hours
at 100 GFLOP/s.

On CPU the product is NumPy's (OpenBLAS), on a GPU torch's. As many threads as torch has (OMP_NUM_THREADS) each take a
block of queries. Of each 64 scores the maximum is taken; only where it reaches a query's k-th best are they looked at,
on the host: after the first blocks almost nowhere.
"""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor

from eval.retrieval.search_blocks import GROUPS, Board, Side, Vectors
from eval.retrieval.search_candidates import EXACT_COLUMNS, EXACT_ROWS, PAIRS, Candidates, Neighbours, Result, room

# (queries, index rows) multiplied at once: the scores stay near a CPU's cache; a GPU needs large products to be busy.
_BLOCK = {"cpu": (2048, 4096), "cuda": (8192, 16384)}
_FEWEST = 256  # queries of a thread; with fewer than that the product itself is shared by the threads


def top_k(
    queries: Vectors,
    index: Vectors,
    k: int,
    *,
    cosine: bool = False,
    device: torch.device | str | None = None,
    block: int | None = None,
) -> Neighbours:
    """The k rows of `index` [m, H] with the highest dot product (or cosine) for each of `queries` [n, H], best first.

    float32 arrays or tensors; `cosine` divides by the lengths (a row of zeros scores 0 everywhere). Equal scores: the
    earlier row first. `device` None: where the tensors are, CPU for arrays; vectors elsewhere are moved there a block
    at a time (`block` rows, None: thousands). `ValueError` unless 1 <= k <= m and the shapes fit; `InputError` for
    a NaN or an infinity in the vectors.
    """
    return _search(queries, index, k, cosine, device, block, both=False)[0]


def top_k_both(
    left: Vectors,
    right: Vectors,
    k: int,
    *,
    cosine: bool = False,
    device: torch.device | str | None = None,
    block: int | None = None,
) -> tuple[Neighbours, Neighbours]:
    """(`top_k(left, right, k)`, `top_k(right, left, k)`) for the multiplications of one; k at most both lengths."""
    there, back = _search(left, right, k, cosine, device, block, both=True)
    return there, back


def memory(n: int, m: int, width: int, k: int, both: bool = True, threads: int = 1) -> int:
    """Bytes that a search of [n, width] in [m, width] takes at most on CPU, beside the vectors, whatever they hold."""
    rows, columns = _BLOCK["cpu"]
    board = (rows + GROUPS[0]) * (columns + 2 * GROUPS[0]) * 5 + PAIRS * GROUPS[0] * 60  # and what is looked into
    exact = (EXACT_ROWS * EXACT_COLUMNS * 6 + (EXACT_ROWS + EXACT_COLUMNS) * width * 2) * 8
    vectors = 2 * (rows + columns) * width * 4
    a_query = room(k) * 8 + 32
    each = board + exact + vectors + columns * (a_query + room(k) * 24)  # while a block's results are written: thrice
    return threads * each + (n + m) * 4 + (n + m if both else n) * k * 12 + (m * a_query if both else 0)


def _search(
    left: Vectors,
    right: Vectors,
    k: int,
    cosine: bool,
    device: torch.device | str | None,
    block: int | None,
    both: bool,
) -> list[Neighbours]:
    if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[1]:
        raise ValueError(f"top_k: {tuple(left.shape)} against {tuple(right.shape)}; expected [n, H] and [m, H]")
    fewest = min(len(left), len(right)) if both else len(right)
    if not 1 <= k <= fewest:
        raise ValueError(f"top_k: k = {k}, but the index has {fewest} rows")
    if device is None:
        device = next((x.device for x in (left, right) if isinstance(x, Tensor)), "cpu")
    device = torch.device(device)
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    if len(left) < threads * _FEWEST:
        threads = 1  # and those of the BLAS
    rows, columns = (block, block) if block else _BLOCK.get(device.type, _BLOCK["cuda"])
    shares = -(-len(left) // (rows * threads)) * threads  # as many blocks for every thread
    rows = -(-len(left) // shares) if shares else 1
    quiet = _sharing(threads) if device.type == "cpu" else contextlib.nullcontext()
    with torch.inference_mode(), _full_precision(), quiet:
        x, y = Side(left, cosine, device, rows, "queries"), Side(right, cosine, device, columns, "index")
        results = [Result(len(side), k) for side in ((x, y) if both else (x,))]
        back = [Candidates(y, start, x, k) for start in range(0, len(y), columns)] if both else []
        locks = [threading.Lock() for _ in back]
        boards = threading.local()

        def search(first: int) -> None:
            with torch.inference_mode():
                if not hasattr(boards, "own"):
                    boards.own = Board(rows, min(columns, len(y)), device)
                there, part, starts = Candidates(x, first, y, k), x.block(first), range(0, len(y), columns)
                for turn in range(len(starts)):
                    number = (turn + first // rows) % len(starts)  # threads do not meet at the same columns
                    start = starts[number]
                    boards.own.multiply(part, y.block(start))
                    there.add(boards.own, 0, start)
                    if both:
                        with locks[number]:
                            back[number].add(boards.own, 1, first)
                there.settle(results[0])

        def settle(number: int) -> None:
            with torch.inference_mode():
                back[number].settle(results[1])

        _for_each(range(0, len(x), rows), search, threads)
        _for_each(range(len(back)), settle, threads)
    return [(result.scores, result.places) for result in results]


def _for_each(numbers: range, call: Callable[[int], None], threads: int) -> None:
    if threads == 1:
        for number in numbers:
            call(number)
        return
    pool = ThreadPoolExecutor(threads)
    try:
        for _ in pool.map(call, numbers):
            pass
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _sharing(threads: int) -> Iterator[None]:
    """torch uses one thread in every thread of ours, and so does the BLAS if there are several of ours.

    torch's helpers would go on spinning after each call, on the cores that the BLAS or our threads are to use.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with _blas().limit(limits=1, user_api="blas") if threads > 1 else contextlib.nullcontext():
            yield
    finally:
        torch.set_num_threads(before)


@functools.cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


@contextlib.contextmanager
def _full_precision() -> Iterator[None]:
    """float32 products on a GPU are float32 products, whatever the program allows elsewhere."""
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = "ieee"
    try:
        yield
    finally:
        matmul.fp32_precision = before
