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
from disk, and at most 1 GB of memory. It takes 2.1e15 floating-point operations: 6 hours at 100 GFLOP/s.

On CPU the product is NumPy's (OpenBLAS, as many threads as OMP_NUM_THREADS says), on a GPU torch's. Of each 64 scores
the maximum is taken; only where it reaches a query's k-th best are they looked at, on the host: after the first blocks
almost nowhere.
"""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor

from eval.search_blocks import GROUPS, Board, Side, Vectors
from eval.search_candidates import EXACT_COLUMNS, EXACT_ROWS, PAIRS, Candidates, Neighbours, Result, room


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
    at a time (`block` rows, None: `block_shape`). `ValueError` unless 1 <= k <= m and the shapes fit; `InputError` for
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


def block_shape(device: torch.device) -> tuple[int, int]:
    """(queries, index rows) that are multiplied at once.

    With more threads more columns: what is done beside the product, in one thread, is then a smaller part. A GPU needs
    large products to be busy.
    """
    if device.type != "cpu":
        return 8192, 16384
    return 2048, 4096 * min(4, max(1, torch.get_num_threads() // 2))


def memory(n: int, m: int, width: int, k: int, both: bool = True) -> int:
    """Bytes that a search of [n, width] in [m, width] takes at most on CPU, beside the vectors, whatever they hold."""
    rows, columns = block_shape(torch.device("cpu"))
    board = (rows + GROUPS[0]) * (columns + 2 * GROUPS[0]) * 5 + PAIRS * GROUPS[0] * 60  # and what is looked into
    exact = (EXACT_ROWS * EXACT_COLUMNS * 6 + (EXACT_ROWS + EXACT_COLUMNS) * width * 2) * 8
    vectors = 2 * (rows + columns) * width * 4
    results = (n + m) * 4 + (n + m if both else n) * k * 12
    return board + exact + vectors + results + ((m if both else 0) + rows) * (room(k) * 8 + 32)


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
    rows, columns = (block, block) if block else block_shape(device)
    with torch.inference_mode(), _full_precision():
        x, y = Side(left, cosine, device, rows, "queries"), Side(right, cosine, device, columns, "index")
        board = Board(min(rows, len(x)), min(columns, len(y)), device)
        results = [Result(len(side), k) for side in ((x, y) if both else (x,))]
        back = [Candidates(y, start, x, k) for start in range(0, len(y), columns)] if both else []
        for first in range(0, len(x), rows):
            there = Candidates(x, first, y, k)
            part = x.block(first)
            for number, start in enumerate(range(0, len(y), columns)):
                board.multiply(part, y.block(start))
                there.add(board, 0, start)
                if both:
                    back[number].add(board, 1, first)
            there.settle(results[0])
        while back:
            back.pop().settle(results[1])
    return [(result.scores, result.places) for result in results]


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
