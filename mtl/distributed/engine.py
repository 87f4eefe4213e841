"""The distributed step. The only file that imports deepspeed.

Micro-steps may differ in number from step to step (equal on all ranks), so DeepSpeed's accumulation is 1 and the
boundary is set by hand before each forward.

Under ZeRO-1/2 all ranks must reduce the same gradients in the same order: every head runs in every micro-step, possibly
on zero rows (`encoder.py`). DeepSpeed averages gradients over ranks; `PackedBatch.weights` normalise by the
global batch, so the loss is multiplied by the number of ranks.
"""

import copyreg
import gc
import hashlib
import math
import os
import pickle
import re
import shutil
import socket
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import deepspeed
import numpy as np
import psutil
import torch
from deepspeed.accelerator import get_accelerator
from deepspeed.runtime.checkpoint_engine.torch_checkpoint_engine import TorchCheckpointEngine
from deepspeed.runtime.fp16.loss_scaler import LossScaler
from deepspeed.runtime.zero.config import ZeroStageEnum
from deepspeed.utils import safe_get_full_fp32_param
from deepspeed.utils.tensor_fragment import fragment_address
from torch import Tensor

from common.errors import InputError
from common.run_config import RunConfig
from mtl.data.packing import PackedBatch
from mtl.distributed import grad_norm, launchers, reshard, zero2_gradients, zero2_step
from mtl.distributed.optimizer import AdamW, SkipsInactive, fill_state, param_groups, schedule, set_step
from mtl.model import attention
from mtl.model.encoder import MultiTaskModel
from tasks.head import HeadRows
from tasks.pair import gradient_caching

# The only classes in a checkpoint besides tensors and plain values; loading refuses any other.
SAFE_CLASSES = (fragment_address, ZeroStageEnum, LossScaler)
# Python before 3.11.5 (Debian 12's) pickles a member of an enumeration as a call of `getattr`, which is refused.
copyreg.pickle(ZeroStageEnum, lambda stage: (ZeroStageEnum, (int(stage),)))


def connect() -> tuple[int, int, torch.device]:
    """Joins the launcher's process group, or makes one of a single process: (rank, number of ranks, device)."""
    if "RANK" not in os.environ:
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(launchers.free_port())}
        os.environ.update(RANK="0", WORLD_SIZE="1", LOCAL_RANK="0", **address)
    if not {"PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"} & set(os.environ):
        # Every micro-batch has another number of tokens: cached blocks of fixed sizes rarely fit the next one, and each
        # miss is a cudaMalloc, for which the host waits.
        os.environ["PYTORCH_ALLOC_CONF"] = "expandable_segments:True"
    accelerator = get_accelerator()
    if accelerator.device_name() == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        # Ranks on one host share its cores; torch would give all of them to each.
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // launchers.local_ranks()))
    _find_interface()
    # An all-reduce for inference on CPU ranks, unused here: compiled at the first run, and it leaves 69 MB of shared
    # memory a rank behind.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(dist_backend=accelerator.communication_backend_name(), verbose=False)
    if accelerator.device_name() != "cpu":
        accelerator.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    device = torch.device(accelerator.current_device_name())
    return torch.distributed.get_rank(), torch.distributed.get_world_size(), device


