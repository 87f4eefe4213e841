"""The distributed step. The only file that imports deepspeed.

Micro-steps may differ in number from step to step (equal on all ranks), so DeepSpeed's accumulation is 1 and the
boundary is set by hand before each forward.

Under ZeRO-1/2 all ranks must reduce the same gradients in the same order: every head runs in every micro-step, on
possibly zero rows (`mtl/model.py`). DeepSpeed averages gradients over ranks; `PackedBatch.weights` normalise by the
global batch, so the loss is multiplied by the number of ranks.
"""

import hashlib
import os
import socket
from pathlib import Path
from typing import Any

import deepspeed
import torch
from deepspeed.accelerator import get_accelerator
from deepspeed.utils import safe_get_full_fp32_param
from torch import Tensor

from data_prep.errors import InputError
from mtl import attention
from mtl.batch import PackedBatch
from mtl.config import RunConfig
from mtl.model import MultiTaskModel
from mtl.optimizer import AdamW, SitsOut, param_groups, schedule, set_step


def connect() -> tuple[int, int, torch.device]:
    """Joins the process group that the launcher describes (or makes one of a single process): (rank, ranks, device)."""
    if "RANK" not in os.environ:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        os.environ.update(RANK="0", WORLD_SIZE="1", LOCAL_RANK="0", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    accelerator = get_accelerator()
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if accelerator.device_name() == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        # Ranks on one host share its cores; torch would give all of them to each.
        here = int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]))
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // here))
    deepspeed.init_distributed(dist_backend=accelerator.communication_backend_name(), verbose=False)
    if accelerator.device_name() == "cpu":
        device = torch.device("cpu")
    else:
        accelerator.set_device(local)
        device = torch.device(accelerator.device_name(local))
    return torch.distributed.get_rank(), torch.distributed.get_world_size(), device


def agree(problem: str | None) -> None:
    """Raises the first rank's problem on all ranks, so that none goes on alone (a collective call)."""
    problems: list[str | None] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(problems, problem)
    first = next((p for p in problems if p is not None), None)
    if first is not None:
        close()
        raise InputError(first)


def from_first(value: Any) -> Any:
    """What rank 0 has, on all ranks (a collective call)."""
    values = [value]
    torch.distributed.broadcast_object_list(values, src=0)
    return values[0]


def sum_over_ranks(values: Tensor) -> Tensor:
    """The sum of `values` over all ranks, as a new tensor where `values` live (a collective call)."""
    total = values.clone().to(get_accelerator().current_device_name())
    torch.distributed.all_reduce(total)
    return total.to(values.device)


