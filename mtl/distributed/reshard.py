"""Goes on from a ZeRO checkpoint on another number of ranks.

DeepSpeed cuts each parameter group, laid flat and padded at its end, into one piece a rank; its plain checkpoint loads
on the same number of ranks only. Here every rank reads from the old pieces what its new one holds: master weights and
both moments; files are memory-mapped, so it reads little else.

DeepSpeed's own way, the universal format, was tried first: converting works (and is tested, for those who want it), but
loading fails where a small group gives a rank nothing but padding, which the bias of a head on four ranks does.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_OPTIMIZER = "optimizer_state_dict"


def load(ds: Any, folder: Path, rank: int, ranks: int) -> None:
    """Loads `folder` into the DeepSpeed engine `ds` (stage 1 or 2), whatever number of ranks wrote it."""
    model = torch.load(folder / "mp_rank_00_model_states.pt", map_location="cpu", weights_only=True, mmap=True)
    ds.module.load_state_dict(model["module"])
    ds.global_steps = model["global_steps"]
    ds.skipped_steps = model["skipped_steps"]
    files = _optimizer_files(folder)
    pieces = [torch.load(path, map_location="cpu", weights_only=True, mmap=True)[_OPTIMIZER] for path in files]
    zero = ds.optimizer
    inner = zero.optimizer
    for number, group in enumerate(zero.bit16_groups):
        total = sum(parameter.numel() for parameter in group)
        master = zero.single_partition_of_fp32_groups[number]
        masters = [piece["single_partition_of_fp32_groups"][number] for piece in pieces]
        states = [piece["base_optimizer_state"]["state"][number] for piece in pieces]
        # Masters are stored without the padding, moments with it; it is always at the end.
        master.data.copy_(_slice(masters, total, rank, master.numel()))
        (parameter,) = inner.param_groups[number]["params"]
        state = inner.state[parameter]
        for moment in ("exp_avg", "exp_avg_sq"):
            state[moment].copy_(_slice([s[moment] for s in states], total, rank, master.numel()))
        step = states[0]["step"]
        state["step"] = step.to(state["step"].device) if isinstance(step, Tensor) else step
    zero.update_lp_params()


def _optimizer_files(folder: Path) -> list[Path]:
    files = list(folder.glob("*zero_pp_rank_*_mp_rank_00_optim_states.pt"))
    return sorted(files, key=lambda path: int(path.name.partition("pp_rank_")[2].partition("_")[0]))


def _slice(pieces: list[Tensor], total: int, rank: int, size: int) -> Tensor:
    """Elements [rank * size, (rank + 1) * size) of the first `total` of the joined `pieces`, zeros behind."""
    first = rank * size
    found = torch.zeros(size)
    start = 0
    for piece in pieces:
        low, high = max(first, start), min(first + size, start + piece.numel(), total)
        if low < high:
            found[low - first : high - first] = piece[low - start : high - start]
        start += piece.numel()
    return found
