"""Launchers with other names for rank and number of ranks than torch's: read, or refused with what to set."""

import pytest

from common.errors import InputError
from mtl.distributed import launchers

MASTER = {"MASTER_ADDR": "node-a", "MASTER_PORT": "29500"}
OPEN_MPI = {"OMPI_COMM_WORLD_RANK": "5", "OMPI_COMM_WORLD_SIZE": "8", "OMPI_COMM_WORLD_LOCAL_RANK": "1"}
SRUN = {"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "1"}
ONE_A_NODE = {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", "SLURM_LOCALID": "0"}  # what starts MPI's own processes
HYDRA = {"PMI_RANK": "5", "PMI_SIZE": "8", "MPI_LOCALRANKID": "1"}
READ = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (SRUN, READ),
        (OPEN_MPI, READ),
        ({**OPEN_MPI, **ONE_A_NODE, "PMIX_RANK": "5"}, READ),
        ({"MV2_COMM_WORLD_RANK": "5", "MV2_COMM_WORLD_SIZE": "8", "MV2_COMM_WORLD_LOCAL_RANK": "1"}, READ),
        ({"JSM_NAMESPACE_RANK": "5", "JSM_NAMESPACE_SIZE": "8", "JSM_NAMESPACE_LOCAL_RANK": "1"}, READ),
        (HYDRA, READ),
        ({**HYDRA, **ONE_A_NODE}, READ),
        ({"PMI_RANK": "5", "PMI_SIZE": "8", "PALS_LOCAL_RANKID": "1", "PALS_RANKID": "5"}, READ),
        ({"PMI_RANK": "5", "PMI_SIZE": "8", "LOCAL_RANK": "1"}, READ),
        ({**SRUN, "PMI_RANK": "5", "PMI_SIZE": "8", "PMIX_RANK": "5"}, READ),
        ({**OPEN_MPI, "RANK": "2", "WORLD_SIZE": "4"}, {}),  # torchrun's or the user's own
        ({**OPEN_MPI, "OMPI_COMM_WORLD_SIZE": "1"}, {}),
        ({"SLURM_PROCID": "0"}, {}),  # in a batch script
        ({}, {}),
    ],
)
def test_read(given, expected):
    assert launchers.variables({**given, **MASTER}) == expected
    assert launchers.first(given) == (not expected and "RANK" not in given and "OMPI_COMM_WORLD_RANK" not in given)


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        (SRUN, "MASTER_ADDR and MASTER_PORT"),
        ({**OPEN_MPI, "MASTER_ADDR": "node-a"}, "MASTER_PORT"),
        ({"PMI_RANK": "5", "PMI_SIZE": "8", **MASTER}, "LOCAL_RANK"),
        ({"PMIX_RANK": "3", **MASTER}, "RANK, WORLD_SIZE, LOCAL_RANK"),
    ],
)
def test_refused(given, missing):
    with pytest.raises(InputError, match=missing):
        launchers.variables(given)