class Engine:
    """A model under DeepSpeed. `steps`: length of the run, for the learning-rate schedule."""

    def __init__(self, model: MultiTaskModel, config: RunConfig, ds: dict[str, Any], steps: int) -> None:
        self.config = config
        self.steps = steps
        self.rank = torch.distributed.get_rank()
        self.world = torch.distributed.get_world_size()
        groups = param_groups(model, config.optimizer)
        settings: dict[str, Any] = {
            "lr": config.optimizer.lr,
            "betas": config.optimizer.betas,
            "eps": config.optimizer.eps,
            "weight_decay": config.optimizer.weight_decay,
        }
        if "offload_optimizer" in ds.get("zero_optimization", {}):
            optimizer: torch.optim.Optimizer = _offloaded(groups, settings)
        else:
            fused = get_accelerator().device_name() in ("cpu", "cuda")
            optimizer = AdamW(groups, **settings, fused=fused)
        if config.gradient_checkpointing:
            model.encoder.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        # bf16 would round what is never trained, and the export promises it as it came.
        self._frozen = {n: p.detach().clone() for n, p in model.named_parameters() if not p.requires_grad}
        # AdamW with groups that may sit out is "untested" to DeepSpeed; tests/test_exact.py is our test.
        deepspeed.utils.logger.addFilter(lambda line: "untested optimizer" not in line.getMessage())
        self.ds, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=ds)
        self.stage = self.ds.zero_optimization_stage()

    @property
    def backend(self) -> str:
        """The attention back-end in use."""
        encoder = self.model.encoder
        if encoder.packed_backend != "auto":
            return encoder.packed_backend
        dtype = encoder.get_input_embeddings().weight.dtype
        head = encoder.config.hidden_size // encoder.config.num_attention_heads
        return attention.choose(self.device, dtype, encoder.config.attention_probs_dropout_prob, head)

    @property
    def model(self) -> Any:
        """The `MultiTaskModel` itself, for evaluation."""
        return self.ds.module

    @property
    def device(self) -> torch.device:
        return self.ds.device

    def step(self, number: int, micro_batches: list[PackedBatch], present: set[str]) -> tuple[Tensor, float, float]:
        """One optimizer step, number `number` from 0: (stats [tasks, 2] of this rank, gradient norm, lr factor).

        `present`: tasks with examples in the global step. The norm is the global one, before clipping.
        """
        self.ds.train()
        total: Tensor | None = None
        for micro, batch in enumerate(micro_batches):
            torch.manual_seed(_dropout_seed(self.config.seed, number, micro, self.rank))
            self.ds.set_gradient_accumulation_boundary(micro == len(micro_batches) - 1)
            loss, stats = self.ds(batch.to(self.device))
            self.ds.backward(loss * self.world, scale_wrt_gas=False)
            total = stats if total is None else total + stats
        assert total is not None
        factor = schedule(number, self.steps, self.config.optimizer.warmup)
        set_step(self.ds.optimizer.param_groups, factor, present)
        # Plain data parallelism in float32 reports no norm: taken from the reduced gradients, before clipping.
        norm = None if self.stage or self.ds.bfloat16_enabled() else self._gradient_norm()
        skipped = self.ds.skipped_steps
        self.ds.step()
        if norm is None:
            norm = float(self.ds.get_global_grad_norm())
        if self.ds.skipped_steps != skipped or norm != norm or norm in (float("inf"), -float("inf")):
            raise FloatingPointError(
                f"step {number}: the gradient is not finite (norm {norm}; tasks {', '.join(sorted(present))}); "
                "lower the learning rate, or look at the data of this step"
            )
        return total, norm, factor

    def _gradient_norm(self) -> float:
        grads = [p.grad for p in self.model.parameters() if p.grad is not None]
        return float(torch.nn.utils.get_total_norm(grads))

    def full_weights(self) -> dict[str, Tensor]:
        """On rank 0 every parameter by name in float32 on the CPU, from the master copies (a collective call)."""
        weights = {}
        for name, parameter in self.model.named_parameters():
            full = safe_get_full_fp32_param(parameter) if self.stage and parameter.requires_grad else None
            if self.rank == 0:
                kept = self._frozen.get(name, parameter.data if full is None else full)
                weights[name] = kept.detach().float().cpu().clone()
        return weights

    def save(self, folder: Path, tag: str) -> None:
        """DeepSpeed's checkpoint in folder/tag (a collective call)."""
        self.ds.save_checkpoint(str(folder), tag=tag, save_latest=False)

    def load(self, folder: Path, tag: str) -> None:
        """Weights and optimizer from folder/tag (a collective call)."""
        path, _ = self.ds.load_checkpoint(str(folder), tag=tag)
        if path is None:
            raise RuntimeError(f"{folder / tag}: DeepSpeed found nothing to load")

    def peak_memory(self) -> float:
        """Peak device memory in GiB since the last call (CPU: the process's own peak, which never falls)."""
        accelerator = get_accelerator()
        if accelerator.device_name() == "cpu":
            import resource

            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        peak = accelerator.max_memory_allocated() / 2**30
        accelerator.reset_peak_memory_stats()
        return peak


def close() -> None:
    """Leaves the process group in order."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _offloaded(groups: list[dict[str, Any]], settings: dict[str, Any]) -> torch.optim.Optimizer:
    from deepspeed.ops.adam import DeepSpeedCPUAdam  # compiled at first use: only where it is wanted

    class OffloadedAdamW(SitsOut, DeepSpeedCPUAdam):
        """DeepSpeed's AdamW on the host."""

    return OffloadedAdamW(groups, adamw_mode=True, **settings)


def _dropout_seed(seed: int, step: int, micro: int, rank: int) -> int:
    digest = hashlib.sha256(f"dropout/{seed}/{step}/{micro}/{rank}".encode()).digest()
    return int.from_bytes(digest[:7], "big")