def _find_interface() -> None:
    """Sets gloo's interface to the one that leads to rank 0; by default it is that of the host name: 127.0.1.1.

    On rank 0's own host, to which its name may be 127.0.1.1 as well, it is the one of the default route.
    """
    if "GLOO_SOCKET_IFNAME" in os.environ:
        return
    try:
        target = socket.getaddrinfo(os.environ["MASTER_ADDR"], 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(target[0], target[1]) as probe:
            probe.connect(target[4])  # sends nothing: the routing table gives the source address
            own = probe.getsockname()[0]
            if own.startswith("127.") and int(os.environ.get("WORLD_SIZE", "1")) > launchers.local_ranks():
                probe.connect(("192.0.2.1", 9))  # of no network (RFC 5737)
                own = probe.getsockname()[0]
    except OSError:
        return  # the rendezvous will report what is wrong
    for name, addresses in psutil.net_if_addrs().items():
        if any(a.address.partition("%")[0] == own for a in addresses) and not own.startswith("127.") and own != "::1":
            os.environ["GLOO_SOCKET_IFNAME"] = name


def sum_over_ranks(values: Tensor) -> Tensor:
    """The sum of `values` over all ranks, as a new tensor on their device (a collective call)."""
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
        settings = config.optimizer.model_dump(include={"lr", "betas", "eps", "weight_decay"})
        if "offload_optimizer" in ds.get("zero_optimization", {}):
            optimizer: torch.optim.Optimizer = _offloaded(groups, settings)
        else:
            fused = get_accelerator().device_name() in ("cpu", "cuda")
            optimizer = AdamW(groups, **settings, fused=fused)
        if config.gradient_checkpointing:
            model.encoder.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        # bf16 would round weights that are never trained, and are to be exported unchanged.
        self._frozen = {n: p.detach().clone() for n, p in model.named_parameters() if not p.requires_grad}
        # DeepSpeed calls our AdamW "untested"; tests/distributed/test_exact.py is our test.
        deepspeed.utils.logger.addFilter(lambda line: "untested optimizer" not in line.getMessage())
        # The throughput timer, on by default and unused here, waits for the GPU at both ends of every micro-step.
        ds = {**ds, "timers": {"throughput": {"enabled": False}}}
        # DeepSpeed's bf16 optimizer (zero1.json) collects garbage before and after each parameter group: 24 s of the
        # start with nine tasks' 22 groups, 0.7 s with everything imported so far frozen.
        gc.collect()
        gc.freeze()
        try:
            self.ds, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=ds)
        finally:
            gc.unfreeze()  # or garbage engines would never be freed
        self.ds.train()  # a loaded encoder is in eval mode
        self.stage = self.ds.zero_optimization_stage()
        self.reducer: zero2_gradients.GradientReducer | None = None  # None: gradients and step are DeepSpeed's own
        if config.fast_zero2 and hasattr(self.ds.optimizer, "scaled_global_norm"):
            if not self.ds.optimizer.cpu_offload:
                grad_norm.in_one_message(self.ds.optimizer)
            if zero2_gradients.fits(self.ds.optimizer):
                self.reducer = zero2_gradients.GradientReducer(self.ds.optimizer)
                zero2_step.Zero2Step(self.ds.optimizer, self.reducer.sums)
        self.ds.checkpoint_engine = self._files = _CheckpointFiles(self.ds._config)
        self.ds._copy_recovery_script = self._files.recorded(self.ds._copy_recovery_script)
        # The optimizer over this rank's partitions, one flat tensor a group (stage 0: over all parameters).
        self._inner = self.ds.optimizer.optimizer if self.stage else self.ds.optimizer
        fill_state(self._inner)

    @property
    def backend(self) -> str:
        """The attention back-end in use."""
        return attention.backend_of(self.model.encoder)

    @property
    def model(self) -> Any:
        """The `MultiTaskModel` itself, for evaluation."""
        return self.ds.module

    @property
    def device(self) -> torch.device:
        return self.ds.device

    def step(
        self, number: int, micro_batches: list[PackedBatch], present: set[str], keys: Mapping[str, np.ndarray]
    ) -> tuple[Tensor, float, float]:
        """One optimizer step, number `number` from 0: (stats [tasks, 2] of this rank, gradient norm, lr factor).

        `present`: tasks with examples in the global step; `keys`: of pair tasks among them, the keys of each pair of
        the global step (`loader.pair_keys`). The norm is the global one, before clipping. If it is not finite,
        neither weights nor moments have changed.
        """
        if not self.model.training:  # after an evaluation; not at each step, since it visits 500 modules
            self.ds.train()
        if keys:
            micro_batches = self._with_pairs(number, micro_batches, keys)
        if self.model.visits is not None:
            self.model.visits = []
        total: Tensor | float = 0.0
        for micro, batch in enumerate(micro_batches):
            torch.manual_seed(_dropout_seed(self.config.seed, number, micro, self.rank))
            self.ds.set_gradient_accumulation_boundary(micro == len(micro_batches) - 1)
            loss, stats = self.ds(batch.to(self.device))
            self.ds.backward(loss * self.world, scale_wrt_gas=False)
            total = total + stats
        assert isinstance(total, Tensor)
        factor = schedule(number, self.steps, self.config.optimizer.warmup)
        set_step(self.ds.optimizer.param_groups, factor, present)
        # Stage 0 in float32 reports no norm and detects no overflow: compute it from the reduced gradients.
        norm = None
        if not self.stage and not self.ds.bfloat16_enabled():
            gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
            norm = float(torch.nn.utils.get_total_norm(gradients))
        if norm is not None and not math.isfinite(norm):
            self.ds.zero_grad()
            return total, norm, factor
        skipped = self.ds.skipped_steps
        self.ds.step()
        if norm is None:
            norm = float(self.ds.get_global_grad_norm())
        # DeepSpeed skips a step silently.
        if self.ds.skipped_steps != skipped:
            norm = math.inf
        return total, norm, factor

    def _with_pairs(
        self, number: int, micro_batches: list[PackedBatch], keys: Mapping[str, np.ndarray]
    ) -> list[PackedBatch]:
        """The micro-batches with the gradients of their pairs' vectors attached, from a forward pass without graph."""
        encoded: dict[str, list[tuple[HeadRows, Tensor]]] = {name: [] for name in keys}
        micro_batches = [batch.to(self.device) for batch in micro_batches]
        with torch.no_grad():
            for micro, batch in enumerate(micro_batches):
                torch.manual_seed(_dropout_seed(self.config.seed, number, micro, self.rank))
                for name, vectors in self.model.pair_vectors(batch, list(keys)).items():
                    encoded[name].append((batch.heads[name], vectors))
        for name, local in encoded.items():
            gradients = gradient_caching.gradients(local, keys[name], self.model.heads[name].logit_scale[0])
            for micro, batch in enumerate(micro_batches):
                rows = gradient_caching.attach(batch.heads[name], gradients)
                micro_batches[micro] = replace(batch, heads={**batch.heads, name: rows})
        return micro_batches

    def full_weights(self) -> dict[str, Tensor]:
        """On rank 0 every parameter by name in float32 on the CPU, from the master copies (a collective call)."""
        weights = {}
        for name, parameter in self.model.named_parameters():
            full = safe_get_full_fp32_param(parameter) if self.stage and parameter.requires_grad else None
            if self.rank == 0:
                weight = self._frozen.get(name, parameter.data if full is None else full)
                weights[name] = weight.detach().float().cpu().clone()
        return weights

    def save(self, folder: Path, tag: str) -> str | None:
        """Writes DeepSpeed's checkpoint in folder/tag (a collective call): None, or the error on this rank."""
        self._files.problem = None
        self.ds.save_checkpoint(str(folder), tag=tag, save_latest=False)
        return self._files.problem

    def load(self, folder: Path, tag: str, saved_ranks: int) -> None:
        """Loads weights and optimizer from folder/tag, which `saved_ranks` ranks wrote (a collective call).

        Settings of the optimizer are those of this run's config, not of the checkpoint. Raises `InputError` if a file
        holds anything but tensors, plain values and `SAFE_CLASSES`.
        """
        settings = [{k: v for k, v in group.items() if k != "params"} for group in self._inner.param_groups]
        os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
        torch.serialization.add_safe_globals(list(SAFE_CLASSES))
        try:
            if self.stage and saved_ranks != self.world:
                reshard.load(self.ds, folder / tag, self.rank)
            elif self.ds.load_checkpoint(str(folder), tag=tag)[0] is None:
                raise RuntimeError(f"{folder / tag}: DeepSpeed found nothing to load")
        except pickle.UnpicklingError as error:
            name = re.search(r"GLOBAL (\S+)", str(error))
            raise InputError(
                f"{folder / tag}: holds {name[1] if name else 'something'}, which no checkpoint of this program does: "
                "it may be code made to run here; refused"
            ) from None
        for group, own in zip(self._inner.param_groups, settings, strict=True):
            group.update(own)
        if self.stage:
            self.ds.optimizer.clip_grad = self.config.optimizer.clip

    def peak_memory(self) -> float:
        """Peak device memory in GiB since the last call (CPU: of the process so far)."""
        accelerator = get_accelerator()
        if accelerator.device_name() == "cpu":
            import resource

            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        peak = accelerator.max_memory_allocated() / 2**30
        accelerator.reset_peak_memory_stats()
        return peak


