"""Launches by torchrun and Slurm: the environment they make is enough, and the weights are those of `deepspeed`."""

import re
import shlex
import sys
import time
from pathlib import Path

import pytest

from tests.support.hosts import (
    CARD,
    FIELDS,
    LIMIT,
    assert_same_run,
    finish,
    need,
    one_host_run,
    start_slurm,
    two_hosts,
    wait_until,
)
from tests.support.launch import HOUSE, run
from tests.support.small import write_run

pytestmark = pytest.mark.slow
TORCHRUN = Path(sys.executable).with_name("torchrun")


@pytest.fixture
def config(tmp_path, tiny_tokenizer_dir):
    return write_run(tmp_path, tiny_tokenizer_dir, **FIELDS)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "runs" / "small"


@pytest.fixture
def hosts(tmp_path):
    need()
    with two_hosts(tmp_path / "hosts") as made:
        yield made


@pytest.fixture
def slurm(hosts, tmp_path):
    """The hosts, and the setting with which their Slurm is spoken to."""
    need("munged", "slurmctld", "slurmd", "srun")
    return hosts, start_slurm(hosts, tmp_path / "slurm")


@pytest.fixture
def one_host(tiny_tokenizer_dir):
    return one_host_run(tiny_tokenizer_dir)


def test_torchrun_on_one_host(config, folder, one_host):
    run(TORCHRUN, "--standalone", "--nproc_per_node", 2, "train.py", "--config", config, timeout=LIMIT)
    assert_same_run(folder, one_host)


def test_torchrun_on_two_hosts(hosts, config, folder, one_host):
    """The same command on both; they find each other through torchrun's own rendezvous."""
    options = ["--nnodes", 2, "--nproc_per_node", 1, "--rdzv_backend", "c10d", "--rdzv_endpoint", "node-a:29400"]
    started = [host.start(TORCHRUN, *options, "--rdzv_id", "test", "train.py", "--config", config) for host in hosts]
    codes, printed = finish(started, LIMIT)
    assert codes == [0, 0], printed
    assert_same_run(folder, one_host)


def test_srun(slurm, config, folder, one_host):
    """Slurm's own variables, and where rank 0 is: nothing else."""
    hosts, setting = slurm
    command = ["srun", "--nodes=2", "--ntasks-per-node=1", "python", "train.py", "--config", config]
    started = hosts[0].start("env", setting, *command, MASTER_ADDR="node-a", MASTER_PORT="29500")
    codes, printed = finish([started], LIMIT)
    assert codes == [0], printed
    assert_same_run(folder, one_host)


def test_srun_without_a_meeting_place():
    """Two tasks that do not know where rank 0 is must not train two runs."""
    asked = ["env", "SLURM_STEP_NUM_TASKS=2", "SLURM_PROCID=0", "SLURM_LOCALID=0"]
    found = run(*asked, sys.executable, "train.py", "--config", "demo.json", check=False)
    assert found.returncode == 2
    assert found.stderr.startswith("error: ")
    assert "MASTER_ADDR" in found.stderr
    assert len(found.stderr.splitlines()) == 1


def test_the_batch_script_of_the_docs(slurm, config, folder, one_host, tmp_path):
    """docs/cluster.md's script, as it stands but for sizes and names: stopped by USR1, queued again, the same bits."""
    hosts, setting = slurm
    shown = re.search(r"```bash\n(#!/bin/bash\n.*?)```", (HOUSE / "docs" / "cluster.md").read_text(), re.DOTALL)
    assert shown is not None
    script = shown[1]
    for old, new in {
        "--nodes=8": "--nodes=2",
        "--ntasks-per-node=8 --gpus-per-node=8 --cpus-per-task=12": "--ntasks-per-node=1 --cpus-per-task=1",
        "source .venv/bin/activate\n": "",
        "runs/mtl_all_large/done": shlex.quote(str(folder / "done")),
        "mtl_all_large.json": shlex.quote(str(config)),
        "=%x.out": f"={tmp_path / 'job.out'}",
        "=ib0": f"={CARD}",
    }.items():
        assert old in script, old
        script = script.replace(old, new)
    path = tmp_path / "job.sh"
    path.write_text(script)

    def ask(*command):
        return hosts[0].tell("env", setting, *command)

    job = ask("sbatch", "--parsable", path).strip()
    first = folder / "checkpoints" / "step-00000004"
    wait_until(first.exists, LIMIT, "no checkpoint")
    ask("scancel", "--signal=USR1", job)  # as --signal does: to the ranks, not to the script
    wait_until(lambda: "Restarts=1" in ask("scontrol", "show", "job", job), 60, "not queued again")
    assert not (folder / "done").exists()

    again = time.monotonic() + 3

    def story() -> str:
        logs = [output, *sorted((tmp_path / "slurm").glob("slurm*.log"))]
        return "\n".join([ask("scontrol", "show", "job", job), *(f"{p.name}:\n{p.read_text()[-4000:]}" for p in logs)])

    def completed() -> bool:
        state = ask("scontrol", "show", "job", job)
        assert "JobState=FAILED" not in state, story()
        if "JobState=PENDING" in state and time.monotonic() > again:
            # Slurm waits two minutes before it starts a job again, and may say so once more while it puts it back. Some
            # time there must be: nodes refuse a job that starts in the second in which its first round was ended.
            ask("sh", "-c", f"scontrol update JobId={job} StartTime=now || true")
        return "JobState=COMPLETED" in state

    output = tmp_path / "job.out"
    wait_until(completed, LIMIT, lambda: f"not completed: {story()}")
    assert "resuming" in output.read_text()
    assert_same_run(folder, one_host)
