"""An array script for Slurm: element k runs number k of a study, on one node, and requeues itself."""

import shlex
from pathlib import Path

from common.run_config import REPOSITORY

_SCRIPT = """\
#!/bin/bash
#SBATCH --job-name={name} --array=1-{count} --output={log} --open-mode=append
#SBATCH --nodes=1 --ntasks=1 {gpus}--cpus-per-task={cpus}
#SBATCH --time=08:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue

# Partition, account and memory are yours to add. docs/cluster.md has the environment of a run.
cd {repository}
source {activate}
export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK

srun --kill-on-bad-exit=0 python -m studies {arguments} --only "$SLURM_ARRAY_TASK_ID"
code=$?
if [ $code -eq 75 ]; then scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}"; fi
exit $code
"""


def script(name: str, count: int, arguments: list[str], folder: Path, processes: int, gpu: bool) -> str:
    """The text of the script. arguments: of `python -m studies`; processes: GPUs (CPU processes) of an element."""
    return _SCRIPT.format(
        name=name.replace("/", "."),
        count=count,
        log=folder.resolve() / "slurm-%a.out",
        gpus=f"--gpus-per-node={processes} " if gpu else "",
        cpus=12 * processes if gpu else processes,
        repository=shlex.quote(str(REPOSITORY)),
        activate=shlex.quote(str(REPOSITORY / ".venv" / "bin" / "activate")),
        arguments=shlex.join(arguments),
    )
