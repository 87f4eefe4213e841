"""What a search multiplies: one side's vectors, a block at a time, and the board that a block of scores is put on.

On CPU the product is NumPy's (OpenBLAS), on a GPU torch's, always in float32.
"""

import warnings

import numpy as np
import torch
from torch import Tensor

from common.errors import InputError

Vectors = np.ndarray | Tensor

GROUPS = (64, 16)  # scores of which only the maximum is looked at first: neighbours in a row, in a column


class Side:
    """One set of vectors [n, H], read a block at a time. `norms`: float32 [n], their lengths, on the host."""

    def __init__(self, vectors: Vectors, cosine: bool, device: torch.device, size: int, name: str) -> None:
        self.vectors, self.cosine, self.device, self.size = vectors, cosine, device, size
        self.norms = np.empty(len(vectors), dtype=np.float32)
        for first in range(0, len(vectors), size):
            part = torch.linalg.vector_norm(self._read(slice(first, first + size)), dim=1)
            self.norms[first : first + size] = part.cpu().numpy()
        wrong = np.flatnonzero(~np.isfinite(self.norms))
        if len(wrong):
            raise InputError(f"vectors ({name}): row {wrong[0]} has a NaN or an infinity, so it has no neighbours")

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def width(self) -> int:
        return int(self.vectors.shape[1])

    def _read(self, rows: slice | np.ndarray) -> Tensor:
        """float32 on the device; a view where nothing has to be moved or converted."""
        if isinstance(self.vectors, Tensor):
            which = rows if isinstance(rows, slice) else torch.from_numpy(rows).to(self.vectors.device)
            return self.vectors[which].to(self.device, torch.float32)
        part = np.ascontiguousarray(self.vectors[rows])
        if part.flags.writeable:
            return torch.from_numpy(part).to(self.device, torch.float32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, about arrays that must not be written: nobody does
            return torch.from_numpy(part).to(self.device, torch.float32)

    def block(self, first: int) -> Tensor:
        """float32 [at most `size`, H] from row `first` on, of length 1 with `cosine`."""
        part = self._read(slice(first, first + self.size))
        if self.cosine:
            norms = torch.from_numpy(self.norms[first : first + self.size]).to(self.device)
            part = part / torch.where(norms > 0, norms, 1)[:, None]
        return part

    def exact(self, rows: np.ndarray) -> Tensor:
        """float64 [len(rows), H] on the device, of length 1 with `cosine`."""
        part = self._read(rows).double()
        if self.cosine:
            norms = torch.linalg.vector_norm(part, dim=1)
            part /= torch.where(norms > 0, norms, 1)[:, None]
        return part


class Board:
    """The scores of one block of rows by one block of columns, both rounded up to whole groups with -inf."""

    def __init__(self, rows: int, columns: int, device: torch.device) -> None:
        # Rows lie one group further apart than they are long: at a distance of a power of two they would share cache
        # lines, which costs OpenBLAS 6 to 9 %.
        size = _round_up(rows) * (_round_up(columns) + GROUPS[0])
        if device.type == "cpu":  # NumPy asks for huge pages, torch does not
            self.memory = torch.from_numpy(np.empty(size, dtype=np.float32))
        else:
            self.memory = torch.empty(size, device=device)
        self.scores = self.memory
        self.shape = (0, 0)  # without what was rounded up

    def multiply(self, x: Tensor, y: Tensor) -> None:
        """x [a, H] times y [b, H] transposed."""
        a, b = self.shape = (len(x), len(y))
        rows, columns = _round_up(a), _round_up(b)
        stride = columns + GROUPS[0]
        self.scores = self.memory[: rows * stride].view(rows, stride)[:, :columns]
        if x.device.type == "cpu":  # OpenBLAS; torch's MKL is a good deal slower on some CPUs
            np.matmul(x.numpy(), y.numpy().T, out=self.scores[:a, :b].numpy())
        else:
            self.scores[:a, :b] = x @ y.T
        self.scores[a:] = -torch.inf
        self.scores[:, b:] = -torch.inf

    def maxima(self, axis: int) -> np.ndarray:
        """float32 [queries, groups]: the best of each group of neighbours in a row (axis 0) or in a column (axis 1)."""
        best = self.scores.unflatten(1 - axis, (-1, GROUPS[axis])).amax(2 - axis)
        return (best.T.contiguous() if axis else best)[: self.shape[axis]].cpu().numpy()

    def groups(self, axis: int, query: np.ndarray, group: np.ndarray) -> np.ndarray:
        """float32 [p, 64 or 16]: the scores of group `group[i]` of query `query[i]`."""
        size, stride = GROUPS[axis], self.scores.stride(0)
        if axis == 0:
            which = torch.from_numpy(query * (stride // size) + group).to(self.scores.device)
            return self.memory.view(-1, size).index_select(0, which).cpu().numpy()
        start = torch.from_numpy(group * (size * stride) + query).to(self.scores.device)
        step = torch.arange(0, size * stride, stride, device=self.scores.device)
        return self.memory.take(start[:, None] + step).cpu().numpy()


def _round_up(n: int) -> int:
    return -(-n // GROUPS[0]) * GROUPS[0]
