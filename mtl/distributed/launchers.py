"""Launchers that do not set RANK: Slurm's srun, MPI's mpirun and mpiexec, IBM's jsrun.

Without these names every process would take itself for the only one, and all would train the same run. Sources: the
manuals of srun, of Open MPI's and MVAPICH's mpirun, of Hydra (MPICH, Intel MPI) and of jsrun.
"""

import os
import socket
from collections.abc import Mapping

from common.errors import InputError

# Launcher, and its variables: rank, number of ranks, rank among those of the host (the first of several that is set).
_VARIABLES = (
    ("mpirun", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", ("OMPI_COMM_WORLD_LOCAL_RANK",)),
    ("mpirun", "MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE", ("MV2_COMM_WORLD_LOCAL_RANK",)),
    ("jsrun", "JSM_NAMESPACE_RANK", "JSM_NAMESPACE_SIZE", ("JSM_NAMESPACE_LOCAL_RANK",)),
    ("mpiexec", "PMI_RANK", "PMI_SIZE", ("MPI_LOCALRANKID", "PMI_LOCAL_RANK", "PALS_LOCAL_RANKID")),
    ("srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", ("SLURM_LOCALID",)),  # last: it may have started the launcher
)
_NO_SIZE = ("PMIX_RANK", "PALS_RANKID")  # set beside the ones above, or alone
_RANKS = ("RANK", *(rank for _, rank, _, _ in _VARIABLES), *_NO_SIZE)


def first(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is rank 0, as far as its launcher says; one without a launcher is."""
    return next((environment[name] for name in _RANKS if name in environment), "0") == "0"


def launched(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a launcher has started this process, or the batch script that it is part of."""
    return any(name in environment for name in _RANKS)


def local_ranks() -> int:
    """How many ranks this host has. torchrun and deepspeed have different names for it."""
    names = ("LOCAL_WORLD_SIZE", "LOCAL_SIZE", "WORLD_SIZE")
    return int(next((os.environ[name] for name in names if name in os.environ), "1"))


def free_port() -> int:
    """A port of this host that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def variables(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """RANK, WORLD_SIZE and LOCAL_RANK where the launcher has other names for them; {} for torch's, one rank or none.

    Raises `InputError` if a launcher started several ranks and something that they need is not known.
    """
    if "RANK" in environment:
        return {}
    for launcher, rank, size, local in _VARIABLES:
        found = next((environment[name] for name in local if name in environment), None)
        by_srun = launcher == "mpiexec" and found is None and "SLURM_PROCID" in environment  # srun --mpi=pmi2
        if rank not in environment or by_srun:
            continue
        ranks = environment.get(size, "1")  # a batch script of Slurm has a rank and is no step
        if ranks == "1":
            return {}
        absent = [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in environment]
        absent += ["LOCAL_RANK"] * (found is None and "LOCAL_RANK" not in environment)
        if absent:
            raise InputError(
                f"started by {launcher} as {ranks} processes, but {' and '.join(absent)} not set: "
                "export what is missing to all of them (docs/cluster.md)"
            )
        return {"RANK": environment[rank], "WORLD_SIZE": ranks, "LOCAL_RANK": found or environment["LOCAL_RANK"]}
    for name in _NO_SIZE:
        if name in environment:
            raise InputError(
                f"{name}={environment[name]}, but nothing says how many processes were started: "
                "export RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT (docs/cluster.md)"
            )
    return {}