class _CheckpointFiles(TorchCheckpointEngine):
    """Writes DeepSpeed's checkpoint files. After a failure the rank goes on, as the others wait for it later."""

    problem: str | None = None

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        self.recorded(super().makedirs)(path, exist_ok)

    def save(self, state_dict: dict[str, Any], path: str) -> None:
        self.recorded(partial(super().save, state_dict))(path)

    def recorded(self, write: Callable[..., None]) -> Callable[..., None]:
        """`write`, of a path and more, with its failures recorded in `problem`."""

        def recorded(path: str, *more: Any) -> None:
            try:
                write(path, *more)
            except (OSError, RuntimeError) as error:  # torch reports a failed write as RuntimeError
                reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
                if shutil.disk_usage(Path(path).parent.parent).free < 2**20:
                    reason = "no space left on device"
                self.problem = self.problem or f"{path}: {reason}"

        return recorded


def _offloaded(groups: list[dict[str, Any]], settings: dict[str, Any]) -> torch.optim.Optimizer:
    from deepspeed.ops.adam import DeepSpeedCPUAdam  # compiled at import

    class OffloadedAdamW(SkipsInactive, DeepSpeedCPUAdam):
        """DeepSpeed's AdamW on the host, computing the same after a resume.

        Its kernel updates beta^t from call to call (one multiplication instead of a power), so a resumed run would
        differ in the last bit. An empty update with a distant step number makes it compute the power at every step.
        """

        def step(self, closure: Any = None, **more: Any) -> Any:
            group, empty = self.param_groups[0], [torch.zeros(0) for _ in range(4)]
            beta1, beta2 = group["betas"]
            self.ds_opt_adam.adam_update(
                self.opt_id, 2**40, 0.0, beta1, beta2, group["eps"], 0.0, group["bias_correction"], *empty
            )
            return super().step(closure)

    return OffloadedAdamW(groups, adamw_mode=True, **settings)


def _dropout_seed(seed: int, step: int, micro: int, rank: int) -> int:
    digest = hashlib.sha256(f"dropout/{seed}/{step}/{micro}/{rank}".encode()).digest()
    return int.from_bytes(digest[:7], "big")
