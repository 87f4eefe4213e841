"""Loads a ZeRO checkpoint on another number of ranks than wrote it.

DeepSpeed flattens each parameter group, pads it at its end and divides it into one partition a rank; its plain
checkpoint loads on the same number of ranks only. Here every rank reads its new partition of master weights and both
moments from the old ones; files are memory-mapped, so it reads little else.

DeepSpeed's own solution is the universal format, which fails to load where a rank's partition of a small group is all
padding, as of the bias of a head on four ranks.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_OPTIMIZER = "optimizer_state_dict"


def load(ds: Any, folder: Path, rank: int) -> None:
    """Loads `folder`, written by any number of ranks, into the DeepSpeed engine `ds` (stage 1 or 2)."""
    model = torch.load(folder / "mp_rank_00_model_states.pt", map_location="cpu", weights_only=True, mmap=True)
    ds.module.load_state_dict(model["module"])
    ds.global_steps = model["global_steps"]
    ds.skipped_steps = model["skipped_steps"]
    files = folder.glob("*zero_pp_rank_*_mp_rank_00_optim_states.pt")
    by_rank = sorted(files, key=lambda path: int(path.name.partition("pp_rank_")[2].partition("_")[0]))
    partitions = [torch.load(path, map_location="cpu", weights_only=True, mmap=True)[_OPTIMIZER] for path in by_rank]
    zero = ds.optimizer
    inner = zero.optimizer
    # Stage 1 with bf16 is a class of its own in DeepSpeed, with other names.
    bf16 = hasattr(zero, "bf16_groups")
    groups = zero.bf16_groups if bf16 else zero.bit16_groups
    own = zero.fp32_groups_flat_partition if bf16 else zero.single_partition_of_fp32_groups
    for number, group in enumerate(groups):
        total = sum(parameter.numel() for parameter in group)
        master = own[number]
        masters = [old["single_partition_of_fp32_groups"][number] for old in partitions]
        states = [old["base_optimizer_state"]["state"][number] for old in partitions]
        # Masters are stored without the padding, moments with it; it is always at the end.
        master.data.copy_(_slice(masters, total, rank, master.numel()))
        (parameter,) = inner.param_groups[number]["params"]
        state = inner.state[parameter]
        for moment in ("exp_avg", "exp_avg_sq"):
            state[moment].copy_(_slice([s[moment] for s in states], total, rank, master.numel()))
        step = states[0]["step"]
        state["step"] = step.to(state["step"].device) if isinstance(step, Tensor) else step
    zero.update_lp_params()


def _slice(partitions: list[Tensor], total: int, rank: int, size: int) -> Tensor:
    """Elements [rank * size, (rank + 1) * size) of the first `total` of the concatenation, padded with zeros."""
    first = rank * size
    values = torch.zeros(size)
    start = 0
    for partition in partitions:
        low, high = max(first, start), min(first + size, start + partition.numel(), total)
        if low < high:
            values[low - first : high - first] = partition[low - start : high - start]
        start += partition.numel()
    return values
